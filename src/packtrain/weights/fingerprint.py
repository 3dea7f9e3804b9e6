"""Hashes of tensors and of whole models that do not depend on file form, sharding or order of names."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from packtrain.core.progress import progress
from packtrain.weights.info import TensorInfo
from packtrain.weights.store import TensorStore

CHUNK_ELEMENTS = 256 * 1024
"""Elements that are held at a time while streaming."""


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """A tensor's header and the SHA-256 of its bytes."""

    dtype: str
    shape: tuple[int, ...]
    sha256: str


def little_endian_bytes(tensor: torch.Tensor) -> memoryview:
    """The elements of a CPU tensor in row-major order as bytes, without a copy where it is contiguous."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data


class TensorHash:
    """SHA-256 of a tensor's row-major little-endian bytes, given piece by piece to `add`."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, piece: torch.Tensor) -> None:
        """Take in the next piece."""
        self._digest.update(little_endian_bytes(piece))

    def hexdigest(self) -> str:
        """The hash of all pieces so far."""
        return self._digest.hexdigest()


def sha256_of_pieces(pieces: Iterable[torch.Tensor]) -> str:
    """Hex SHA-256 of the little-endian bytes of a tensor given as flat pieces in row-major order."""
    tensor_hash = TensorHash()
    for piece in pieces:
        tensor_hash.add(piece)
    return tensor_hash.hexdigest()


def record_of(info: TensorInfo, sha256: str) -> TensorRecord:
    """The record of a tensor whose header is `info`."""
    return TensorRecord(info.dtype, info.shape, sha256)


def tensor_records(store: TensorStore, description: str = "hashing") -> dict[str, TensorRecord]:
    """Record of every tensor of a store, streaming."""
    records = {}
    with progress(description, len(store)) as advance:
        for name in store:
            records[name] = record_of(store.info(name), sha256_of_pieces(store.chunks(name, CHUNK_ELEMENTS)))
            advance(note=name)
    return records


def model_fingerprint(records: Mapping[str, TensorRecord]) -> str:
    """Hex SHA-256 over all tensors: one line `name dtype shape sha256` each, sorted by name.

    The shape is written with commas and no spaces (`32000,4096`); every line ends in a newline.
    """
    digest = hashlib.sha256()
    for name, record in sorted(records.items()):
        shape = ",".join(map(str, record.shape))
        digest.update(f"{name} {record.dtype} {shape} {record.sha256}\n".encode())
    return digest.hexdigest()
