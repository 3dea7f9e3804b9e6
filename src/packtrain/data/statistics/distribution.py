"""Exact distributions of whole numbers in memory that does not grow with their count."""

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

PERCENTILES = (5, 25, 50, 75, 90, 95, 99)
LONGEST = 100


@dataclass
class Distribution:
    """How often each value occurred."""

    counts: Counter[int] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """How many values were added."""
        return self.counts.total()

    @property
    def total(self) -> int:
        """Their sum."""
        return sum(value * times for value, times in self.counts.items())

    @property
    def mean(self) -> float | None:
        """Their mean; None without values."""
        return self.total / self.count if self.counts else None

    def more_than(self, limit: int) -> int:
        """How many values are greater than `limit`."""
        return sum(times for value, times in self.counts.items() if value > limit)

    def percentiles(self) -> dict[str, int]:
        """Percentile -> value, `min` and `max` beside them; {} without values.

        A percentile is the smallest value that at least so many of a hundred do not exceed: one that occurred.
        """
        if not self.counts:
            return {}
        ordered = sorted(self.counts.items())
        count, found, passed = self.count, {"min": ordered[0][0]}, 0
        wanted = list(PERCENTILES)
        for value, times in ordered:
            passed += times
            while wanted and passed * 100 >= wanted[0] * count:
                found[str(wanted.pop(0))] = value
        return {**found, "max": ordered[-1][0]}

    def figures(self) -> dict[str, Any]:
        """Count, mean and percentiles, for JSON."""
        return {"count": self.count, "mean": self.mean, "percentiles": self.percentiles()}


@dataclass
class Longest:
    """The LONGEST longest of all that was added; of equal ones the earliest."""

    _heap: list[tuple[int, int, str, str]] = field(default_factory=list)
    _added: int = 0

    def add(self, length: int, dataset: str, identity: str) -> None:
        """Take it in, and the shortest out when there are too many."""
        entry = (length, -self._added, dataset, identity)
        self._added += 1
        if len(self._heap) < LONGEST:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def figures(self) -> list[dict[str, Any]]:
        """Identity and length of each, longest first."""
        ordered = sorted(self._heap, reverse=True)
        return [{"dataset": dataset, "id": identity, "length": length} for length, _, dataset, identity in ordered]
