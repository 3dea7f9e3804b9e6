"""Merging a LoRA adapter into its base: what peft's merge_and_unload computes, streamed."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from packtrain.core.atomic import output_folder
from packtrain.core.errors import UserError
from packtrain.core.manifest import Manifest, read_manifest, sha256_of_file
from packtrain.core.progress import progress, say
from packtrain.core.training_record import handed_on
from packtrain.weights.cast import cast, check_dtype
from packtrain.weights.fingerprint import CHUNK_ELEMENTS, TensorHash, TensorRecord, model_fingerprint, record_of
from packtrain.weights.info import FLOATING, TensorInfo, torch_dtype
from packtrain.weights.lora_adapter import ADAPTER_CONFIG, Adapter, Lora, open_adapter
from packtrain.weights.lora_plan import Plan, Target, plan_merge
from packtrain.weights.model_files import (
    CONFIG,
    GENERATION_CONFIG,
    copy_tokenizer,
    file_hashes,
    read_object,
    write_object,
)
from packtrain.weights.store import TensorStore, open_store
from packtrain.weights.writer import ShardWriter, aligned


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What was merged."""

    method: str
    """`LoRA`, `rsLoRA` or `DoRA`."""
    tensors: int
    parameters: int
    merged: int
    """Tensors of the base to which the adapter added something."""
    replaced: int
    """Tensors that the adapter brought whole."""
    token_rows_added: int
    untied: bool
    """The output table was the input table and is now one of its own."""
    untrained: bool
    """The product of every pair of matrices is zero."""
    dtype: str
    bytes_written: int
    fingerprint: str
    """Of the tensors written (weights/fingerprint.py)."""
    seconds: float


def merge_lora(
    base: Path, adapter: Path, out: Path, *, dtype: str | None = None, overwrite: bool = False
) -> MergeReport:
    """Write the model that base and adapter are together to `out`, streaming; what was done.

    W + scale * B A in float32, then rounded to `dtype` (one of `DTYPES`; None keeps the type of each tensor
    of the base). Configuration and tokenizer are the base's; a tokenizer in the adapter's folder wins.

    Headers are compared before anything is written. Raises UserError that names the first tensor that is
    wrong; a failure leaves nothing behind.
    """
    started = time.monotonic()
    check_dtype(dtype)
    opened, store = open_adapter(adapter), open_store(base)
    plan = plan_merge(store, read_object(base / CONFIG, "give the folder of a Hugging Face model"), opened)
    untrained = _is_untrained(opened)
    if untrained:
        say(f"warning: the adapter {adapter} is untrained: every B A in it is zero")
    infos = aligned([_written(target, dtype) for target in plan.targets])
    with output_folder(out, "convert merge-lora", inputs=[base, adapter], overwrite=overwrite) as partial:
        merging = _Merging(store, opened)
        by_name = {target.info.name: target for target in plan.targets}
        with ShardWriter(partial, infos) as writer, progress("merge", len(infos)) as advance:
            for info in infos:
                for piece in merging.pieces(by_name[info.name]):
                    kept = piece.dtype == torch_dtype(info.dtype)
                    writer.write(info.name, piece if kept else cast(piece, torch_dtype(info.dtype), info.name))
                advance(note=info.name)
        files = _write_files(base, adapter, partial, plan, dtype)
        report = MergeReport(
            method=opened.method,
            tensors=len(infos),
            parameters=sum(info.numel for info in infos),
            merged=len(plan.merged),
            replaced=len(plan.replaced),
            token_rows_added=plan.token_rows_added,
            untied=plan.untied,
            untrained=untrained,
            dtype=", ".join(dict.fromkeys(info.dtype for info in infos)),
            bytes_written=writer.nbytes,
            fingerprint=model_fingerprint(writer.records),
            seconds=round(time.monotonic() - started, 3),
        )
        read = {name: sha256_of_file(adapter / name) for name in (ADAPTER_CONFIG, opened.file)}
        Manifest(
            stage="convert merge-lora",
            settings={"dtype": dtype, **_training(adapter, opened.file, read[opened.file])},
            inputs={"base": {"tensors": model_fingerprint(merging.base_records)}, "adapter": read},
            outputs={"tensors": report.fingerprint, **file_hashes(partial, files)},
            figures=asdict(report),
        ).write(partial)
    return report


def _written(target: Target, dtype: str | None) -> TensorInfo:
    info = target.info
    return TensorInfo(info.name, dtype if dtype and info.dtype in FLOATING else info.dtype, info.shape)


def _write_files(base: Path, adapter: Path, folder: Path, plan: Plan, dtype: str | None) -> list[str]:
    """Write configuration and tokenizer; the names of the files."""
    config = dict(plan.config)
    if dtype is not None:
        stated = [key for key in ("dtype", "torch_dtype") if key in config] or ["torch_dtype"]
        config |= dict.fromkeys(stated, dtype)
    write_object(folder / CONFIG, config)
    names = [CONFIG]
    if (base / GENERATION_CONFIG).is_file():
        write_object(folder / GENERATION_CONFIG, read_object(base / GENERATION_CONFIG, "get the file again"))
        names.append(GENERATION_CONFIG)
    return names + copy_tokenizer(base, adapter, folder)


def _training(adapter: Path, file: str, sha256: str) -> dict[str, Any]:
    """The record of the training behind the adapter: of the model in whose folder it lies as it was trained."""
    place = adapter.resolve()
    with suppress(UserError):  # somebody else's run.json
        made = read_manifest(place.parent)
        if made and made.outputs.get(f"{place.name}/{file}") == sha256:
            return handed_on(place.parent)
    return {}


def _is_untrained(adapter: Adapter) -> bool:
    """Whether every module has a matrix that is all zero, as peft begins: B, and A for embeddings."""

    def is_zero(name: str) -> bool:
        return not any(bool(piece.any()) for piece in adapter.store.chunks(name, CHUNK_ELEMENTS))

    return bool(adapter.loras) and all(is_zero(lora.b) or is_zero(lora.a) for lora in adapter.loras)


class _Merging:
    """Computes tensors of the merged model piece by piece, and hashes what it reads of the base."""

    def __init__(self, base: TensorStore, adapter: Adapter) -> None:
        self._base, self._adapter = base, adapter
        self.base_records: dict[str, TensorRecord] = {}

    def pieces(self, target: Target) -> Iterator[torch.Tensor]:
        """The tensor in row-major order, flat, in pieces of some million elements at most.

        In float32 where the adapter changes it, else in the base's type.
        """
        change = target.change
        if change.lora is None and change.bias_of is None:
            yield from self._read(target, CHUNK_ELEMENTS)
            return
        merged: Iterator[torch.Tensor]
        if change.lora is not None:
            merged = self._with_lora(target, change.lora)
        else:
            assert change.bias_of is not None
            added = self._floats(change.bias_of.b_bias) * change.bias_of.scale
            merged = (piece.float() + added[start : start + len(piece)] for start, piece in self._rows(target))
        for piece in merged:
            if not bool(piece.isfinite().all()):
                raise UserError(
                    f"merging makes tensor {target.info.name} infinite or NaN",
                    "base or adapter is damaged: get it again",
                )
            yield piece.reshape(-1)

    def _read(self, target: Target, elements: int) -> Iterator[torch.Tensor]:
        """The tensor as it is, in flat pieces; one of the base is hashed."""
        digest = TensorHash()
        for piece in target.store.chunks(target.source, elements):
            digest.add(piece)
            yield piece
        if target.store is self._base:
            info = self._base.info(target.source)
            self.base_records[target.source] = record_of(info, digest.hexdigest())

    def _rows(self, target: Target) -> Iterator[tuple[int, torch.Tensor]]:
        """First row and rows of a tensor, piece after piece."""
        width = target.info.numel // max(1, target.info.shape[0])
        step = max(1, CHUNK_ELEMENTS // max(1, width))
        for number, piece in enumerate(self._read(target, step * width)):
            yield number * step, piece.view(-1, *target.info.shape[1:])

    def _floats(self, name: str | None) -> torch.Tensor:
        """A small tensor of the adapter, whole, in float32."""
        assert name is not None
        return self._adapter.store[name].float()

    def _with_lora(self, target: Target, lora: Lora) -> Iterator[torch.Tensor]:
        """W + scale * B A; for DoRA each output of it brought to the length of its magnitude (peft, dora.py)."""
        a, b = self._floats(lora.a), self._floats(lora.b)
        transposed = target.change.transposed

        def merged() -> Iterator[tuple[int, torch.Tensor]]:
            for start, piece in self._rows(target):
                stop = start + len(piece)
                product = (b @ a[:, start:stop]).T if transposed else b[start:stop] @ a
                yield start, piece.float() + product * lora.scale

        if lora.magnitude is None:
            yield from (sums for _, sums in merged())
            return
        magnitude = self._floats(lora.magnitude)
        if transposed:
            squares = torch.zeros(len(magnitude), dtype=torch.float64)
            for _, sums in merged():
                squares += sums.double().square().sum(0)
            factor = magnitude / squares.sqrt().float()
            yield from (factor * sums for _, sums in merged())
        else:
            for start, sums in merged():
                factor = magnitude[start : start + len(sums)] / torch.linalg.norm(sums, dim=1)
                yield factor[:, None] * sums
