"""Streaming writer of safetensors shards in the Hugging Face layout."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import torch

from packtrain.core.atomic import atomic_file, fsync_folder
from packtrain.core.errors import UserError
from packtrain.weights.fingerprint import TensorRecord, little_endian_bytes, record_of
from packtrain.weights.info import TensorInfo, torch_dtype
from packtrain.weights.safetensors_file import header_bytes

MAX_SHARD_BYTES = 5_000_000_000
"""5 GB, as transformers splits."""


class ShardWriter:
    """Writes tensors planned beforehand as `model.safetensors`, or as shards of at most `max_shard_bytes` and an index.

    Use as a context manager and give every tensor's elements to `write`, tensor after tensor in the
    order of the plan, in pieces of any size. A shard bears a temporary name until it is complete; the
    index comes last. Free space is checked before the first byte. `records` has the SHA-256 of every
    finished tensor. UserError when the disk is or gets full; ValueError for a plan that would leave tensors
    misaligned (put wider types first) and for pieces that do not fit the plan.
    """

    def __init__(self, folder: Path, plan: Sequence[TensorInfo], max_shard_bytes: int = MAX_SHARD_BYTES) -> None:
        if not plan or len({info.name for info in plan}) != len(plan):
            raise ValueError("a plan needs at least one tensor, and every name once")
        self.folder = folder
        self.records: dict[str, TensorRecord] = {}
        self._shards = _split(plan, max_shard_bytes)
        self._names = _shard_names(len(self._shards))
        self._order = [(info, number) for number, shard in enumerate(self._shards) for info in shard]
        self.nbytes = sum(info.nbytes for info in plan)
        """Bytes of all tensors, headers not counted."""
        self._file: IO[bytes] | None = None
        self._left = 0
        self._digest = hashlib.sha256()

    def __enter__(self) -> Self:
        check_free_space(self.folder, self.nbytes + sum(len(header_bytes(shard)) for shard in self._shards))
        self._next_tensor()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            if self._file is not None:
                self._file.close()
            return
        if self._order:
            raise ValueError(f"tensor {self._order[0][0].name} was not written whole")
        if len(self._names) > 1:
            self._write_index()
        fsync_folder(self.folder)

    def write(self, name: str, piece: torch.Tensor) -> None:
        """Append a piece of tensor `name`, row-major, in the planned type."""
        if not self._order or self._order[0][0].name != name:
            raise ValueError(f"tensor {name} is not the next of the plan")
        info = self._order[0][0]
        data = little_endian_bytes(piece)
        if piece.dtype != torch_dtype(info.dtype) or len(data) > self._left:
            raise ValueError(f"a piece of tensor {name} does not fit the plan: {info}")
        assert self._file is not None
        try:
            self._file.write(data)
        except OSError as failure:
            raise _write_error(failure, self.folder) from failure
        self._digest.update(data)
        self._left -= len(data)
        if self._left == 0:
            self._finish_tensor()
            self._next_tensor()

    def _finish_tensor(self) -> None:
        info, number = self._order.pop(0)
        self.records[info.name] = record_of(info, self._digest.hexdigest())
        if not self._order or self._order[0][1] != number:
            self._close_shard(number)

    def _next_tensor(self) -> None:
        """Make ready for the next tensor that has elements; empty ones are finished at once."""
        while self._order:
            info, number = self._order[0]
            if self._file is None:
                self._open_shard(number)
            self._left, self._digest = info.nbytes, hashlib.sha256()
            if info.nbytes:
                return
            self._finish_tensor()

    def _open_shard(self, number: int) -> None:
        try:
            self._file = open(self._temporary(number), "wb")  # noqa: SIM115 (closed by _close_shard or __exit__)
            self._file.write(header_bytes(self._shards[number]))
        except OSError as failure:
            raise _write_error(failure, self.folder) from failure

    def _close_shard(self, number: int) -> None:
        assert self._file is not None
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as failure:
            raise _write_error(failure, self.folder) from failure
        self._file = None
        os.replace(self._temporary(number), self.folder / self._names[number])

    def _temporary(self, number: int) -> Path:
        return self.folder / f".{self._names[number]}.tmp"

    def _write_index(self) -> None:
        weight_map = {info.name: name for name, shard in zip(self._names, self._shards, strict=True) for info in shard}
        index = {"metadata": {"total_size": self.nbytes}, "weight_map": weight_map}
        with atomic_file(self.folder / "model.safetensors.index.json") as file:
            json.dump(index, file, indent=2)
            file.write("\n")


def check_free_space(folder: Path, needed_bytes: int) -> None:
    """Raise UserError when the disk of `folder` has less than `needed_bytes` free."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise UserError(
            f"not enough disk space in {folder}: {_amount(needed_bytes)} needed, {_amount(free)} free",
            "free some space, or choose an --out on another disk",
        )


def _split(plan: Sequence[TensorInfo], max_shard_bytes: int) -> list[list[TensorInfo]]:
    """Greedy shards in plan order, as huggingface_hub splits; a larger tensor has a shard of its own."""
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
    return shards


def _shard_names(count: int) -> list[str]:
    if count == 1:
        return ["model.safetensors"]
    return [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]


def _write_error(failure: OSError, folder: Path) -> UserError:
    if failure.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"the disk of {folder} is full", "free some space, or choose an --out on another disk")
    return UserError(f"cannot write in {folder}: {failure.strerror}", "check the folder and its permissions")


def _amount(nbytes: int) -> str:
    return f"{nbytes / 1e9:.2f} GB" if nbytes >= 10_000_000 else f"{nbytes / 1e6:.2f} MB"
