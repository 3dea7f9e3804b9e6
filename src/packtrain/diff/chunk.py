"""One chunk of an exact diff: bytes that give the tuned elements back, to the bit, beside the base's.

The ways from base to tuned (ulp.py) are short where the base's exponent is large and long where it is
small, because an update hardly depends on the weight that it changes. So they are sorted by the base's
exponent, which the reader knows, into runs of one spread each (sorted_steps.py, run.py), and each run is
compressed with a code of its own. docs/formats.md has every byte.
"""

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from packtrain.diff.run import Damaged, decompress, read_run, write_run
from packtrain.diff.sorted_steps import sorted_steps
from packtrain.diff.ulp import Bits, FloatLayout

CHUNK_ELEMENTS = 1 << 20
"""Elements of a chunk; the last one of a tensor, and the last one of its new rows, may be shorter."""
RUN_ELEMENTS = 4096
"""A run ends with the first exponent at which it has so many elements."""

HEADER = struct.Struct("<IBBHI")
"""Bytes of the chunk after this header, method, item size of a literal, number of runs, fold."""
_LITERAL, _DIFFERENCE = 0, 1
MAX_BODY_BYTES = CHUNK_ELEMENTS * 16
"""No body is longer: eight bytes for an element, and as much again."""


class ChunkCodec:
    """Writes and reads chunks; one for each thread."""

    def __init__(self, level: int = 1) -> None:
        self._compressor = zstandard.ZstdCompressor(level=level)
        self._decompressor = zstandard.ZstdDecompressor()
        self._buffers: Bits = np.empty((4, 0), np.int16)

    def literal(self, elements: npt.NDArray[np.uint8], itemsize: int) -> list[bytes]:
        """A chunk, in pieces, that gives elements `[n * itemsize]` back without a base: byte planes, compressed."""
        planes = np.ascontiguousarray(elements.reshape(-1, itemsize).T)
        body = self._compressor.compress(planes.reshape(-1).data)
        return [HEADER.pack(len(body), _LITERAL, itemsize, 0, 0), body]

    def difference(self, tuned: Bits, base: Bits, layout: FloatLayout) -> list[bytes]:
        """A chunk, in pieces, that gives the patterns `tuned` back beside `base`, `[n]` each."""
        steps = sorted_steps(base, layout, self._arrays(layout)[1:])
        fold = _choose_fold(steps.counts, layout)
        values = steps.sort(tuned, fold)
        ends = run_ends(steps.counts)
        pieces = [b""]
        for begin, end in zip([0, *ends], ends, strict=False):
            pieces += write_run(values[begin:end], self._compressor)
        body_bytes = sum(map(len, pieces))
        if body_bytes > tuned.nbytes * 15 // 16:
            literal = self.literal(tuned.view(np.uint8), tuned.itemsize)
            if sum(map(len, literal)) < body_bytes:
                return literal
        pieces[0] = HEADER.pack(body_bytes, _DIFFERENCE, 0, len(ends), fold)
        return pieces

    def read(
        self, header: bytes, body: memoryview, count: int, base: Bits | None, layout: FloatLayout | None, itemsize: int
    ) -> npt.NDArray[Any]:
        """`count` elements: patterns if there is a layout, else bytes `[count * itemsize]`; Damaged if it is no chunk.

        `base` has the patterns of the base, `[count]`; None where there are none.
        """
        _, method, literal_itemsize, runs, fold = HEADER.unpack(header)
        if method == _LITERAL and literal_itemsize == itemsize and not runs and not fold:
            elements = self._read_literal(body, count, itemsize)
            return elements if layout is None else elements.view(layout.signed)
        if method != _DIFFERENCE or literal_itemsize or base is None or layout is None:
            raise Damaged("the header of a chunk makes no sense")
        return self._read_difference(body, base, runs, fold, layout)

    def _read_literal(self, body: memoryview, count: int, itemsize: int) -> npt.NDArray[np.uint8]:
        planes = decompress(body, count * itemsize, self._decompressor)
        return np.array(planes.reshape(itemsize, count).T, order="C").reshape(-1)  # a copy, which may be written to

    def _read_difference(self, body: memoryview, base: Bits, runs: int, fold: int, layout: FloatLayout) -> Bits:
        arrays = self._arrays(layout)
        steps = sorted_steps(base, layout, arrays[1:])
        ends = run_ends(steps.counts)
        if runs != len(ends) or fold > layout.magnitude_mask:
            raise Damaged("the header of a chunk does not fit the base")
        values = arrays[0].view(layout.unsigned)[: len(base)]
        for begin, end in zip([0, *ends], ends, strict=False):
            values[begin:end], body = read_run(body, end - begin, layout.unsigned, self._decompressor)
        if body:
            raise Damaged("a chunk is longer than its runs")
        return steps.unsort(values, fold)

    def _arrays(self, layout: FloatLayout) -> Bits:
        """Four arrays for a chunk, `[4, CHUNK_ELEMENTS]`, kept: fresh memory costs more than the arithmetic."""
        if self._buffers.dtype != layout.signed or not self._buffers.size:
            self._buffers = np.empty((4, CHUNK_ELEMENTS), layout.signed)
        return self._buffers


def run_ends(counts: npt.NDArray[np.int64]) -> list[int]:
    """Where each run ends, given how many elements have each exponent: what is left over joins the last run."""
    ends, begin, end = [], 0, 0
    for count in counts[counts > 0].tolist():
        end += count
        if end - begin >= RUN_ELEMENTS:
            ends.append(end)
            begin = end
    if begin < end:
        ends[-1:] = [end]
    return ends


def _choose_fold(counts: npt.NDArray[np.int64], layout: FloatLayout) -> int:
    """Magnitude below which lies one in 4096 of the base's elements at most, zeros and subnormals not counted."""
    below = counts[1:].cumsum()
    exponent = 1 + int((below <= below[-1] // 4096).sum())
    return min(exponent, layout.exponent_mask) << layout.mantissa_bits
