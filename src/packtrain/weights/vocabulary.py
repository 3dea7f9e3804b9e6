"""Token tables: which tensors they are, and how they grow when a tokenizer gets new tokens.

The rule is that of stanford_alpaca (train.py, smart_tokenizer_and_embedding_resize): a new row is the
mean of the old rows in float32, for input and output embeddings alike.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from packtrain.weights.fingerprint import CHUNK_ELEMENTS
from packtrain.weights.store import TensorStore

if TYPE_CHECKING:
    from transformers import PreTrainedModel

INPUT_TABLES = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight", "shared.weight")
OUTPUT_TABLES = ("lm_head.weight", "embed_out.weight")
"""How the names of input and output embeddings end in Hugging Face checkpoints."""


def is_token_table(name: str) -> bool:
    """Whether a tensor has one row per token: input or output embeddings, by their usual names."""
    return name.endswith(INPUT_TABLES) or name.endswith(OUTPUT_TABLES)


def tied_names(store: TensorStore, config: Mapping[str, Any]) -> dict[str, str]:
    """Every tensor name that stands for another tensor of the model, to that one, as the model will see it.

    A name is tied when its memory is shared in a `.bin`, or when the model has an output table of which
    `config` says that it is tied, or of which the files say nothing (safetensors leave a tied one out).
    The input table is always the one that the others are tied to.
    """
    tied = dict(store.aliases)
    table = next((name for name in store if name.endswith(INPUT_TABLES)), None)
    if table is None:
        return tied
    first = tied.pop(table, table)
    if first != table:
        tied = {name: table if to == first else to for name, to in tied.items()} | {first: table}
    output = next((name for name in store if name.endswith(OUTPUT_TABLES)), None)
    if output is None:
        if _has_output(config) and config.get("tie_word_embeddings", True):
            tied["lm_head.weight"] = table
    elif config.get("tie_word_embeddings") is True:
        tied[output] = table
    return tied


def tied_as_stored(store: TensorStore, config: Mapping[str, Any]) -> dict[str, str]:
    """As `tied_names`, but only what need not be kept: every other name that the files hold stands for itself.

    transformers ties a table that the files hold apart only where the two are equal, so files that hold
    both must keep both. An output table that shares its memory with the input's in a `.bin` need not be
    kept unless `config` says that it is not tied.
    """
    shared = INPUT_TABLES + OUTPUT_TABLES if config.get("tie_word_embeddings") is not False else ()
    tied = tied_names(store, config)
    return {
        name: to
        for name, to in tied.items()
        if name not in store or (name.endswith(shared) and (name in store.aliases or to in store.aliases))
    }


def _has_output(config: Mapping[str, Any]) -> bool:
    architectures = config.get("architectures") or ["ForCausalLM"]
    return any(str(name).endswith(("ForCausalLM", "LMHeadModel")) for name in architectures)


def mean_of_rows(rows: Iterable[torch.Tensor], count: int) -> torch.Tensor:
    """Mean over `count` rows `[width]`, summed in float32, the same to the bit on every machine, `[width]`.

    The order of the additions is that of torch's own sum over the first dimension (ATen, SumKernel.cpp,
    multi_row_sum: four cascaded partial sums), so the result equals `table.float().mean(0)` of the
    original scripts, without holding the table: a mean's last bits depend on the order of additions.
    """
    power = max(4, (count - 1).bit_length() // 4)
    step = 1 << power
    partial: list[torch.Tensor] = []
    for done, row in enumerate(rows, start=1):
        if not partial:
            partial = [torch.zeros_like(row, dtype=torch.float32) for _ in range(4)]
        partial[0] += row.float()
        if done % step:
            continue
        for level in range(1, 4):
            partial[level] += partial[level - 1]
            partial[level - 1].zero_()
            if done & ((step - 1) << (level * power)):
                break
    total = partial[0]
    for level in range(1, 4):
        total += partial[level]
    return total / count


def mean_row(store: TensorStore, name: str) -> torch.Tensor:
    """Mean of all rows of a table `[rows, width]` in float32, `[width]`, reading it piece by piece."""
    rows, width = store.info(name).shape
    return mean_of_rows(_rows(store, name, width), rows)


def _rows(store: TensorStore, name: str, width: int) -> Iterator[torch.Tensor]:
    for piece in store.chunks(name, max(1, CHUNK_ELEMENTS // width) * width):
        yield from piece.float().reshape(-1, width)


def grow_token_tables(model: "PreTrainedModel", rows: int) -> int:
    """Number of rows added so that the token tables of `model` have at least `rows`; 0 when they had them.

    New rows of input and output embeddings (and of an output bias) are the mean of the old ones, computed
    in float32. Tables never shrink: OPT has 50,272 rows for 50,265 tokens, and its checkpoints expect them.
    Tied tables stay tied and `config.vocab_size` follows.
    """
    old: int = model.get_input_embeddings().weight.shape[0]
    if rows <= old:
        return 0
    with torch.random.fork_rng(devices=[]):
        # the library draws random rows, which are replaced below: the caller's random state stays as it was
        model.resize_token_embeddings(rows, mean_resizing=False)
    tables = [model.get_input_embeddings(), model.get_output_embeddings()]
    weights = {id(table.weight): table.weight for table in tables if table is not None}
    output_bias = getattr(tables[1], "bias", None)
    with torch.no_grad():
        for weight in weights.values():
            weight[old:] = mean_of_rows(weight[:old], old)
        if output_bias is not None:
            output_bias[old:] = output_bias[:old].float().mean()
    return rows - old
