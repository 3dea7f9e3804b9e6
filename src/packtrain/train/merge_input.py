"""What the merge reads: an adapter whose token rows, where there are any, stand in whole tables.

Merging knows low-rank matrices and tensors that take the place of the base's. Rows of a table that an adapter
trains, and rows that the base has not got, become whole tables here, in float32, for as long as the merge lasts.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from packtrain.core.errors import UserError
from packtrain.train.lora import PEFT_PREFIX
from packtrain.weights.fingerprint import CHUNK_ELEMENTS
from packtrain.weights.info import TensorInfo
from packtrain.weights.lora_adapter import ADAPTER_CONFIG, ADAPTER_FILES
from packtrain.weights.model_files import CONFIG, read_object, write_object
from packtrain.weights.safetensors_file import SafetensorsFile
from packtrain.weights.shard_file import ShardFile
from packtrain.weights.store import TensorStore, open_store
from packtrain.weights.vocabulary import INPUT_TABLES, OUTPUT_TABLES, is_token_table, mean_row, tied_names

_TRAINED = "trainable_token_indices"
"""peft's setting: module names of token tables to the rows that are trained."""
_DELTA = ".token_adapter.trainable_tokens_delta"
"""How the tensor of such rows `[rows, width]` is called in an adapter's file, after the module's name."""
_AGAIN = "export the adapter again"


def merge_input(base: Path, adapter: Path, rows: int, folder: Path) -> Path:
    """`adapter` itself when it trains no token rows and the base has `rows`; else `folder`, with whole tables.

    The tables hold the base's rows; for tokens that the base lacks the mean of all (weights/vocabulary.py); and
    trained rows as they were trained. UserError when no trained row differs from what it was before training.
    """
    store = open_store(base)
    tables = _tables(base, store)
    stated = read_object(adapter / ADAPTER_CONFIG, _AGAIN)
    trained: Mapping[str, list[int]] = stated.get(_TRAINED) or {}
    if not trained and all(store.info(name).shape[0] >= rows for name in tables):
        return adapter
    tensors = TensorStore(adapter, [SafetensorsFile(adapter / ADAPTER_FILES[0])])
    replaced = {name: _trained_rows(tensors, trained, name) for name in tables}
    if trained and all(_as_before(store, name, found) for name, found in replaced.items()):
        raise UserError(
            "the adapter is untrained: none of its token rows differs from what it was before training",
            "train for more steps or at a higher rate",
        )
    kept = [info for info in tensors.infos().values() if not info.name.endswith(_DELTA)]
    folder.mkdir()
    write_object(folder / ADAPTER_CONFIG, {**stated, _TRAINED: None})
    grown = {name: max(rows, store.info(name).shape[0]) for name in tables}
    infos = [TensorInfo(PEFT_PREFIX + name, "float32", (grown[name], *store.info(name).shape[1:])) for name in tables]
    with ShardFile(folder / ADAPTER_FILES[0], [*kept, *infos]) as file:
        for info in kept:
            for piece in tensors.chunks(info.name, CHUNK_ELEMENTS):
                file.write(info.name, piece)
        for name, info in zip(tables, infos, strict=True):
            for piece in _pieces(store, name, grown[name], replaced[name]):
                file.write(info.name, piece)
    return folder


def _tables(base: Path, store: TensorStore) -> list[str]:
    """Names of the tensors with one row per token, tied ones once: tables, and the bias of an output table."""
    tied = tied_names(store, read_object(base / CONFIG, "give the folder of a Hugging Face model"))
    return [
        name
        for name in store
        if name not in tied and is_token_table(f"{name.removesuffix('bias')}weight" if name.endswith("bias") else name)
    ]


def _trained_rows(tensors: TensorStore, trained: Mapping[str, Sequence[int]], table: str) -> dict[int, torch.Tensor]:
    """Number to trained row `[width]`, of one table of the base."""
    for module, numbers in trained.items():
        for endings in (INPUT_TABLES, OUTPUT_TABLES):
            if table.endswith(endings) and f"{module}.weight".endswith(endings):
                return dict(zip(numbers, tensors[f"{PEFT_PREFIX}{module}{_DELTA}"], strict=True))
    return {}


def _as_before(store: TensorStore, name: str, trained: Mapping[int, torch.Tensor]) -> bool:
    """Whether all trained rows of a table are what they were before training (train/lora.py, `initialise`)."""
    old, *rest = store.info(name).shape
    width = rest[0] if rest else 1
    mean = _mean(store, name) if any(number >= old for number in trained) else None
    for number, row in trained.items():
        start = store.flat(name, number * width, (number + 1) * width).float() if number < old else mean
        if start is None or not row.equal(start):
            return False
    return True


def _mean(store: TensorStore, name: str) -> torch.Tensor:
    """What a row is that the base lacks: `[width]`, for a bias `[1]`."""
    return mean_row(store, name) if len(store.info(name).shape) == 2 else store[name].float().mean(0, keepdim=True)


def _pieces(store: TensorStore, name: str, rows: int, trained: Mapping[int, torch.Tensor]) -> Iterator[torch.Tensor]:
    """The table with `rows` rows in float32, flat, in pieces of some rows each."""
    old, *rest = store.info(name).shape
    width = rest[0] if rest else 1
    step = max(1, CHUNK_ELEMENTS // width)
    for number, piece in enumerate(store.chunks(name, step * width)):
        table = piece.float().view(-1, width)
        for row in range(number * step, number * step + len(table)):
            if row in trained:
                table[row - number * step] = trained[row]
        yield table.view(-1)
    if rows > old:
        mean = _mean(store, name)
        yield from (trained.get(row, mean) for row in range(old, rows))
