"""A model's figures beside those of other models: differences, and which of them are more than chance.

All stand under one profile. The Average is the cards' mean of six group means; with columns missing it is the mean of
the groups that are whole, in every model alike, and bears their names. A column of which a part of the items was asked
is in no Average.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path

from packtrain.core.errors import UserError
from packtrain.core.published import PROFILE, published_row
from packtrain.core.score import COLUMNS, GROUPS, Score, average, one_profile, read_scores

BEYOND = 2.0
"""Standard errors from which a difference is marked."""
AVERAGE = "Average"


@dataclass(frozen=True, slots=True)
class Result:
    """The figures of one model, in percent."""

    name: str
    profile: str
    values: Mapping[str, float]
    standard_errors: Mapping[str, float] = field(default_factory=dict)
    """Percent points; empty for published figures, which come without."""
    items: Mapping[str, int] = field(default_factory=dict)
    """Graded, where it is known."""
    partial: Set[str] = frozenset()
    """Columns of which a part of the items was asked."""

    def has(self, group: str) -> bool:
        """Whether all columns of a group of the Average are there, and whole."""
        return all(column in self.values and column not in self.partial for column in GROUPS[group])


@dataclass(frozen=True, slots=True)
class Beside:
    """Another model's figure beside ours."""

    value: float
    difference: float
    """Ours less theirs, in percent points."""
    beyond: bool
    """Whether it is more than two standard errors: of both where both are known, else of ours."""
    partial: bool = False
    """Whether theirs is of a part of the items."""


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the table: one column of the benchmarks, or the Average."""

    name: str
    value: float
    standard_error: float
    n: int | None
    """None for the Average."""
    groups: tuple[str, ...] = ()
    """Of a partial Average: the groups that it is made of."""
    beside: Mapping[str, Beside] = field(default_factory=dict)
    """Name of another model to its figure, where it has one."""
    partial: bool = False
    """Whether a part of the column's items was asked."""


def measured(name: str, scores: Sequence[Score]) -> Result:
    """The figures of a model that was measured; UserError as `one_profile` has it."""
    return Result(
        name,
        one_profile(scores) or PROFILE,
        {score.column: score.value for score in scores},
        {score.column: score.standard_error for score in scores},
        {score.column: score.n for score in scores},
        {score.column for score in scores if score.partial},
    )


def read_model(path: Path) -> tuple[str, list[Score]]:
    """Name and scores of the model in a `scores.json`, or in that of a folder; UserError when there are none."""
    file = path / "scores.json" if path.is_dir() else path
    scores = read_scores(file)
    return str(json.loads(file.read_text(encoding="utf-8")).get("model") or path), scores


def compared(names: Sequence[str], ours: str | None = None) -> list[Result]:
    """The models of a comparison by name: published rows, and files or folders of other evaluations.

    Evaluations whose models have one name, or that of `ours`, go by their paths. UserError listing the published rows
    for a name that is neither, and for a name given twice.
    """
    results = []
    for name in names:
        if name.endswith(".json") or Path(name).is_dir():
            results.append(measured(*read_model(Path(name))))
        else:
            row = published_row(name)
            results.append(Result(name, PROFILE, row.columns))
    counts = Counter([ours, *(result.name for result in results)])
    results = [
        replace(result, name=name) if counts[result.name] > 1 else result
        for name, result in zip(names, results, strict=True)
    ]
    labels = [result.name for result in results]
    if len(set(labels)) < len(labels):
        raise UserError(f"several models of a comparison have one name: {', '.join(labels)}", "name each once")
    return results


def check_profile(others: Sequence[Result], profile: str) -> None:
    """Raise UserError when one of the models cannot stand beside figures of that profile."""
    for other in others:
        if other.profile != profile:
            raise UserError(
                f"{other.name} was measured under the profile {other.profile}, this model under {profile}",
                "a table shows one profile: compare with another model, or measure again",
            )


def lines(scores: Sequence[Score], others: Sequence[Result] = ()) -> list[Line]:
    """The rows of the table: columns in the cards' order, any others, then the Average of the groups that are whole.

    UserError when `scores` and `others` are not all of one profile.
    """
    ours = measured("", scores)
    if scores:
        check_profile(others, ours.profile)
    by_column = {score.column: score for score in scores}
    order = [column for column in COLUMNS if column in by_column]
    order += [column for column in by_column if column not in COLUMNS]
    rows = []
    for column in order:
        score = by_column[column]
        beside = {other.name: _beside(ours, other, column) for other in others if column in other.values}
        rows.append(Line(column, score.value, score.standard_error, score.n, (), beside, score.partial))
    return [*rows, *_average_line(ours, others)]


def _beside(ours: Result, other: Result, column: str) -> Beside:
    difference = ours.values[column] - other.values[column]
    error = math.hypot(_doubt(ours, column), _doubt(other, column))
    return Beside(other.values[column], difference, abs(difference) > BEYOND * error, column in other.partial)


def _doubt(result: Result, column: str) -> float:
    """What differences are held against: the standard error, and one item's worth at least.

    When all grades are equal, the standard error comes out as 0. 0 for published figures, which come without.
    """
    error, n = result.standard_errors.get(column, 0.0), result.items.get(column)
    return error if n is None else max(error, 100 / n if n else 100.0)


def _average_line(ours: Result, others: Sequence[Result]) -> list[Line]:
    """The Average as a row; none when no group is whole."""
    groups = tuple(group for group in GROUPS if ours.has(group))
    if not groups:
        return []
    whole = len(groups) == len(GROUPS)
    own = _with_average(ours, groups)
    beside = {}
    for other in others:
        if all(other.has(group) for group in groups):
            beside[other.name] = _beside(own, _with_average(other, groups), AVERAGE)
    shown = () if whole else groups
    return [Line(AVERAGE, own.values[AVERAGE], _average_error(ours.standard_errors, groups), None, shown, beside)]


def _with_average(result: Result, groups: Sequence[str]) -> Result:
    """A result whose one figure is the mean of the groups' means, its error what differences are held against."""
    mean = average(dict(result.values)) if len(groups) == len(GROUPS) else None
    if mean is None:
        mean = sum(_group_mean(result.values, group) for group in groups) / len(groups)
    if not result.standard_errors:
        return Result(result.name, result.profile, {AVERAGE: mean})
    doubts = {column: _doubt(result, column) for group in groups for column in GROUPS[group]}
    return Result(result.name, result.profile, {AVERAGE: mean}, {AVERAGE: _average_error(doubts, groups)})


def _average_error(errors: Mapping[str, float], groups: Sequence[str]) -> float:
    """The error of the mean of the groups' means.

    The columns of a group are asked on the same items, so their errors are taken as going together; groups as
    independent of one another.
    """
    return math.hypot(*(_group_mean(errors, group) for group in groups)) / len(groups)


def _group_mean(figures: Mapping[str, float], group: str) -> float:
    columns = GROUPS[group]
    return sum(figures[column] for column in columns) / len(columns)
