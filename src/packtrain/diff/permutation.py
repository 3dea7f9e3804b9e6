"""Sorting elements by the exponent of the base, and back: a permutation that the reader computes for himself."""

import numpy as np
import numpy.typing as npt

from packtrain.diff.ulp import Bits

_BLOCK = 1 << 16
"""Elements that are sorted at a time: keys, order and values of a block stay in the processor's cache."""


class ExponentOrder:
    """The stable order of elements by a key of one byte, from the smallest key to the largest.

    Sorted block by block, which gives the same order as sorting all at once and is two to three times as fast.
    """

    def __init__(self, keys: npt.NDArray[np.uint8]) -> None:
        self._keys = keys
        counts = []
        for start in range(0, len(keys), _BLOCK):
            block = keys[start : start + _BLOCK]
            counts.append(np.bincount(block, minlength=256))
        table = np.array(counts, dtype=np.int64).reshape(-1, 256)
        self.counts: npt.NDArray[np.int64] = table.sum(axis=0)
        """How many elements have each key, `[256]`."""
        self._moves = _moves(table)

    def sort(self, values: Bits, out: Bits) -> Bits:
        """`values` in the order of the keys, in `out`, `[n]`."""
        for number, moves in enumerate(self._moves):
            part = slice(number * _BLOCK, (number + 1) * _BLOCK)
            block = values[part].take(self._keys[part].argsort(kind="stable"))
            for begin, end, there in moves:
                out[there : there + end - begin] = block[begin:end]
        return out

    def unsort(self, values: Bits, out: Bits) -> Bits:
        """The inverse of `sort`."""
        buffer = np.empty(min(_BLOCK, len(values)), values.dtype)
        for number, moves in enumerate(self._moves):
            part = slice(number * _BLOCK, (number + 1) * _BLOCK)
            order = self._keys[part].argsort(kind="stable")
            block = buffer[: len(order)]
            for begin, end, there in moves:
                block[begin:end] = values[there : there + end - begin]
            out[part][order] = block
        return out


def _moves(counts: npt.NDArray[np.int64]) -> list[list[tuple[int, int, int]]]:
    """For each block, from where to where in it each key's elements stand, and their place in the whole.

    `counts` `[blocks, 256]` is how many elements of each block have each key.
    """
    ends = counts.cumsum(axis=1)
    before = counts.cumsum(axis=0) - counts + (counts.sum(axis=0).cumsum() - counts.sum(axis=0))
    return [
        [(int(ends[b, k] - counts[b, k]), int(ends[b, k]), int(before[b, k])) for k in counts[b].nonzero()[0]]
        for b in range(len(counts))
    ]
