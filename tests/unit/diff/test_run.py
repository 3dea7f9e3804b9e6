"""Proves that a run gives every value back, whatever its spread, and that damaged runs are told."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from packtrain.diff.run import HEADER, Damaged, Shape, choose_shape, decompress, read_run, write_run

KINDS = (np.uint16, np.uint32)
COMPRESSOR, DECOMPRESSOR = zstandard.ZstdCompressor(level=1), zstandard.ZstdDecompressor()


def assert_round_trip(values: Any) -> bytes:
    """The bytes of a run that was read back whole, with others behind it."""
    before = values.copy()
    data = b"".join(write_run(values, COMPRESSOR))
    assert np.array_equal(values, before)
    found, rest = read_run(memoryview(data + b"next"), len(values), values.dtype.type, DECOMPRESSOR)
    assert found.dtype == values.dtype
    assert np.array_equal(found, values)
    assert bytes(rest) == b"next"
    return data


def spread(bits: float, count: int, kind: Any, seed: int = 0) -> Any:
    """Values with about so many bits, with a heavy tail."""
    drawn = np.abs(np.random.default_rng(seed).standard_cauchy(count)) * 2.0**bits
    return np.minimum(drawn, np.iinfo(kind).max).astype(kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 4095, 4096, 4097, 65537])
def test_values_of_every_spread_come_back(kind: Any, count: int) -> None:
    for bits in range(-3, np.iinfo(kind).bits, 2):
        assert_round_trip(spread(bits, count, kind, seed=bits + 3))
    for value in (0, 1, 2, 254, 255, 256, np.iinfo(kind).max):
        assert_round_trip(np.full(count, value, kind))
        few = np.zeros(count, kind)
        few[:: max(1, count // 5)] = value
        assert_round_trip(few)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_any_values_come_back(kind: Any, data: st.DataObject) -> None:
    size = np.dtype(kind).itemsize
    raw = data.draw(st.binary(min_size=size, max_size=400))
    assert_round_trip(np.frombuffer(raw[: len(raw) // size * size], kind))


@pytest.mark.parametrize(
    ("packing", "share", "largest", "bits"),
    [(1, 0.9, 60, 5.9), (2, 0.5, 3, 1.95), (4, 0.1, 2, 0.8), (8, 0.001, 3, 0.08)],
)
def test_rare_changes_share_bytes(packing: int, share: float, largest: int, bits: float) -> None:
    """The fewer values differ from zero, the more of them share a byte; `bits` of each value at most."""
    rng = np.random.default_rng(5)
    values = ((rng.random(20_000) < share) * rng.integers(1, largest + 1, 20_000)).astype(np.uint16)
    assert choose_shape(values).packing == packing
    assert len(assert_round_trip(values)) * 8 / 20_000 < bits


def test_a_run_of_one_value_takes_a_few_bytes() -> None:
    assert len(assert_round_trip(np.zeros(1 << 20, np.uint16))) < 100


def damaged(data: bytes, count: int = 100, kind: Any = np.uint16) -> str:
    with pytest.raises(Damaged) as raised:
        read_run(memoryview(data), count, kind, DECOMPRESSOR)
    return str(raised.value)


def test_what_is_wrong_with_a_run_is_told() -> None:
    values = spread(9, 100, np.uint16)
    values[0] = 60_000
    data = b"".join(write_run(values, COMPRESSOR))
    shift, packing, zero, packed, escapes = HEADER.unpack(data[: HEADER.size])
    body = data[HEADER.size :]
    assert (shift > 0, packing, zero, escapes > 0) == (True, 1, 0, True)

    def header(**changes: int) -> bytes:
        fields = {"shift": shift, "packing": packing, "zero": zero, "packed": packed, "escapes": escapes} | changes
        return HEADER.pack(*fields.values()) + body

    assert damaged(data[: HEADER.size - 1]) == "a run ends in its header"
    assert damaged(data[:-1]) == "a run is longer than its chunk"
    for changes in ({"packing": 3}, {"packing": 0}, {"shift": 16}, {"zero": 1}, {"escapes": 101}):
        assert damaged(header(**changes)) == "the header of a run makes no sense"
    assert damaged(header(packed=2**32 - 1)) == "a run is longer than its chunk"
    assert damaged(header(packed=3)).startswith("compressed symbols cannot be read: ")
    assert damaged(header(escapes=escapes - 1)) == "a run has another number of escapes than it says"
    assert damaged(data, count=99) == "compressed symbols are of another length than their run"


def test_a_frame_is_believed_neither_its_length_nor_its_window() -> None:
    """Sixteen bytes that claim to hold four gigabytes, or to need as much memory."""
    single_segment, four_gigabytes = b"\x28\xb5\x2f\xfd\xe0", (2**32).to_bytes(8, "little")
    empty_last_block = b"\x01\x00\x00"
    window = b"\x28\xb5\x2f\xfd\x40\xa8" + (1000 - 256).to_bytes(2, "little") + empty_last_block
    tracemalloc.start()
    try:
        for frame in (single_segment + four_gigabytes + empty_last_block, window, b"", b"no frame"):
            with pytest.raises(Damaged):
                decompress(memoryview(frame), 1000, DECOMPRESSOR)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_frame_of_unknown_length_or_with_nothing_in_it() -> None:
    streamed = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1000))
    with pytest.raises(Damaged):
        decompress(memoryview(streamed), 1000, DECOMPRESSOR)
    assert len(decompress(memoryview(COMPRESSOR.compress(b"")), 0, DECOMPRESSOR)) == 0


@pytest.mark.parametrize(("packing", "bits", "escape"), [(1, 8, 255), (2, 4, 15), (4, 2, 3), (8, 1, 1)])
def test_the_largest_symbol_is_the_escape(packing: int, bits: int, escape: int) -> None:
    shape = Shape(3, packing)
    assert (shape.symbol_bits, shape.escape) == (bits, escape)
    assert shape.symbol_bytes(9) == -(-9 // packing)
    assert (Shape(0, 1).low_bytes(9), shape.low_bytes(9), Shape(9, 1).low_bytes(9)) == (0, 6, 11)
