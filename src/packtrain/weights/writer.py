"""Model weights in the Hugging Face layout: how tensors are spread over shards, and a writer for them."""

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from packtrain.core.atomic import atomic_file, fsync_folder
from packtrain.core.errors import UserError
from packtrain.weights.fingerprint import TensorRecord
from packtrain.weights.info import TensorInfo, torch_dtype
from packtrain.weights.safetensors_file import header_bytes
from packtrain.weights.shard_file import ShardFile

MAX_SHARD_BYTES = 5_000_000_000
"""5 GB, as transformers splits."""
INDEX = "model.safetensors.index.json"


class ShardWriter:
    """Writes tensors planned beforehand as `model.safetensors`, or as shards of at most `max_shard_bytes` and an index.

    Use as a context manager and give every tensor's elements to `write`, tensor after tensor in the
    order of the plan, in pieces of any size. A shard bears a temporary name until it is complete; the
    index comes last. Free space is checked before the first byte. `records` has the SHA-256 of every
    finished tensor. UserError when the disk is or gets full; ValueError for a plan that would leave tensors
    misaligned (put wider types first) and for pieces that do not fit the plan.
    """

    def __init__(self, folder: Path, plan: Sequence[TensorInfo], max_shard_bytes: int = MAX_SHARD_BYTES) -> None:
        self.folder = folder
        self.records: dict[str, TensorRecord] = {}
        self.nbytes = sum(info.nbytes for info in plan)
        """Bytes of all tensors, headers not counted."""
        self._plan = plan_shards(plan, max_shard_bytes)
        self._shards = iter(self._plan.items())
        self._open = ExitStack()
        self._file: ShardFile | None = None
        self._file_tensors = 0

    def __enter__(self) -> Self:
        check_free_space(self.folder, self.nbytes + sum(len(header_bytes(shard)) for shard in self._plan.values()))
        self._next_shard()
        self._pass_complete_shards()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)
        if kind is not None:
            return
        write_index(self.folder, self._plan)
        fsync_folder(self.folder)

    def write(self, name: str, piece: torch.Tensor) -> None:
        """Append a piece of tensor `name`, row-major, in the planned type."""
        if self._file is None:
            raise ValueError(f"tensor {name} is not the next of the plan")
        self._file.write(name, piece)
        self._pass_complete_shards()

    def _pass_complete_shards(self) -> None:
        while self._file is not None and len(self._file.records) == self._file_tensors:
            self._open.close()
            self.records |= self._file.records
            self._next_shard()

    def _next_shard(self) -> None:
        name, shard = next(self._shards, (None, []))
        self._file_tensors = len(shard)
        self._file = self._open.enter_context(ShardFile(self.folder / name, shard)) if name is not None else None


def plan_shards(plan: Sequence[TensorInfo], max_shard_bytes: int, stem: str = "model") -> dict[str, list[TensorInfo]]:
    """File names, `stem.safetensors` or `stem-00001-of-0000N.safetensors`, to the tensors that each one holds.

    Tensors keep their order; a shard is closed before the tensor that would make it larger than
    `max_shard_bytes`, as huggingface_hub splits, so a larger tensor has a shard of its own. ValueError
    when a name stands twice or a tensor would be misaligned.
    """
    if not plan or len({info.name for info in plan}) != len(plan):
        raise ValueError("a plan needs at least one tensor, and every name once")
    shards: list[list[TensorInfo]] = [[]]
    filled = 0
    for info in plan:
        if shards[-1] and filled + info.nbytes > max_shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(info)
        if filled % torch_dtype(info.dtype).itemsize:
            raise ValueError(f"tensor {info.name} would be misaligned: plan wider types first")
        filled += info.nbytes
    count = len(shards)
    names = [f"{stem}-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]
    return dict(zip(names if count > 1 else [f"{stem}.safetensors"], shards, strict=True))


def aligned(infos: Sequence[TensorInfo]) -> list[TensorInfo]:
    """`infos` with wider types first where the types differ in width, so that a plan of them is aligned."""
    return sorted(infos, key=lambda info: -torch_dtype(info.dtype).itemsize)


def write_index(folder: Path, shards: Mapping[str, Sequence[TensorInfo]]) -> None:
    """Write the index of shards planned by `plan_shards`, atomically; a single file needs none."""
    if len(shards) == 1:
        return
    total = sum(info.nbytes for shard in shards.values() for info in shard)
    weight_map = {info.name: name for name, shard in shards.items() for info in shard}
    with atomic_file(folder / INDEX) as file:
        json.dump({"metadata": {"total_size": total}, "weight_map": weight_map}, file, indent=2)
        file.write("\n")


def check_free_space(folder: Path, needed_bytes: int) -> None:
    """Raise UserError when the disk of `folder` has less than `needed_bytes` free."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise UserError(
            f"not enough disk space in {folder}: {amount(needed_bytes)} needed, {amount(free)} free",
            "free some space, or choose an --out on another disk",
        )


def amount(nbytes: float) -> str:
    """Bytes for people: `5.03 GB`, or `0.25 MB` for what is smaller than 10 MB."""
    return f"{nbytes / 1e9:.2f} GB" if nbytes >= 10_000_000 else f"{nbytes / 1e6:.2f} MB"
