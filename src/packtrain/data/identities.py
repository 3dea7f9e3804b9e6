"""Which ids were met already, in a few bytes each: a set may have millions of records."""

import hashlib
import re
from array import array

_NUMBERED = re.compile(r"(.*?)(0|[1-9][0-9]{0,17})", re.DOTALL)
_FIRST_SLOTS = 1 << 10
_MOST_PREFIXES = 1 << 10


class Identities:
    """The ids met so far.

    Ids that count upwards behind one prefix (`alpaca_0`, `alpaca_1` ...), or behind one of the first thousand, cost
    nothing; any other costs 16 to 32 bytes, held as a 64-bit hash: among a million ids two different ones are
    taken for the same with a probability of 3e-8.
    """

    def __init__(self) -> None:
        self._next: dict[str, int] = {}
        self._slots = array("Q", bytes(8 * _FIRST_SLOTS))
        self._used = 0

    def add(self, identity: str) -> bool:
        """Whether `identity` is new; it is known from now on."""
        match = _NUMBERED.fullmatch(identity)
        if match is not None:
            prefix, number = match[1], int(match[2])
            counted = prefix in self._next or len(self._next) < _MOST_PREFIXES
            if counted and number == self._next.get(prefix, 0):
                if self._used and self._knows(_hash(identity)):
                    return False
                self._next[prefix] = number + 1
                return True
            if number < self._next.get(prefix, 0):
                return False
        value = _hash(identity)
        if self._knows(value):
            return False
        if 2 * self._used >= len(self._slots):
            self._grow()
        self._slots[self._place(value)] = value
        self._used += 1
        return True

    def _knows(self, value: int) -> bool:
        return self._slots[self._place(value)] == value

    def _place(self, value: int) -> int:
        """The slot that holds `value`, or the free one where it belongs."""
        mask = len(self._slots) - 1
        place = value & mask
        while self._slots[place] not in (0, value):
            place = (place + 1) & mask
        return place

    def _grow(self) -> None:
        before = self._slots
        self._slots = array("Q", bytes(16 * len(before)))
        for value in before:
            if value:
                self._slots[self._place(value)] = value


def _hash(identity: str) -> int:
    digest = hashlib.blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1
