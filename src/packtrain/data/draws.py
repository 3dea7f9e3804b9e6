"""Which conversations are taken: by a hash of seed, data set and id, never by their order."""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Chosen = npt.NDArray[np.bool_]
"""One flag per row."""
_LIKE_A_COPY = re.compile(r"#+(?=[0-9]+\Z)")


def draw_key(seed: int, purpose: str, dataset: str, identity: str) -> int:
    """The 64-bit number by which a record is drawn; `purpose` keeps one draw independent of another."""
    digest = hashlib.sha256(f"{purpose}{seed}:{dataset}:{identity}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def smallest(keys: Sequence[int] | array[int], count: int) -> Chosen:
    """Marks the `count` smallest of `keys` (all of them when there are fewer); of equal ones the first."""
    chosen = np.zeros(len(keys), np.bool_)
    if count >= len(keys):
        chosen[:] = True
    elif count > 0:
        chosen[np.argsort(np.asarray(keys, np.uint64), kind="stable")[:count]] = True
    return chosen


@dataclass(slots=True)
class SourceRows:
    """The rows of one source in the spool, with the keys by which some of them are drawn."""

    name: str
    first: int
    """Its first row in the spool."""
    rows: int = 0
    wanted: int | None = None
    """At most so many; None for all."""
    fraction: float | None = None
    repeat: int = 1
    keys: array[int] | None = None
    """One per row; None when all rows are taken."""
    copy_mark: str = "#"
    """What stands between an id and the number of a copy of it; longer than what ids of the source end in."""

    def mark_apart(self, identity: str) -> None:
        """Have the ids of copies differ from `identity`, which may look like one."""
        found = _LIKE_A_COPY.search(identity)
        if found and len(found[0]) >= len(self.copy_mark):
            self.copy_mark = found[0] + "#"

    def taken(self) -> Chosen:
        """The rows that are drawn, by place within the source."""
        if self.keys is None:
            return np.ones(self.rows, np.bool_)
        limits = [self.rows]
        limits += [] if self.wanted is None else [self.wanted]
        limits += [] if self.fraction is None else [max(1, round(self.fraction * self.rows))]
        return smallest(self.keys, min(limits))
