"""A safetensors file of byte streams whose lengths are not known before they are written."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from packtrain.weights.fingerprint import TensorRecord
from packtrain.weights.info import TensorInfo
from packtrain.weights.safetensors_file import header_bytes
from packtrain.weights.shard_file import write_error

_LONGEST = 10**15
"""Bytes of a stream that its number in the header has room for."""


class BlobFile:
    """Writes one stream for each of `names`, one after the other, as tensors of type uint8; a context manager.

    The header's place is kept free and filled at the end, padded with spaces. As with `ShardFile`, the
    file bears its name when it is complete, and a failure leaves nothing.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.path = path
        self.records: dict[str, TensorRecord] = {}
        self._header_bytes = len(header_bytes([TensorInfo(name, "uint8", (_LONGEST,)) for name in names]))
        self._temporary = path.with_name(f".{path.name}.tmp")

    def __enter__(self) -> Self:
        try:
            self._file = open(self._temporary, "wb")
            self._file.seek(self._header_bytes)
        except OSError as failure:
            raise write_error(failure, self.path.parent) from failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                infos = [TensorInfo(name, each.dtype, each.shape) for name, each in self.records.items()]
                self._file.seek(0)
                self._file.write(_padded(header_bytes(infos), self._header_bytes))
                self._file.flush()
                os.fsync(self._file.fileno())
                os.replace(self._temporary, self.path)
        except OSError as failure:
            raise write_error(failure, self.path.parent) from failure
        finally:
            with suppress(OSError):  # what could not be written is told above
                self._file.close()
            self._temporary.unlink(missing_ok=True)

    def write(self, name: str, pieces: Iterable[bytes]) -> None:
        """Append the whole stream of `name`."""
        digest, nbytes = hashlib.sha256(), 0
        try:
            for piece in pieces:
                self._file.write(piece)
                digest.update(piece)
                nbytes += len(piece)
        except OSError as failure:
            raise write_error(failure, self.path.parent) from failure
        self.records[name] = TensorRecord("uint8", (nbytes,), digest.hexdigest())


def _padded(header: bytes, nbytes: int) -> bytes:
    """The same header, filled up with spaces to `nbytes` in all."""
    return (nbytes - 8).to_bytes(8, "little") + header[8:].ljust(nbytes - 8)
