"""A table from 32-bit keys to the numbers of the records that have them, in few bytes per record."""

from array import array

import numpy as np
from numpy.typing import NDArray

_MEAN_CHAIN = 4
_MOST_OF_A_KEY = 32


class KeyTable:
    """Key -> records, numbered from 0 in the order in which they were added.

    A hash table with chains in flat arrays: 8 bytes per record, and 1 to 2 for the heads of the chains.
    A key that many records share (they follow one template) leaves the chains for an array of its own,
    which is read at once.
    """

    def __init__(self) -> None:
        self._keys = array("I")
        self._next = array("I")  # the record before in the same chain, plus 1; 0 ends it
        self._heads = array("I", bytes(4 * 1024))
        self._shared: dict[int, array[int]] = {}

    def with_key(self, key: int) -> "array[int]":
        """The records with this key, each once, in no certain order."""
        if key in self._shared:
            return self._shared[key]
        found = array("I")
        place = self._heads[key & (len(self._heads) - 1)]
        while place:
            if self._keys[place - 1] == key:
                found.append(place - 1)
            place = self._next[place - 1]
        if len(found) >= _MOST_OF_A_KEY:
            self._shared[key] = found
        return found

    def add(self, key: int) -> None:
        """Add the next record."""
        if len(self._keys) == _MEAN_CHAIN * len(self._heads):
            self._grow()
        self._keys.append(key)
        if key in self._shared:
            self._shared[key].append(len(self._keys) - 1)
            self._next.append(0)
            return
        slot = key & (len(self._heads) - 1)
        self._next.append(self._heads[slot])
        self._heads[slot] = len(self._keys)

    def _grow(self) -> None:
        """Chain all records anew from twice as many heads, but for those of shared keys."""
        keys = np.frombuffer(self._keys, np.uint32)
        heads = np.zeros(2 * len(self._heads), np.uint32)
        links = np.zeros(len(keys), np.uint32)
        shared = np.fromiter(self._shared, np.uint32, len(self._shared))
        records = np.flatnonzero(~np.isin(keys, shared)).astype(np.uint32)
        slots = keys[records] & np.uint32(len(heads) - 1)
        order = np.argsort(slots, kind="stable")
        slots, records = slots[order], records[order]
        follows = np.flatnonzero(slots[1:] == slots[:-1])
        links[records[follows + 1]] = records[follows] + np.uint32(1)
        heads[slots] = records + np.uint32(1)  # of equal slots the last stays
        self._heads, self._next = _array(heads), _array(links)


def _array(numbers: NDArray[np.uint32]) -> "array[int]":
    return array("I", numbers.tobytes())
