"""Proves that a chunk gives every bit pattern back, whatever base and tuned tensor are, and how small it is."""

from typing import Any

import numpy as np
import pytest
import torch
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from packtrain.diff.chunk import CHUNK_ELEMENTS, HEADER, ChunkCodec, run_ends
from packtrain.diff.ulp import LAYOUTS, FloatLayout, bits_of

NAMES = tuple(LAYOUTS)
LENGTHS = (0, 1, 2, 4095, 4096, 4097, 65535, 65536, 65537, CHUNK_ELEMENTS)
CODEC = ChunkCodec()
pytestmark = pytest.mark.usefixtures("loops")
any_loops = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def assert_round_trip(tuned: Any, base: Any, layout: FloatLayout) -> bytes:
    """The bytes of a chunk that was read back to the bit; a codec that has written other chunks writes the same."""
    before = tuned.copy(), base.copy()
    data = b"".join(CODEC.difference(tuned, base, layout))
    header, body = data[: HEADER.size], memoryview(data)[HEADER.size :]
    assert HEADER.unpack(header)[0] == len(body)
    found = CODEC.read(header, body, len(base), base, layout, tuned.itemsize)
    assert found.dtype == layout.signed
    assert np.array_equal(found, before[0])
    assert np.array_equal(tuned, before[0])
    assert np.array_equal(base, before[1])
    return data


def weights(name: str, count: int, seed: int = 0, update: float = 6e-4) -> tuple[Any, Any]:
    """Patterns of a tuned tensor and of its base: weights of spread 0.02, Gaussian updates of RMS `update`."""
    layout, generator = LAYOUTS[name], torch.Generator().manual_seed(seed)
    dtype = getattr(torch, name)
    base = (torch.randn(count, generator=generator) * 0.02).to(dtype)
    tuned = (base.float() + torch.randn(count, generator=generator) * update).to(dtype)
    return bits_of(tuned, layout), bits_of(base, layout)


def any_patterns(layout: FloatLayout, count: int, seed: int) -> Any:
    """Patterns drawn evenly: NaN, infinities, zeros and subnormals among them."""
    return np.random.default_rng(seed).integers(0, 1 << layout.bits, count, layout.unsigned).view(layout.signed)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("length", LENGTHS)
def test_lengths(name: str, length: int) -> None:
    layout = LAYOUTS[name]
    assert_round_trip(*weights(name, length), layout)
    assert_round_trip(any_patterns(layout, length, 1), any_patterns(layout, length, 2), layout)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
@pytest.mark.parametrize("seed", range(3))
def test_every_pattern_of_two_bytes_against_every_other_in_some_order(name: str, seed: int) -> None:
    layout, rng = LAYOUTS[name], np.random.default_rng(seed)
    patterns = np.arange(1 << 16, dtype=np.uint16).view(np.int16)
    assert_round_trip(patterns, rng.permutation(patterns), layout)
    assert_round_trip(rng.permutation(patterns), patterns, layout)
    for base in (0, -0x8000, 1, layout.infinity, layout.infinity + 1, -1):
        assert_round_trip(patterns, np.full_like(patterns, base), layout)
        assert_round_trip(np.full_like(patterns, base), patterns, layout)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@any_loops
def test_any_patterns(name: str, data: st.DataObject) -> None:
    layout = LAYOUTS[name]
    size = layout.bits // 8
    special = [0, 1, layout.infinity, layout.infinity - 1, layout.infinity + 1, layout.magnitude_mask]
    special += [pattern | layout.magnitude_mask + 1 for pattern in special]
    pattern = st.one_of(st.sampled_from(special), st.integers(0, 2**layout.bits - 1))
    pairs = data.draw(st.lists(st.tuples(pattern, pattern), max_size=40))
    times = data.draw(st.sampled_from([1, 1, 200]))  # over 4096 of one exponent begin a run of their own
    tuned, base = (
        np.frombuffer(b"".join(pair[side].to_bytes(size, "little") for pair in pairs) * times, layout.signed)
        for side in (0, 1)
    )
    assert_round_trip(tuned, base, layout)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("share", [0.001, 0.5])
def test_changes_of_a_share_of_the_weights(name: str, share: float) -> None:
    layout = LAYOUTS[name]
    tuned, base = weights(name, 200_000)
    sparse = np.where(np.random.default_rng(0).random(len(base)) < share, tuned, base)
    data = assert_round_trip(sparse, base, layout)
    assert len(data) < len(assert_round_trip(tuned, base, layout))
    if share == 0.001:
        assert len(data) < base.nbytes * 0.01


@pytest.mark.parametrize("name", NAMES)
def test_constants_equals_heavy_tails_and_huge_steps(name: str) -> None:
    layout = LAYOUTS[name]
    tuned, base = weights(name, 100_000)
    assert len(assert_round_trip(base, base, layout)) < base.nbytes / 1000
    constant = np.full_like(base, base[0])
    assert len(assert_round_trip(constant, constant, layout)) < 200
    assert_round_trip(constant, base, layout)
    assert_round_trip(base, constant, layout)
    assert_round_trip(tuned, np.zeros_like(base), layout)
    assert_round_trip(~base, base, layout)
    assert_round_trip(base ^ layout.signed(-layout.magnitude_mask - 1), base, layout)
    cauchy = torch.from_numpy(np.random.default_rng(3).standard_cauchy(100_000) * 1e-4)
    dtype = getattr(torch, name)
    heavy = (torch.from_numpy(base.copy()).view(dtype).double() + cauchy).to(dtype)
    assert_round_trip(bits_of(heavy, layout), base, layout)


@pytest.mark.parametrize("name", NAMES)
def test_what_has_nothing_of_its_base_takes_no_more_than_itself(name: str) -> None:
    layout = LAYOUTS[name]
    for base in (any_patterns(layout, 100_000, 1), weights(name, 100_000)[1]):
        data = assert_round_trip(any_patterns(layout, 100_000, 2), base, layout)
        assert len(data) < base.nbytes + base.nbytes // 128 + 100


@pytest.mark.parametrize(("name", "share"), [("bfloat16", 0.36), ("float16", 0.56), ("float32", 0.80)])
def test_gaussian_updates_take_a_known_share_and_less_than_byte_planes_of_an_xor(name: str, share: float) -> None:
    """Weights of spread 0.02, updates of RMS 6e-4, as fine-tuning makes them."""
    layout = LAYOUTS[name]
    tuned, base = weights(name, 1_000_000)
    data = assert_round_trip(tuned, base, layout)
    assert len(data) <= share * tuned.nbytes
    planes = (tuned ^ base).view(np.uint8).reshape(-1, tuned.itemsize).T
    compressor = zstandard.ZstdCompressor(level=3)
    plain = sum(len(compressor.compress(np.ascontiguousarray(plane).data)) for plane in planes)
    assert plain >= {"bfloat16": 1.25, "float16": 1.15, "float32": 1.0}[name] * len(data)


@pytest.mark.parametrize(
    "name", ["float64", "int64", "int32", "int16", "bool", "uint8", "float8_e4m3fn", "float8_e5m2"]
)
@pytest.mark.parametrize("length", [0, 1, 4097])
def test_other_types_are_stored_as_they_are(name: str, length: int) -> None:
    dtype = getattr(torch, name)
    raw = np.random.default_rng(4).integers(0, 256, length * dtype.itemsize, np.uint8)
    data = b"".join(CODEC.literal(raw, dtype.itemsize))
    found = CODEC.read(data[: HEADER.size], memoryview(data)[HEADER.size :], length, None, None, dtype.itemsize)
    assert np.array_equal(found, raw)
    assert found.flags.writeable, "torch warns of memory that is not"


@pytest.mark.parametrize("name", NAMES)
def test_a_literal_of_a_known_type_needs_no_base(name: str) -> None:
    layout = LAYOUTS[name]
    tuned, base = weights(name, 5000)
    data = b"".join(CODEC.literal(tuned.view(np.uint8), tuned.itemsize))
    for given_base in (None, base):
        found = CODEC.read(
            data[: HEADER.size], memoryview(data)[HEADER.size :], 5000, given_base, layout, tuned.itemsize
        )
        assert np.array_equal(found, tuned)


def test_runs_end_with_the_first_exponent_at_which_there_are_enough() -> None:
    counts = np.zeros(256, np.int64)
    assert run_ends(counts) == []
    counts[3] = 1
    assert run_ends(counts) == [1]
    counts[[5, 9, 11, 12]] = 4095, 10_000, 4095, 1
    assert run_ends(counts) == [4096, 14_096, 18_192]
    counts[200] = 5
    assert run_ends(counts) == [4096, 14_096, 18_197]


FIRST_DIFFERENCE = (
    "3100000001000100003c0000000200001f0000000300000028b52ffd201eb50000807f8130f31f971708338071798130031801002c9725f6ff"
    "058aa904"
)
FIRST_LITERAL = (
    "4e000000000200000000000028b52ffd20782d0200d4030004080c1014181c2024282c3034383c4044484c5054585c6064686c7074787c8084"
    "888c9094989ca0a4a8acb0b4b8bcc0c4c8ccd0d4d8dce0e4e8ec0001000d094001"
)


def test_chunks_of_the_first_version_can_be_read_for_ever() -> None:
    """Two chunks as version 1 of the format wrote them: sixty steps, a NaN and a change of sign; and a literal."""
    layout, numbers = LAYOUTS["bfloat16"], np.arange(60)
    base = (0x3C00 + 37 * numbers).astype(np.int16)
    tuned = base + ((numbers * numbers) % 11 - 5).astype(np.int16)
    tuned[7:9] = -1, tuned[8] ^ -0x8000
    for stored, expected in ((FIRST_DIFFERENCE, tuned), (FIRST_LITERAL, (4 * numbers).astype(np.int16))):
        data = bytes.fromhex(stored)
        found = CODEC.read(data[: HEADER.size], memoryview(data)[HEADER.size :], 60, base, layout, 2)
        assert np.array_equal(found, expected)
