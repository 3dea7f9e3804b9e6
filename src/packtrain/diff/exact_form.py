"""The exact form: every tuned tensor as a stream of chunks that gives it back to the bit beside the base's.

A stream holds the chunks (chunk.py) of the elements that the base has too, one after the other, and then
those of the new rows, as they are. Tensors that are no float16, bfloat16 or float32, and those that the
base lacks, are stored as they are from their first chunk.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from packtrain.core.errors import UserError
from packtrain.diff.blob_file import BlobFile
from packtrain.diff.chunk import CHUNK_ELEMENTS, HEADER, MAX_BODY_BYTES, ChunkCodec
from packtrain.diff.manifest import Recovered, stored
from packtrain.diff.pairing import ModelFolder, Pair
from packtrain.diff.preflight import default_shard_bytes
from packtrain.diff.run import Damaged
from packtrain.diff.shard import DiffShard, infos, widest_first
from packtrain.diff.ulp import LAYOUTS, Bits, bits_of, canonical_cast
from packtrain.weights.fingerprint import TensorHash, TensorRecord, little_endian_bytes, record_of
from packtrain.weights.info import torch_dtype
from packtrain.weights.shard_jobs import Advance, ShardResult
from packtrain.weights.writer import plan_shards

STEM = "diff"
"""How the names of the files begin: nothing takes them for a model."""


def chunk_ranges(numel: int, base_numel: int) -> Iterator[tuple[int, int]]:
    """Start and stop of the chunks of a tensor of which the first `base_numel` elements are in the base."""
    for first, last in ((0, min(base_numel, numel)), (min(base_numel, numel), numel)):
        for start in range(first, last, CHUNK_ELEMENTS):
            yield start, min(start + CHUNK_ELEMENTS, last)


class _BaseOf:
    """The base's tensor beside a tuned one: its patterns in the tuned type, and its hash."""

    def __init__(self, base: ModelFolder, pair: Pair) -> None:
        self._store = base.store
        self.layout = LAYOUTS.get(pair.info.dtype)
        self._hash = TensorHash()
        found = base.find(pair.base[0]) if pair.base else None
        self._info = base.store.info(found) if found is not None else None
        self._recorded_as = pair.base[0] if pair.base else ""
        self.numel = self._info.numel if self._info is not None and self.layout is not None else 0

    def piece(self, start: int, stop: int) -> Bits | None:
        """Patterns of elements `start` to `stop`, `[stop - start]`; None behind the base's end."""
        if start >= self.numel or self._info is None or self.layout is None:
            return None
        raw = self._store.flat(self._info.name, start, stop)
        self._hash.add(raw)
        return canonical_cast(raw, self.layout)

    def records(self) -> dict[str, TensorRecord]:
        """Record of the base's tensor, after all its pieces."""
        if self._info is None or self.layout is None:
            return {}
        return {self._recorded_as: record_of(self._info, self._hash.hexdigest())}


def shards(
    base: ModelFolder, tuned: ModelFolder, pairs: Sequence[Pair], max_shard_bytes: int | None
) -> list["ExactShard"]:
    """The files of the diff, each of a part of the tuned model; None for the bound: as suits its size."""
    pairs = [_once(pair) for pair in widest_first(pairs)]
    bound = max_shard_bytes or default_shard_bytes(sum(pair.info.nbytes for pair in pairs))
    pair_of = {pair.info.name: pair for pair in pairs}
    return [
        ExactShard(file_name, base, tuned, [pair_of[info.name] for info in shard])
        for file_name, shard in plan_shards(infos(pairs), bound, stem=STEM).items()
    ]


def _once(pair: Pair) -> Pair:
    """The pair with its base tensor, or without one where differences of its type are not taken."""
    return pair if pair.info.dtype in LAYOUTS else replace(pair, base=(), grown_rows=0)


@dataclass(frozen=True)
class ExactShard(DiffShard):
    """One file of streams."""

    @property
    def bytes_at_most(self) -> int:
        """Bytes that it may take: what does not compress is stored as it is, with headers of zstd and of chunks."""
        return self.nbytes + self.nbytes // 128 + 1000 * len(self.pairs)

    def run(self, folder: Path, advance: Advance) -> ShardResult:
        """Write the file; facts: `tuned`, `base` and `recovered`, as the manifest has them."""
        facts: dict[str, dict[str, object]] = {"tuned": {}, "base": {}, "recovered": {}}
        codec = ChunkCodec()
        with BlobFile(folder / self.file_name, [pair.info.name for pair in self.pairs]) as file:
            for pair in self.pairs:
                name, side, tuned_hash = pair.info.name, _BaseOf(self.base, pair), TensorHash()
                file.write(name, _stream(self.tuned, pair, side, tuned_hash, codec, advance))
                tuned = record_of(pair.info, tuned_hash.hexdigest())
                facts["tuned"][name] = stored(tuned).model_dump(mode="json")
                facts["recovered"][name] = Recovered(
                    sha256=tuned.sha256, equal=pair.info.numel, max_abs_difference=0.0
                ).model_dump(mode="json")
                for base_name, record in side.records().items():
                    facts["base"][base_name] = stored(record).model_dump(mode="json")
        return ShardResult(file.records, facts)


def _stream(
    tuned: ModelFolder, pair: Pair, side: _BaseOf, tuned_hash: TensorHash, codec: ChunkCodec, advance: Advance
) -> Iterator[bytes]:
    """The bytes of one tensor's stream."""
    info, itemsize = pair.info, torch_dtype(pair.info.dtype).itemsize
    for start, stop in chunk_ranges(info.numel, side.numel):
        piece = tuned.store.flat(info.name, start, stop)
        tuned_hash.add(piece)
        base_bits = side.piece(start, stop)
        if base_bits is None or side.layout is None:
            yield from codec.literal(piece.view(torch.uint8).numpy(), itemsize)
        else:
            yield from codec.difference(bits_of(piece, side.layout), base_bits, side.layout)
        advance((stop - start) * itemsize, info.name)


class ExactTensor:
    """One tuned tensor, decoded piece by piece from its stream and the base."""

    def __init__(self, base: ModelFolder, diff: ModelFolder, pair: Pair, codec: ChunkCodec) -> None:
        self.pair = pair
        self._diff, self._codec = diff, codec
        self._side = _BaseOf(base, pair)
        self._stream_hash = TensorHash()
        self._position = 0

    def pieces(self) -> Iterator[torch.Tensor]:
        """The elements in their order, in the tuned type, as flat pieces that are overwritten by the next one.

        UserError naming the tensor when the stream is damaged, or not one of this base.
        """
        info = self.pair.info
        dtype = torch_dtype(info.dtype)
        try:
            for start, stop in chunk_ranges(info.numel, self._side.numel):
                header = self._take(HEADER.size)
                body_bytes = HEADER.unpack(header)[0]
                if body_bytes > MAX_BODY_BYTES:
                    raise Damaged("a chunk claims more bytes than any has")
                body = self._take(body_bytes)
                base_bits = self._side.piece(start, stop)
                elements = self._codec.read(
                    bytes(header), body, stop - start, base_bits, self._side.layout, dtype.itemsize
                )
                yield torch.from_numpy(elements).view(dtype)
            if self._position != self._diff.store.info(info.name).numel:
                raise Damaged("its stream is longer than its chunks")
        except Damaged as damage:
            raise UserError(
                f"tensor {info.name} cannot be recovered: {damage}",
                f"{self._diff.folder} is damaged, or the base is not the one that it was made with: "
                "packtrain diff check says which",
            ) from damage

    def _take(self, nbytes: int) -> memoryview:
        """The next bytes of the stream."""
        name = self.pair.info.name
        if self._position + nbytes > self._diff.store.info(name).numel:
            raise Damaged("its stream ends within a chunk")
        raw = self._diff.store.flat(name, self._position, self._position + nbytes)
        self._stream_hash.add(raw)
        self._position += nbytes
        return little_endian_bytes(raw)

    def base_records(self) -> dict[str, TensorRecord]:
        """Record of the base tensor, after all pieces."""
        return self._side.records()

    def diff_record(self) -> TensorRecord:
        """Record of the stream, after all pieces."""
        return record_of(self._diff.store.info(self.pair.info.name), self._stream_hash.hexdigest())
