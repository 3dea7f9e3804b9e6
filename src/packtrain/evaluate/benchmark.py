"""What a benchmark is: pure functions from items to requests and from answers to grades.

A benchmark is one file in `evaluate/benchmarks` that defines `benchmark`, an object with these
methods. It never sees a model, so it is tested without one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from packtrain.core.conversation import Message
from packtrain.core.errors import UserError
from packtrain.core.folder import module, names, unknown
from packtrain.core.score import Score
from packtrain.evaluate.sandbox.program import Program
from packtrain.models.base import Options
from packtrain.prompts.tokenizer import Tokenizer

BENCHMARKS = "packtrain.evaluate.benchmarks"
Profile = Literal["paper-2023", "fixed"]
PROFILES: tuple[Profile, ...] = ("paper-2023", "fixed")
"""As the cards' figures were made, quirks included; the same benchmarks with the quirks mended."""
Outcome = Literal["read", "executed", "judged"]
"""What makes a verdict of an answer: reading it, running it as a program, or asking a judge."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How a column is asked: what all its items have in common."""

    column: str
    profile: Profile = "paper-2023"
    tokenizer: Tokenizer | None = None
    """The model's; None for an endpoint: what is measured in tokens is then left as it is."""
    chat: bool = True
    """Whether the question is put in the model's prompt format; False for a base model, which sees the bare text."""
    full: bool = False
    """Every item there is, not the protocol's own draw."""
    format_tokens: int = 0
    """Tokens that the prompt format puts around a question."""
    endpoint: bool = False
    """Whether the bare text is the message of a user to a model that answers as an assistant does."""


@dataclass(frozen=True, slots=True)
class Item:
    """One question of a benchmark."""

    id: str
    content: Mapping[str, Any]
    """Whatever the benchmark needs to ask and to grade it."""
    group: str = ""
    """Subject, task or language, where the column's total is made of such groups."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the model is asked for one item."""

    messages: tuple[Message, ...] = ()
    """Shown in the model's prompt format, up to where the assistant begins to speak. Empty: no format at all."""
    text: str = ""
    """What the model sees behind that: the first words of its answer; without messages the whole prompt."""
    options: Options | None = None
    """What one is to be chosen of; None: an answer is generated."""
    max_new_tokens: int = 512
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    samples: int = 1
    """Answers that are drawn, each with a seed of its own."""
    first_token: bool = True
    """Whether the prompt begins with begin-of-sequence, as in training."""
    notes: tuple[str, ...] = ()
    """What had to be done to ask it, counted in the report: `2 shots dropped`, `passage cut`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the model, with what came of it."""

    text: str
    """Of a choice, its text as in the options."""
    finish_reason: str = "stop"
    """stop | length | too long: the prompt did not fit, and the answer is empty."""
    verdict: str = ""
    """Of an executed answer: passed, assertion, exception, syntax, timeout or memory."""
    preference: float | None = None
    """Of a judged answer: 1 where it is the better one, 0 where the reference is, 0.5 for a tie, None if not read."""


@dataclass(frozen=True, slots=True)
class Grade:
    """The verdict on one item."""

    item: str
    value: float | None
    """0 to 1; None: the item does not count."""
    extracted: str
    """What was compared."""
    reason: str
    group: str = ""
    more: Mapping[str, float] = field(default_factory=dict)
    """Other figures of the item, 0 to 1: `exact_match` beside an F1."""


class Benchmark(Protocol):
    """One file of `evaluate/benchmarks`."""

    columns: tuple[str, ...]
    """The columns of the score table that it fills."""
    version: int
    """Raised whenever the protocol changes, because scores of two versions must not be compared."""
    outcome: Outcome

    def items(self, folder: Path, setting: Setting) -> list[Item]:
        """The items in a data folder; UserError naming the missing file and where to get it."""
        ...

    def request(self, item: Item, setting: Setting) -> Request:
        """What to ask for an item."""
        ...

    def grade(self, item: Item, answers: Sequence[Answer], setting: Setting) -> Grade:
        """The verdict on the model's answers to one item."""
        ...

    def total(self, grades: Sequence[Grade], setting: Setting) -> Score:
        """The column's score."""
        ...


class Executed(Benchmark, Protocol):
    """A benchmark whose answers are run as programs (`outcome` is `executed`)."""

    def program(self, item: Item, answer: str, sample: int = 0) -> Program:
        """The answer as a program, and apart from it the test that it passes if, and only if, the answer is right."""
        ...


class Judged(Benchmark, Protocol):
    """A benchmark whose answers are compared with a reference's by a judge (`outcome` is `judged`)."""

    def pair(self, item: Item, answer: str) -> Mapping[str, str]:
        """The fields `instruction`, `input`, `reference` and `answer` of a comparison."""
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


def column_of(name: str) -> str:
    """The one column that a name on a command line means; UserError when it means several, and as of `columns_of`."""
    columns = columns_of([name])
    if len(columns) > 1:
        raise UserError(f"{name} means {len(columns)} columns: {', '.join(columns)}", f"name one, such as {columns[0]}")
    return columns[0]


def columns_of(names_given: Sequence[str]) -> list[str]:
    """Columns from names on a command line: a bare `mmlu` is both of its pair; UserError listing all for another."""
    columns = column_names()
    chosen: list[str] = []
    for name in names_given:
        found = [column for column in columns if column == name or column.partition(":")[0] == name]
        if not found:
            raise unknown("column", name, columns)
        chosen += [column for column in found if column not in chosen]
    return chosen
