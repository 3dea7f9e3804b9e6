"""The float form: tuned - base for every tensor, as weight_diff.py of stanford_alpaca and open-instruct write it.

Readable by the original scripts. Recovery is near, not exact: a sum of floats is rounded.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from packtrain.diff.agreement import Agreement
from packtrain.diff.base_tensor import BaseSide, ranges
from packtrain.diff.manifest import Recovered, stored
from packtrain.diff.pairing import ModelFolder, Pair
from packtrain.diff.preflight import default_shard_bytes
from packtrain.diff.shard import DiffShard, infos
from packtrain.weights.fingerprint import TensorHash, TensorRecord, record_of
from packtrain.weights.info import TensorInfo, torch_dtype
from packtrain.weights.pieces import converted, empty_piece
from packtrain.weights.shard_file import ShardFile
from packtrain.weights.shard_jobs import Advance, ShardResult
from packtrain.weights.writer import plan_shards

DIFF_DTYPE = "float32"


class FloatTensor:
    """One tuned tensor as the sum of a stored difference and the base's, piece by piece.

    Base and difference are hashed on the way, by XXH3 if `fast_hash`: SHA-256 costs as much as all the rest.
    """

    def __init__(
        self, base: ModelFolder, diff: ModelFolder, pair: Pair, growth: str, arithmetic: str, fast_hash: bool
    ) -> None:
        self.pair = pair
        self._diff, self._arithmetic = diff, torch_dtype(arithmetic)
        self._side = BaseSide(base, pair, growth, fast_hash)
        self._hash = TensorHash(fast_hash)

    def pieces(self) -> Iterator[torch.Tensor]:
        """The elements in their order, in the type of the arithmetic, as flat pieces."""
        for start, stop in ranges(self.pair.info.numel):
            stored = self._diff.store.flat(self.pair.info.name, start, stop)
            self._hash.add(stored)
            piece = converted(stored, self._arithmetic)
            for base_piece in self._side.pieces(start, stop):
                piece += self._addend(base_piece)
            yield piece

    def _addend(self, base_piece: torch.Tensor) -> torch.Tensor:
        """As it is added: torch widens what is narrower than float32 by itself, without a copy."""
        return base_piece if self._arithmetic == torch.float32 else converted(base_piece, self._arithmetic)

    def base_records(self) -> dict[str, TensorRecord]:
        """Records of the base's tensors, after all pieces."""
        return self._side.records()

    def diff_record(self) -> TensorRecord:
        """Record of the stored difference, after all pieces."""
        return record_of(self._diff.store.info(self.pair.info.name), self._hash.hexdigest())


class Differences:
    """One tensor of a diff in the making, piece by piece, and what recovery will make of it."""

    def __init__(self, base: ModelFolder, tuned: ModelFolder, pair: Pair) -> None:
        self._pair, self._tuned = pair, tuned
        self._side = BaseSide(base, pair, "mean")
        self._tuned_hash, self._recovered_hash = TensorHash(), TensorHash()
        self.agreement = Agreement()

    def pieces(self, advance: Callable[[int, str], None]) -> Iterator[torch.Tensor]:
        """The float32 differences in their order, as flat pieces, each valid until the next one is asked for."""
        name = self._pair.info.name
        for start, stop in ranges(self._pair.info.numel):
            tuned_piece = self._tuned.store.flat(name, start, stop)
            self._tuned_hash.add(tuned_piece)
            base_pieces = self._side.pieces(start, stop) if self._pair.base else []
            difference = empty_piece(stop - start, torch.float32).copy_(tuned_piece)
            for base_piece in base_pieces:
                difference -= base_piece
            yield difference
            for base_piece in base_pieces:
                difference += base_piece
            self._recovered_hash.add(difference)
            self.agreement.add(difference, converted(tuned_piece, torch.float32))
            advance(tuned_piece.nbytes, name)

    def tuned_record(self) -> TensorRecord:
        """Record of the tuned tensor, after all pieces."""
        return record_of(self._pair.info, self._tuned_hash.hexdigest())

    def base_records(self) -> dict[str, TensorRecord]:
        """Records of the base's tensors, after all pieces."""
        return self._side.records()

    def recovered(self) -> Recovered:
        """What recovery gives, after all pieces."""
        return Recovered(
            sha256=self._recovered_hash.hexdigest(),
            equal=self.agreement.equal,
            max_abs_difference=self.agreement.max_abs_difference,
        )


def shards(
    base: ModelFolder, tuned: ModelFolder, pairs: Sequence[Pair], max_shard_bytes: int | None
) -> list["FloatShard"]:
    """The files of the diff, in the layout of a model; None for the bound: as suits its size."""
    plan = infos(pairs, DIFF_DTYPE)
    bound = max_shard_bytes or default_shard_bytes(sum(info.nbytes for info in plan))
    pair_of = {pair.info.name: pair for pair in pairs}
    return [
        FloatShard(file_name, base, tuned, [pair_of[info.name] for info in shard])
        for file_name, shard in plan_shards(plan, bound).items()
    ]


@dataclass(frozen=True)
class FloatShard(DiffShard):
    """One file of float32 differences."""

    @property
    def plan(self) -> list[TensorInfo]:
        """What the file will hold."""
        return infos(self.pairs, DIFF_DTYPE)

    @property
    def bytes_at_most(self) -> int:
        """Bytes that it will take, but for a small header."""
        return sum(info.nbytes for info in self.plan)

    def run(self, folder: Path, advance: Advance) -> ShardResult:
        """Write the file; facts: `tuned`, `base` and `recovered`, as the manifest has them."""
        facts: dict[str, dict[str, object]] = {"tuned": {}, "base": {}, "recovered": {}}
        with ShardFile(folder / self.file_name, self.plan) as file:
            for pair in self.pairs:
                differences = Differences(self.base, self.tuned, pair)
                for piece in differences.pieces(advance):
                    file.write(pair.info.name, piece)
                facts["tuned"][pair.info.name] = stored(differences.tuned_record()).model_dump(mode="json")
                facts["recovered"][pair.info.name] = differences.recovered().model_dump(mode="json")
                for name, record in differences.base_records().items():
                    facts["base"][name] = stored(record).model_dump(mode="json")
        return ShardResult(file.records, facts)
