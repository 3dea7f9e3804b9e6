"""One safetensors file that is being written, tensor after tensor, and bears its name when it is complete."""

import errno
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from packtrain.core.errors import UserError
from packtrain.weights.fingerprint import TensorHash, TensorRecord, little_endian_bytes, record_of
from packtrain.weights.info import TensorInfo, torch_dtype
from packtrain.weights.safetensors_file import header_bytes

FLUSH_BYTES = 32_000_000
"""After so many bytes the disk is told to begin with them, while the next ones are computed."""


@cache
def _flushers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(16, thread_name_prefix="flush")


def _reserve(descriptor: int, nbytes: int) -> None:
    """Have the disk set the whole file's place aside: writing is faster, and a full disk is told at once."""
    try:
        os.posix_fallocate(descriptor, 0, nbytes)
    except (AttributeError, OSError) as error:  # not every system and file system can
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise


class ShardFile:
    """Writes the planned tensors in their order to `path`, in pieces of any size; a context manager.

    Until the end the file has a temporary name; then it is synced and renamed. A failure leaves nothing.
    `records` has the hash of every finished tensor: SHA-256, or XXH3 if `fast_hash` (fingerprint.py).
    UserError when the disk is full or cannot be written; ValueError for pieces that do not fit the plan.
    """

    def __init__(self, path: Path, plan: Sequence[TensorInfo], fast_hash: bool = False) -> None:
        self.path = path
        self.records: dict[str, TensorRecord] = {}
        self._left = list(reversed(plan))
        self._header = header_bytes(list(plan))
        self._temporary = path.with_name(f".{path.name}.tmp")
        self._bytes_left = 0
        self._flushing: Future[None] | None = None
        self._unflushed = 0
        self._fast_hash = fast_hash
        self._digest = TensorHash(fast_hash)

    def __enter__(self) -> Self:
        try:
            self._file = open(self._temporary, "wb", buffering=0)
            _reserve(self._file.fileno(), len(self._header) + sum(info.nbytes for info in self._left))
            self._write(self._header)
        except OSError as failure:
            self._temporary.unlink(missing_ok=True)
            raise write_error(failure, self.path.parent) from failure
        self._next_tensor()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._left:
                raise ValueError(f"tensor {self._left[-1].name} was not written whole")
            if kind is None:
                if self._flushing is not None:
                    self._flushing.result()  # an error that it met is told once, and not again by fsync
                os.fsync(self._file.fileno())
                os.replace(self._temporary, self.path)
        except OSError as failure:
            raise write_error(failure, self.path.parent) from failure
        finally:
            if self._flushing is not None:
                self._flushing.exception()  # waits: the file must not be closed under it
            self._file.close()
            self._temporary.unlink(missing_ok=True)

    def write(self, name: str, piece: torch.Tensor) -> None:
        """Append a piece of tensor `name`, row-major, in the planned type."""
        if not self._left or self._left[-1].name != name:
            raise ValueError(f"tensor {name} is not the next of the plan")
        data = little_endian_bytes(piece)
        info = self._left[-1]
        if piece.dtype != torch_dtype(info.dtype) or len(data) > self._bytes_left:
            raise ValueError(f"a piece of tensor {name} does not fit the plan: {info}")
        self._write(data)
        self._digest.add(piece)
        self._bytes_left -= len(data)
        if self._bytes_left == 0:
            self._finish_tensor()
            self._next_tensor()

    def _write(self, data: memoryview | bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[self._file.write(view) :]
            self._unflushed += len(data)
            if self._unflushed >= FLUSH_BYTES and (self._flushing is None or self._flushing.done()):
                if self._flushing is not None:
                    self._flushing.result()
                self._flushing, self._unflushed = _flushers().submit(os.fdatasync, self._file.fileno()), 0
        except OSError as failure:
            raise write_error(failure, self.path.parent) from failure

    def _finish_tensor(self) -> None:
        info = self._left.pop()
        self.records[info.name] = record_of(info, self._digest.hexdigest())

    def _next_tensor(self) -> None:
        """Make ready for the next tensor that has elements; empty ones are finished at once."""
        while self._left:
            self._bytes_left, self._digest = self._left[-1].nbytes, TensorHash(self._fast_hash)
            if self._bytes_left:
                return
            self._finish_tensor()


def write_error(failure: OSError, folder: Path) -> UserError:
    """What to tell a user whose file could not be written."""
    if failure.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"the disk of {folder} is full", "free some space, or choose an --out on another disk")
    return UserError(f"cannot write in {folder}: {failure.strerror}", "check the folder and its permissions")
