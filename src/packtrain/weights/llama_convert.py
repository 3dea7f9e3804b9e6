"""Meta's LLaMA checkpoints as Hugging Face folders, streamed.

The tensors are those of convert_llama_weights_to_hf.py, which transformers shipped until its version 5:
shards are joined along the dimension that Meta's model parallelism splits, and the rows of the query and
key matrices are put in another order, because Meta rotates neighbouring elements of a head and
transformers its two halves.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from packtrain.core.atomic import atomic_file, output_folder
from packtrain.core.errors import UserError
from packtrain.core.manifest import Manifest, sha256_of_file
from packtrain.core.progress import progress
from packtrain.weights.cast import cast, check_dtype
from packtrain.weights.fingerprint import CHUNK_ELEMENTS, TensorHash, model_fingerprint, record_of
from packtrain.weights.info import TensorInfo, torch_dtype
from packtrain.weights.llama_folder import (
    BOS_ID,
    EOS_ID,
    PARAMS,
    TOKENIZER,
    MetaFolder,
    count_pieces,
    find_tokenizer,
    open_meta_folder,
)
from packtrain.weights.llama_layout import LlamaTensor, llama_config, llama_tensors
from packtrain.weights.model_files import CONFIG, GENERATION_CONFIG, file_hashes, write_object
from packtrain.weights.writer import ShardWriter, aligned


@dataclass(frozen=True, slots=True)
class ConvertReport:
    """What was converted."""

    shards: int
    layers: int
    tensors: int
    parameters: int
    token_rows: int
    context_tokens: int
    """`max_position_embeddings` of the configuration."""
    dtype: str
    bytes_written: int
    tokenizer: bool
    fingerprint: str
    """Of the tensors written (weights/fingerprint.py); the same for any number of shards."""
    seconds: float


def convert_llama(
    folder: Path,
    out: Path,
    *,
    dtype: str | None = None,
    context_tokens: int | None = None,
    with_tokenizer: bool = True,
    fast_tokenizer: Callable[[Path], str] | None = None,
    overwrite: bool = False,
) -> ConvertReport:
    """Write the model of a Meta folder to `out` in the Hugging Face layout, streaming; what was done.

    `dtype` is one of `DTYPES`, None keeps the stored type. `context_tokens` overrides what the parameters
    suggest (`LlamaParams.context_tokens`). `fast_tokenizer` makes the text of `tokenizer.json` from a
    SentencePiece model: without that file transformers 5 converts `tokenizer.model` by rules that give
    other ids for runs of spaces.

    Headers are compared with `params.json` before anything is written. Raises UserError that names the
    first file or tensor that is wrong; a failure leaves nothing behind.
    """
    started = time.monotonic()
    check_dtype(dtype)
    meta = open_meta_folder(folder)
    tokenizer = find_tokenizer(folder) if with_tokenizer else None
    tensors = llama_tensors(meta)
    rows = tensors[0].shape[0]
    if tokenizer is not None and count_pieces(tokenizer) > rows:
        raise UserError(
            f"{tokenizer} has {count_pieces(tokenizer)} tokens, the weights have rows for {rows}",
            f"give the {TOKENIZER} of this model",
        )
    types = {tensor.name: dtype or meta.shards[0].infos[tensor.meta].dtype for tensor in tensors}
    plan = aligned([TensorInfo(tensor.name, types[tensor.name], tensor.shape) for tensor in tensors])
    context = context_tokens or meta.params.context_tokens
    with output_folder(out, "convert llama", inputs=[folder], overwrite=overwrite) as partial:
        reader = _Reader(meta)
        by_name = {tensor.name: tensor for tensor in tensors}
        with ShardWriter(partial, plan) as writer, progress("convert", len(plan)) as advance:
            for info in plan:
                for piece in reader.pieces(by_name[info.name]):
                    writer.write(info.name, cast(piece, torch_dtype(info.dtype), info.name))
                advance(note=info.name)
        stated = types[tensors[0].name]
        write_object(partial / CONFIG, llama_config(meta.params, rows, context, stated))
        write_object(partial / GENERATION_CONFIG, {"bos_token_id": BOS_ID, "eos_token_id": EOS_ID})
        files = [CONFIG, GENERATION_CONFIG]
        if tokenizer is not None:
            files += _write_tokenizer(tokenizer, partial, fast_tokenizer, context)
        report = ConvertReport(
            shards=len(meta.shards),
            layers=meta.params.n_layers,
            tensors=len(plan),
            parameters=sum(info.numel for info in plan),
            token_rows=rows,
            context_tokens=context,
            dtype=stated,
            bytes_written=writer.nbytes,
            tokenizer=tokenizer is not None,
            fingerprint=model_fingerprint(writer.records),
            seconds=round(time.monotonic() - started, 3),
        )
        inputs = {PARAMS: sha256_of_file(folder / PARAMS), **reader.fingerprints()}
        Manifest(
            stage="convert llama",
            settings={"dtype": dtype, "context_tokens": context},
            inputs={"meta": inputs if tokenizer is None else {**inputs, TOKENIZER: sha256_of_file(tokenizer)}},
            outputs={"tensors": report.fingerprint, **file_hashes(partial, files)},
            figures=asdict(report),
        ).write(partial)
    return report


class _Reader:
    """Reads the shards piece by piece and hashes what it reads."""

    def __init__(self, meta: MetaFolder) -> None:
        self._shards = meta.shards
        self._hashes: list[dict[str, TensorHash]] = [{} for _ in meta.shards]

    def pieces(self, tensor: LlamaTensor) -> Iterator[torch.Tensor]:
        """The tensor of the result in row-major order, flat, in pieces of some million elements at most."""
        part = tensor.part(len(self._shards))
        if tensor.heads:
            yield from self._reordered(tensor, part)
        elif tensor.joined == 1:
            yield from self._side_by_side(tensor.meta, part)
        else:
            for number in range(len(self._shards)):
                for piece in self._chunks(number, tensor.meta, CHUNK_ELEMENTS):
                    if tensor.joined == 0 or number == 0:
                        yield piece

    def fingerprints(self) -> dict[str, str]:
        """File of each shard to the fingerprint of what was read of it."""
        return {
            f"{shard.path.name} tensors": model_fingerprint(
                {name: record_of(shard.infos[name], digest.hexdigest()) for name, digest in hashes.items()}
            )
            for shard, hashes in zip(self._shards, self._hashes, strict=True)
        }

    def _chunks(self, number: int, name: str, elements: int) -> Iterator[torch.Tensor]:
        total = self._shards[number].infos[name].numel
        digest = self._hashes[number][name] = TensorHash()
        for start in range(0, total, elements):
            piece = self._shards[number].flat(name, start, min(start + elements, total))
            digest.add(piece)
            yield piece

    def _side_by_side(self, name: str, part: tuple[int, ...]) -> Iterator[torch.Tensor]:
        """Rows whose columns lie in several shards, `[rows * width]` each."""
        width = part[1]
        rows = max(1, CHUNK_ELEMENTS // (width * len(self._shards)))
        readers = [self._chunks(number, name, rows * width) for number in range(len(self._shards))]
        for pieces in zip(*readers, strict=True):
            yield torch.cat([piece.view(-1, width) for piece in pieces], dim=1).view(-1)

    def _reordered(self, tensor: LlamaTensor, part: tuple[int, ...]) -> Iterator[torch.Tensor]:
        """Head after head, `[head_dim * width]`: its even rows, then its odd ones."""
        width = part[1]
        head_rows = tensor.shape[0] // tensor.heads
        for number in range(len(self._shards)):
            for head in self._chunks(number, tensor.meta, head_rows * width):
                yield head.view(head_rows // 2, 2, width).transpose(0, 1).reshape(-1)


def _write_tokenizer(
    tokenizer: Path, folder: Path, fast_tokenizer: Callable[[Path], str] | None, context: int
) -> list[str]:
    """Write the tokenizer's files; their names."""
    shutil.copyfile(tokenizer, folder / TOKENIZER)
    config = {
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": "<s>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "</s>",
        "legacy": True,
        "model_max_length": context,
        "padding_side": "right",
        # the generic class takes tokenizer.json as it is; LlamaTokenizer of transformers 5 has rules of its own
        "tokenizer_class": "LlamaTokenizer" if fast_tokenizer is None else "PreTrainedTokenizerFast",
        "unk_token": "<unk>",
    }
    write_object(folder / "tokenizer_config.json", config)
    if fast_tokenizer is None:
        return [TOKENIZER, "tokenizer_config.json"]
    with atomic_file(folder / "tokenizer.json") as file:
        file.write(fast_tokenizer(folder / TOKENIZER))
    return [TOKENIZER, "tokenizer_config.json", "tokenizer.json"]
