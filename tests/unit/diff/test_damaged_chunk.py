"""Proves that damaged chunks raise nothing but `Damaged`, and never take more memory than the whole one."""

import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from packtrain.diff.chunk import HEADER, ChunkCodec
from packtrain.diff.run import HEADER as RUN_HEADER
from packtrain.diff.run import Damaged
from packtrain.diff.ulp import LAYOUTS, FloatLayout

CODEC = ChunkCodec()
COUNT = 300
EMPTY_BLOCK = b"\x01\x00\x00"


def patterns(layout: FloatLayout) -> tuple[Any, Any]:
    """Tuned and base patterns of which some are far from one another: there are symbols, low bits and escapes."""
    rng = np.random.default_rng(6)
    base = (rng.standard_normal(COUNT) * 0.02).astype(np.float32).view(np.int32)
    steps = (rng.standard_normal(COUNT) * 300).astype(np.int32)
    steps[::50] <<= 9
    if layout.bits == 16:
        return (base >> 16).astype(np.int16) + steps.astype(np.int16), (base >> 16).astype(np.int16)
    return base + (steps << 8), base


def chunk(layout: FloatLayout, literal: bool) -> tuple[bytes, Any]:
    """A small chunk and its base."""
    tuned, base = patterns(layout)
    pieces = CODEC.literal(tuned.view(np.uint8), tuned.itemsize) if literal else CODEC.difference(tuned, base, layout)
    return b"".join(pieces), base


def read(data: bytes, base: Any, layout: FloatLayout) -> Any:
    return CODEC.read(data[: HEADER.size], memoryview(data)[HEADER.size :], COUNT, base, layout, base.itemsize)


def flipped(data: bytes) -> Iterator[bytes]:
    for place in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << place % 8
        yield bytes(damaged)


def outcomes(variants: Iterator[bytes], base: Any, layout: FloatLayout) -> tuple[int, int]:
    """How many variants were told to be damaged, and how many were decoded to something of the right size."""
    told, decoded = 0, 0
    for data in variants:
        try:
            found = read(data, base, layout)
        except Damaged:
            told += 1
        else:
            assert (found.dtype, found.shape) == (layout.signed, (COUNT,))
            decoded += 1
    return told, decoded


@pytest.mark.usefixtures("loops")
@pytest.mark.parametrize("name", ["bfloat16", "float32"])
@pytest.mark.parametrize("literal", [False, True])
def test_every_flipped_bit_and_every_truncation(name: str, literal: bool) -> None:
    layout = LAYOUTS[name]
    data, base = chunk(layout, literal)
    if not literal:
        shift, _, _, _, escapes = RUN_HEADER.unpack(data[HEADER.size : HEADER.size + RUN_HEADER.size])
        assert shift
        assert escapes
    told, decoded = outcomes(flipped(data), base, layout)
    assert told > 50
    assert told + decoded == 8 * len(data)
    truncations = (data[:length] for length in range(HEADER.size, len(data)))
    assert outcomes(truncations, base, layout) == (len(data) - HEADER.size, 0)


@pytest.mark.parametrize("name", ["bfloat16", "float32"])
def test_noise_instead_of_a_chunk(name: str) -> None:
    layout, rng = LAYOUTS[name], np.random.default_rng(7)
    data, base = chunk(layout, literal=False)
    noise = (data[: HEADER.size] + rng.bytes(int(rng.integers(0, 400))) for _ in range(500))
    assert outcomes(noise, base, layout) == (500, 0)
    headers = (rng.bytes(HEADER.size) + data[HEADER.size :] for _ in range(500))
    assert outcomes(headers, base, layout)[0] > 490


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_base_with_other_exponents_is_told_or_decoded_to_something(name: str) -> None:
    layout = LAYOUTS[name]
    data, base = chunk(layout, literal=False)
    for other in (np.zeros_like(base), base[::-1].copy(), ~base):
        try:
            found = read(data, other, layout)
        except Damaged:
            continue
        assert found.shape == (COUNT,)


def test_headers_that_make_no_sense_are_told() -> None:
    layout = LAYOUTS["bfloat16"]
    data, base = chunk(layout, literal=False)
    literal, _ = chunk(layout, literal=True)
    nbytes, method, itemsize, runs, fold = HEADER.unpack(data[: HEADER.size])
    assert (method, itemsize, runs) == (1, 0, 1)

    def told(header: tuple[int, ...], body: bytes, base: Any = base, layout: FloatLayout | None = layout) -> str:
        with pytest.raises(Damaged) as raised:
            CODEC.read(HEADER.pack(*header), memoryview(body), COUNT, base, layout, 2)
        return str(raised.value)

    body, literal_body = data[HEADER.size :], literal[HEADER.size :]
    nonsense = "the header of a chunk makes no sense"
    assert told((nbytes, 2, 0, runs, fold), body) == nonsense
    assert told((nbytes, 1, 2, runs, fold), body) == nonsense
    assert told((nbytes, 1, 0, runs, fold), body, base=None) == nonsense
    assert told((nbytes, 1, 0, runs, fold), body, layout=None) == nonsense
    for changes in ((4, 0, 0), (2, 1, 0), (2, 0, 1)):
        assert told((len(literal_body), 0, *changes), literal_body) == nonsense
    misfit = "the header of a chunk does not fit the base"
    assert told((nbytes, 1, 0, 2, fold), body) == misfit
    assert told((nbytes, 1, 0, 1, 0x8000), body) == misfit
    assert told((nbytes + 1, 1, 0, 1, fold), body + b"x") == "a chunk is longer than its runs"


def test_a_chunk_that_claims_gigabytes_gets_none() -> None:
    """As a literal and as symbols of a run: frames that claim four gigabytes, or a window of as much."""
    layout = LAYOUTS["bfloat16"]
    _, base = patterns(layout)
    start = b"\x28\xb5\x2f\xfd"
    frames = [
        start + b"\xe0" + (2**32).to_bytes(8, "little") + EMPTY_BLOCK,
        start + b"\x80\xa8" + (2**32 - 1).to_bytes(4, "little") + EMPTY_BLOCK,
        start + b"\x40\xa8" + (2 * COUNT - 256).to_bytes(2, "little") + EMPTY_BLOCK,
        start + b"\x40\xa8" + (COUNT - 256).to_bytes(2, "little"),
    ]
    tracemalloc.start()
    try:
        for frame in frames:
            run = RUN_HEADER.pack(0, 1, 0, len(frame), 0) + frame
            with pytest.raises(Damaged):
                read(HEADER.pack(len(frame), 0, 2, 0, 0) + frame, base, layout)
            with pytest.raises(Damaged):
                read(HEADER.pack(len(run), 1, 0, 1, 0) + run, base, layout)
            many = RUN_HEADER.pack(0, 1, 0, len(frame), COUNT) + frame + bytes(2 * COUNT)
            with pytest.raises(Damaged):
                read(HEADER.pack(len(many), 1, 0, 1, 0) + many, base, layout)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
