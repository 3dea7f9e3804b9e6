"""One run of a chunk: unsigned values of about one spread, as compressed symbols, low bits and escapes.

value = symbol << shift | low bits. The low bits, which are noise, are stored as they are; symbols that
do not fit are escaped, and their values stand at the end. `packing` symbols share a byte when they are
so few that a Huffman code, which spends a bit at least, would waste on one.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

Values = npt.NDArray[np.unsignedinteger[Any]]
"""uint16 or uint32, `[n]`."""

HEADER = struct.Struct("<BBHII")
"""shift, packing, zero, bytes of the compressed symbols, number of escapes."""

_PACKINGS = (1, 2, 4, 8)
"""Symbols in a byte; each has 8 / packing bits, and the largest of them is the escape."""
_SAMPLE = 2048
"""Values that are looked at to choose shift and packing."""


class Damaged(Exception):
    """What is wrong with stored bytes."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How a run is written down."""

    shift: int
    packing: int

    @property
    def symbol_bits(self) -> int:
        """Bits of a symbol."""
        return 8 // self.packing

    @property
    def escape(self) -> int:
        """The symbol that stands for a value that does not fit."""
        return (1 << self.symbol_bits) - 1

    def symbol_bytes(self, count: int) -> int:
        """Bytes of `count` symbols before compression."""
        return -(-count // self.packing)

    def low_bytes(self, count: int) -> int:
        """Bytes of the low bits of `count` values."""
        return self.shift // 8 * count + self.shift % 8 * -(-count // 8)


def write_run(values: Values, compressor: zstandard.ZstdCompressor) -> list[bytes]:
    """The bytes of a run of at least one value, in pieces: header, symbols, low bits, escapes."""
    shape = choose_shape(values)
    symbols = values >> shape.shift if shape.shift else values
    escapes = b""
    if int(symbols.max()) >= shape.escape:
        escapes = values[symbols >= shape.escape].tobytes()
        symbols = np.minimum(symbols, values.dtype.type(shape.escape))
    packed = compressor.compress(_pack(symbols.astype(np.uint8), shape).data)
    header = HEADER.pack(shape.shift, shape.packing, 0, len(packed), len(escapes) // values.itemsize)
    return [header, packed, *_low_bits(values, shape.shift), escapes]


def read_run(
    data: memoryview, count: int, kind: type[np.unsignedinteger[Any]], decompressor: zstandard.ZstdDecompressor
) -> tuple[Values, memoryview]:
    """The `count` values of a run of the given type, and the bytes after it; Damaged when it is not one."""
    if len(data) < HEADER.size:
        raise Damaged("a run ends in its header")
    shift, packing, zero, packed_bytes, escape_count = HEADER.unpack(data[: HEADER.size])
    itemsize = kind(0).itemsize
    if packing not in _PACKINGS or shift > itemsize * 8 - 1 or zero or escape_count > count:
        raise Damaged("the header of a run makes no sense")
    shape = Shape(shift, packing)
    low_bytes = shape.low_bytes(count)
    ends = np.cumsum([HEADER.size, packed_bytes, low_bytes, escape_count * itemsize]).tolist()
    if len(data) < ends[-1]:
        raise Damaged("a run is longer than its chunk")
    symbols = _unpack(decompress(data[ends[0] : ends[1]], shape.symbol_bytes(count), decompressor), count, shape)
    escaped = (symbols == shape.escape).nonzero()[0]
    values = symbols.astype(kind)
    if shift:
        values <<= kind(shift)
        _add_low_bits(values, data[ends[1] : ends[2]], shift)
    if len(escaped) != escape_count:
        raise Damaged("a run has another number of escapes than it says")
    if escape_count:
        values[escaped] = np.frombuffer(data[ends[2] : ends[3]], kind)
    return values, data[ends[3] :]


def choose_shape(values: Values) -> Shape:
    """Shift and packing that suit the spread of `values`, judged by an evenly spaced sample.

    The shift is the smallest at which all but one in a thousand fit a byte, and at most one that leaves
    the median three bits: a code for symbols as coarse as that comes within 0.01 bit of the finer one.
    """
    sample = np.sort(values[:: max(1, len(values) // _SAMPLE)])
    median, largest = int(sample[len(sample) // 2]), int(sample[len(sample) - 1 - len(sample) // 1000])
    shift = min(max(0, largest.bit_length() - 8), max(0, median.bit_length() - 3))
    if shift or median > 4:
        return Shape(shift, 1)
    frequencies = np.bincount(np.minimum(sample, 255).astype(np.uint8)) / len(sample)
    bits = -float((frequencies * np.log2(np.where(frequencies > 0, frequencies, 1.0))).sum())
    escape_bits = values.itemsize * 8

    def cost(packing: int) -> float:
        escaped = float(frequencies[Shape(0, packing).escape :].sum())
        return max(bits, 1 / packing) * (1 + 0.02 / packing) + escaped * escape_bits

    return Shape(0, min(_PACKINGS, key=cost))


def _pack(symbols: npt.NDArray[np.uint8], shape: Shape) -> npt.NDArray[np.uint8]:
    """Symbols `[n]` as bytes `[ceil(n / packing)]`, the first one in the lowest bits, filled up with zeros."""
    if shape.packing == 1:
        return symbols
    if len(symbols) % shape.packing:
        symbols = np.concatenate([symbols, np.zeros(-len(symbols) % shape.packing, np.uint8)])
    packed = symbols[0 :: shape.packing].copy()
    for place in range(1, shape.packing):
        packed |= symbols[place :: shape.packing] << (place * shape.symbol_bits)
    return packed


def _unpack(packed: npt.NDArray[np.uint8], count: int, shape: Shape) -> npt.NDArray[np.uint8]:
    if shape.packing == 1:
        return packed
    symbols = np.empty(len(packed) * shape.packing, np.uint8)
    for place in range(shape.packing):
        symbols[place :: shape.packing] = (packed >> (place * shape.symbol_bits)) & shape.escape
    return symbols[:count]


def _low_bits(values: Values, shift: int) -> list[bytes]:
    """The lowest `shift` bits of every value: whole bytes first, lowest byte first, then one plane of bits each."""
    octets = values.view(np.uint8)
    planes = [octets[byte :: values.itemsize].tobytes() for byte in range(shift // 8)]
    rest = octets[shift // 8 :: values.itemsize]
    planes += [np.packbits(rest & np.uint8(1 << bit), bitorder="little").tobytes() for bit in range(shift % 8)]
    return planes


def _add_low_bits(values: Values, data: memoryview, shift: int) -> None:
    """Put the bits that `_low_bits` stored into `values`, whose own lowest `shift` bits are zero."""
    count, octets = len(values), values.view(np.uint8)
    for byte in range(shift // 8):
        octets[byte :: values.itemsize] = np.frombuffer(data[byte * count : (byte + 1) * count], np.uint8)
    rest = octets[shift // 8 :: values.itemsize]
    planes = np.frombuffer(data[shift // 8 * count :], np.uint8)
    for bit, plane in enumerate(np.split(planes, shift % 8) if shift % 8 else ()):
        rest |= np.unpackbits(plane, count=count, bitorder="little") << bit


def decompress(packed: memoryview, expected: int, decompressor: zstandard.ZstdDecompressor) -> npt.NDArray[np.uint8]:
    """The bytes of a zstd frame; Damaged when they are not `expected` many (a frame may claim anything)."""
    try:
        if zstandard.frame_content_size(packed) != expected:
            raise Damaged("compressed symbols are of another length than their run")
        symbols = np.frombuffer(decompressor.decompress(packed, max_output_size=expected), np.uint8)
    except zstandard.ZstdError as error:
        raise Damaged(f"compressed symbols cannot be read: {error}") from error
    if len(symbols) != expected:
        raise Damaged("compressed symbols are of another length than their run")
    return symbols
