"""What a benchmark is: pure functions from items to requests and from answers to grades.

A benchmark is one file in `evaluate/benchmarks` that defines `benchmark`, an object with these
methods. It never sees a model, so it is tested without one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from packtrain.core.conversation import Message
from packtrain.core.folder import module, names, unknown
from packtrain.core.score import Score
from packtrain.models.base import Completion

BENCHMARKS = "packtrain.evaluate.benchmarks"


@dataclass(frozen=True, slots=True)
class Item:
    """One question of a benchmark."""

    id: str
    content: dict[str, Any]
    """Whatever the benchmark needs to ask and to grade it."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the model is asked for one item."""

    messages: tuple[Message, ...]
    answer_prefix: str = ""
    """First words of the answer, given to the model."""
    max_new_tokens: int = 512
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Grade:
    """The verdict on one item."""

    item: str
    value: float
    """0 to 1."""
    extracted: str
    """What was compared."""
    reason: str


class Benchmark(Protocol):
    """One file of `evaluate/benchmarks`."""

    columns: tuple[str, ...]
    """The columns of the score table that it fills."""
    version: int
    """Raised whenever the protocol changes, because scores of two versions must not be compared."""

    def items(self, folder: Path, column: str) -> list[Item]:
        """The items in a data folder; UserError naming the missing file and where to get it."""
        ...

    def request(self, item: Item, column: str) -> Request:
        """What to ask for an item."""
        ...

    def grade(self, item: Item, answers: Sequence[Completion], column: str) -> Grade:
        """The verdict on the model's answers to one item."""
        ...

    def total(self, grades: Sequence[Grade], column: str) -> Score:
        """The column's score."""
        ...


def column_names() -> dict[str, str]:
    """Column to the name of the benchmark that fills it, for all benchmarks there are."""
    found: dict[str, str] = {}
    for name in names(BENCHMARKS, ".py"):
        found |= dict.fromkeys(load_benchmark(name).columns, name)
    return found


def load_benchmark(name: str) -> Benchmark:
    """The benchmark in the file of that name."""
    benchmark: Benchmark = module(BENCHMARKS, name, "benchmark").benchmark
    return benchmark


def benchmark_of(column: str) -> Benchmark:
    """The benchmark that fills `column`; UserError listing the columns there are."""
    columns = column_names()
    if column not in columns:
        raise unknown("column", column, columns)
    return load_benchmark(columns[column])
