"""Scores: one figure with all that is needed to compare it, and the table of the eleven columns."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from packtrain.core.atomic import atomic_file
from packtrain.core.errors import UserError

GROUPS: dict[str, tuple[str, ...]] = {
    "MMLU": ("mmlu:0shot", "mmlu:5shot"),
    "GSM": ("gsm:direct", "gsm:cot"),
    "BBH": ("bbh:direct", "bbh:cot"),
    "TydiQA": ("tydiqa:gold", "tydiqa:closed"),
    "Codex-Eval": ("codex:pass@1", "codex:pass@10"),
    "AlpacaFarm": ("alpacafarm",),
}
"""The eleven columns of the cards' table, in the six groups whose means the Average averages."""

COLUMNS: tuple[str, ...] = tuple(column for columns in GROUPS.values() for column in columns)


@dataclass(frozen=True, slots=True)
class Score:
    """One measured column, in percent."""

    column: str
    value: float
    """Percent, 0 to 100."""
    n: int
    """Items that were graded."""
    standard_error: float
    """Of `value`, in percent points."""
    profile: str = "paper-2023"
    version: int = 1
    """Of the benchmark's own protocol."""
    details: Mapping[str, float] = field(default_factory=dict)
    """Other figures in percent, by name: groups (`subject/anatomy`), other metrics (`exact_match`)."""
    notes: Sequence[str] = ()
    """What a reader has to know to compare it: `40 of 900 passages cut`, `judge: NAME`, `7 verdicts not read`."""
    prompts: str = ""
    """Digest of all prompts, decoding included: equal for equal questions."""
    whole_n: int | None = None
    """Items of the whole column where fewer were asked: the figure is a trial then. None: all were asked."""

    @property
    def partial(self) -> bool:
        """Whether a part of the items was asked, as with `--limit`."""
        return self.whole_n is not None


def average(values: dict[str, float]) -> float | None:
    """The Average of the cards (arXiv 2306.04751): mean of the six groups' means; None if a column is missing."""
    if any(column not in values for column in COLUMNS):
        return None
    group_means = [sum(values[column] for column in columns) / len(columns) for columns in GROUPS.values()]
    return sum(group_means) / len(group_means)


def whole_scores(scores: Iterable[Score]) -> list[Score]:
    """Those of whole columns, which alone are results of a benchmark."""
    return [score for score in scores if not score.partial]


def average_of(scores: Iterable[Score]) -> float | None:
    """The Average of whole columns; a part of the items makes none."""
    return average({score.column: score.value for score in whole_scores(scores)})


def notes_by_column(scores: Sequence[Score]) -> list[tuple[str | None, Sequence[str]]]:
    """Each column that has notes, with them; before them those that all of several scores have, under None."""
    shared = [note for note in scores[0].notes if all(note in score.notes for score in scores)] if scores[1:] else []
    own = [(score.column, [note for note in score.notes if note not in shared]) for score in scores]
    return [(column, notes) for column, notes in [(None, shared), *own] if notes]


def one_profile(scores: Sequence[Score]) -> str | None:
    """The profile that all scores have, None without scores; UserError for several profiles or a column twice.

    Figures of two profiles must never stand in one table.
    """
    profiles = sorted({score.profile for score in scores})
    columns = [score.column for score in scores]
    if len(profiles) > 1:
        raise UserError(
            f"scores of several profiles: {', '.join(profiles)}", "a table shows one profile: measure again"
        )
    if len(set(columns)) < len(columns):
        raise UserError("scores hold a column twice", "give each column once")
    return profiles[0] if profiles else None


def write_scores(path: Path, model: str, scores: Iterable[Score]) -> None:
    """Write `scores.json` atomically: `{"model": ..., "scores": [...], "average": number or null}`.

    `whole_n` stands in it for partial scores alone, which are in no average.
    """
    scores = list(scores)
    content = {
        "model": model,
        "scores": [_record(score) for score in scores],
        "average": average_of(scores),
    }
    with atomic_file(path) as file:
        json.dump(content, file, indent=2)
        file.write("\n")


def _record(score: Score) -> dict[str, Any]:
    return {name: value for name, value in asdict(score).items() if name != "whole_n" or value is not None}


def read_scores(path: Path) -> list[Score]:
    """The scores in a `scores.json`; UserError when the file is not one."""
    try:
        records = json.loads(path.read_text(encoding="utf-8"))["scores"]
        return [_score(record) for record in records]
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", "make it with: packtrain evaluate") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not a scores.json ({error})", "make it with: packtrain evaluate") from error


def _score(record: Mapping[str, Any]) -> Score:
    """The score in a record; TypeError when a field is missing, unknown or of another type."""
    score = Score(**{**record, "notes": tuple(record.get("notes", ()))})
    kinds = {
        str: (score.column, score.profile, score.prompts, *score.notes),
        int: (score.n, score.version, score.whole_n or 0),
        int | float: (score.value, score.standard_error, *score.details.values()),
    }
    for kind, values in kinds.items():
        wrong = [value for value in values if not isinstance(value, kind)]
        if wrong:
            raise TypeError(f"{score.column}: {wrong[0]!r} is of the wrong type")
    return score
