"""Why two evaluations differ: item by item, the first cause that explains it."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

import zstandard

from packtrain.core.conversation import read_json_lines
from packtrain.core.errors import UserError
from packtrain.core.score import read_scores
from packtrain.evaluate.benchmark import Grade
from packtrain.evaluate.earlier import ANSWERS, QUESTIONS, SCORES, asked_in
from packtrain.evaluate.run import GRADES

Cause = Literal["only in A", "only in B", "prompt", "decoding", "answer", "grading"]
AROUND = 60
"""Characters shown on each side of the first difference of two texts."""
Key = tuple[str, str]
"""Column and item."""


@dataclass(frozen=True, slots=True)
class Example:
    """One item that differs."""

    column: str
    item: str
    cause: Cause
    what: str
    """The fields that differ, or the place in the text."""
    a: str
    b: str
    change: float
    """Grade of B minus grade of A; 0 where one of them does not count."""


@dataclass(frozen=True, slots=True)
class ColumnDifference:
    """One column of two evaluations."""

    column: str
    a: float | None
    """Percent."""
    b: float | None
    items: int
    """In both."""
    causes: Mapping[Cause, int]
    """Items by the first cause found, in the order in which a cause is looked for."""
    gained: Mapping[Cause, float]
    """By cause: the sum of the changes of grades, 1 for an item that became right."""
    fields: Mapping[str, int] = field(default_factory=dict)
    """What of the decoding differs (`stop`, `max_new_tokens` ...), with the number of items."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Two evaluations compared."""

    columns: tuple[ColumnDifference, ...]
    examples: tuple[Example, ...]
    settings: Mapping[str, tuple[Any, Any]]
    """What the manifests say that differs: name to both values."""


@dataclass(frozen=True, slots=True)
class _Evaluation:
    questions: dict[Key, dict[str, Any]]
    answers: dict[Key, list[str]]
    grades: dict[Key, Grade]
    scores: dict[str, float]
    settings: dict[str, Any]


def compare(a: Path, b: Path, examples: int = 3) -> Difference:
    """What differs between the evaluations in folders `a` and `b`, with so many examples for each column and cause.

    UserError when a folder holds no evaluation.
    """
    one, other = _read(a), _read(b)
    shown: list[Example] = []
    columns = []
    for column in list(dict.fromkeys([*one.scores, *other.scores])):
        found = list(_differing(column, one, other))
        seen: Counter[str] = Counter()
        for example in found:
            seen[example.cause] += 1
            if seen[example.cause] <= examples:
                shown.append(example)
        causes = dict(Counter(example.cause for example in found))
        gained = {cause: sum((one.change for one in found if one.cause == cause), 0.0) for cause in causes}
        both = sum(key[0] == column and key in other.questions for key in one.questions)
        fields = Counter(name for one in found if one.cause == "decoding" for name in one.what.split(", "))
        columns.append(
            ColumnDifference(
                column, one.scores.get(column), other.scores.get(column), both, causes, gained, dict(fields)
            )
        )
    settings = {
        name: (one.settings.get(name), other.settings.get(name))
        for name in {**one.settings, **other.settings}
        if one.settings.get(name) != other.settings.get(name)
    }
    return Difference(tuple(columns), tuple(shown), settings)


def _differing(column: str, one: _Evaluation, other: _Evaluation) -> Iterator[Example]:
    keys = [key for key in dict.fromkeys([*one.questions, *other.questions]) if key[0] == column]
    for key in keys:
        if key not in other.questions or key not in one.questions:
            here: Cause = "only in A" if key in one.questions else "only in B"
            yield Example(column, key[1], here, "", "", "", 0.0)
            continue
        found = _first_cause(key, one, other)
        if found is not None:
            yield Example(column, key[1], *found, _change(one.grades[key], other.grades[key]))


def _first_cause(key: Key, one: _Evaluation, other: _Evaluation) -> tuple[Cause, str, str, str] | None:
    mine, theirs = one.questions[key], other.questions[key]
    if mine["prompt"] != theirs["prompt"]:
        return "prompt", *_where(mine["prompt"], theirs["prompt"])
    names = [name for name in mine if mine[name] != theirs.get(name)]
    if names:
        a, b = (json.dumps({name: of.get(name) for name in names}, ensure_ascii=False) for of in (mine, theirs))
        return "decoding", ", ".join(names), a, b
    if one.answers[key] != other.answers[key]:
        pairs = zip(one.answers[key], other.answers[key], strict=False)
        texts = next(((mine, theirs) for mine, theirs in pairs if mine != theirs), ("", ""))
        return "answer", *_where(*texts)
    grades = one.grades[key], other.grades[key]
    read, read_otherwise = ((grade.value, grade.extracted, grade.more) for grade in grades)
    if read != read_otherwise:
        a, b = (f"{grade.extracted!r}: {grade.reason}" for grade in grades)
        return "grading", "", a, b
    return None


def _where(a: str, b: str) -> tuple[str, str, str]:
    """Where two texts begin to differ, and both around that place."""
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
    begin = max(0, same - AROUND)
    return f"character {same}", repr(a[begin : same + AROUND]), repr(b[begin : same + AROUND])


def _change(one: Grade, other: Grade) -> float:
    """The second grade less the first; 0 where one of them does not count."""
    return 0.0 if one.value is None or other.value is None else other.value - one.value


def _read(folder: Path) -> _Evaluation:
    missing = [name for name in (QUESTIONS, ANSWERS, GRADES, SCORES) if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"{folder} is not a finished evaluation: {missing[0]} is missing", "make it with: packtrain evaluate"
        )
    again = "make it again with: packtrain evaluate --overwrite"
    try:
        questions = {_key(record): record for record in asked_in(folder)}
        answers: dict[Key, list[str]] = {}
        for _, record in read_json_lines(folder / ANSWERS):
            answers.setdefault(_key(record), []).append(_text(record, "text"))
        grades = {_key(record): _grade(record) for _, record in read_json_lines(folder / GRADES)}
        for record in questions.values():
            _text(record, "prompt")
    except (ValueError, KeyError, TypeError, AttributeError, zstandard.ZstdError) as error:
        raise UserError(f"{folder} is damaged ({type(error).__name__}: {error})", again) from error
    if not questions.keys() == answers.keys() == grades.keys():
        counts = f"{len(questions)} asked, {len(answers)} answered, {len(grades)} graded"
        raise UserError(f"{folder} is damaged: its files are not of the same items ({counts})", again)
    scores = {score.column: score.value for score in read_scores(folder / SCORES)}
    return _Evaluation(questions, answers, grades, scores, _settings(folder))


def _key(record: dict[str, Any]) -> Key:
    """Column and item of a line."""
    return _text(record, "column"), _text(record, "item")


def _text(record: dict[str, Any], name: str) -> str:
    value = record[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is no text: {value!r}")
    return value


def _grade(record: dict[str, Any]) -> Grade:
    """The grade in a line."""
    grade = Grade(**{name: value for name, value in record.items() if name != "column"})
    if not isinstance(grade.value, int | float | None):
        raise TypeError(f"value is no number: {grade.value!r}")
    return grade


def _settings(folder: Path) -> dict[str, Any]:
    from packtrain.core.manifest import read_manifest

    manifest = read_manifest(folder)
    if manifest is None:
        return {}
    versions = {f"version of {name}": version for name, version in manifest.versions.items()}
    return {**manifest.settings, **versions}


def summary(columns: Sequence[ColumnDifference]) -> str:
    """One line: how many columns differ."""
    differing = [one.column for one in columns if one.causes]
    return f"{len(differing)} of {len(columns)} columns differ" + (f": {', '.join(differing)}" if differing else "")
