"""One file of a diff in the making: which tensors it holds and what they are made from."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packtrain.diff.pairing import ModelFolder, Pair
from packtrain.weights.info import FLOATING, TensorInfo, torch_dtype
from packtrain.weights.shard_jobs import Advance, ShardResult


@dataclass(frozen=True)
class DiffShard(ABC):
    """The part of a diff that one file holds; each form writes it in its own way (weights/shard_jobs.py: ShardJob)."""

    file_name: str
    base: ModelFolder
    tuned: ModelFolder
    pairs: Sequence[Pair]

    @property
    @abstractmethod
    def bytes_at_most(self) -> int:
        """Bytes that the file may take."""

    @abstractmethod
    def run(self, folder: Path, advance: Advance) -> ShardResult:
        """Write the file; facts: `tuned`, `base` and `recovered`, as the manifest has them."""

    @property
    def nbytes(self) -> int:
        """Bytes of the tuned tensors."""
        return sum(pair.info.nbytes for pair in self.pairs)


def widest_first(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs in their order, but wider types first, as a file needs them to be aligned."""
    return sorted(pairs, key=lambda pair: -torch_dtype(pair.info.dtype).itemsize)


def infos(pairs: Sequence[Pair], dtype: str | None = None) -> list[TensorInfo]:
    """What the headers of the pairs' tensors say, weights in `dtype` if one is given; masks keep theirs."""

    def kept(own: str) -> str:
        return dtype if dtype is not None and own in FLOATING else own

    return [TensorInfo(pair.info.name, kept(pair.info.dtype), pair.info.shape) for pair in pairs]
