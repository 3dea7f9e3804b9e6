"""Win rates from annotations in AlpacaEval's form, by its rules: equal to its published leaderboard in every digit.

An annotation says which of two outputs is preferred: `preference` is 1 for output_1 (the reference), 2 for output_2
(the model), anything between for a judge that weighs, 0 or 1.5 for a tie; null where the judge's answer could not be
read: these do not count.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packtrain.core.atomic import atomic_file
from packtrain.core.conversation import read_json_lines
from packtrain.core.errors import UserError
from packtrain.core.json_text import json_text
from packtrain.evaluate.judging.wording import joined

_TEXTS = ("output_1", "output_2")
_HINT = (
    "give annotations: a list of pairs with output_1, output_2 and preference, as AlpacaEval has it and "
    "packtrain evaluate writes it (annotations-alpacafarm.json)"
)


@dataclass(frozen=True, slots=True)
class WinRate:
    """The figures of AlpacaEval's leaderboard; rates and errors in percent."""

    win_rate: float
    standard_error: float
    """Of the mean, from the sample (n - 1)."""
    n_wins: int
    n_wins_base: int
    n_draws: int
    n_total: int
    n_unread: int
    """Without a preference; in none of the other counts."""
    avg_length: int
    """Characters of the model's outputs, unread pairs included, rounded down."""
    discrete_win_rate: float
    """With every preference rounded to a win or a loss."""


def read_annotations(path: Path) -> list[dict[str, Any]]:
    """The annotations in a JSON list or in JSON Lines, whatever the file is called.

    UserError naming file and place when one is none.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        in_lines = text.lstrip().startswith("{")
        records: Any = [record for _, record in read_json_lines(path)] if in_lines else json.loads(text)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", _HINT) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error})", _HINT) from error
    if not isinstance(records, list) or not records:
        raise UserError(f"{path} is not a list of annotations", _HINT)
    for number, record in enumerate(records, start=1):
        _check(record, f"{path}: annotation {number}")
    return records


def _check(record: object, where: str) -> None:
    if not isinstance(record, dict) or "preference" not in record:
        raise UserError(f"{where} has no preference", _HINT)
    for field in _TEXTS:
        if not isinstance(record.get(field), str):
            raise UserError(f"{where} has no text {field}", _HINT)
    value = record["preference"]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (number and (math.isnan(value) or value == 0 or 1 <= value <= 2)):
        raise UserError(f"{where}: preference is {value!r}", "it is 1 to 2, 0 for a tie, or null")


def shares(annotations: Sequence[Mapping[str, Any]]) -> list[float | None]:
    """What each annotation gives the model: 0 to 1, 0.5 for a tie, None for an unread one."""
    values = [annotation["preference"] for annotation in annotations]
    return [None if value is None or math.isnan(value) else 0.5 if value == 0 else float(value) - 1 for value in values]


def win_rate(annotations: Sequence[Mapping[str, Any]]) -> WinRate:
    """The figures of a model; UserError when not one annotation has a preference."""
    import numpy

    found = [share for share in shares(annotations) if share is not None]
    n = len(found)
    if not n:
        raise UserError("no annotation has a preference", "judge the pairs again: none of the verdicts could be read")
    values = numpy.array(found)
    wins, losses, draws = int((values > 0.5).sum()), int((values < 0.5).sum()), int((values == 0.5).sum())
    # The published digits of win rates come of this very order of operations, those of errors of numpy's sums.
    discrete = (wins / n + draws / 2 / n) * 100
    mean = float(values.mean())
    whole = wins == int((values == 1).sum()) and losses == int((values == 0).sum())
    deviation = math.sqrt(float(((mean - values) ** 2).sum()) / (n - 1)) if n > 1 else 0.0
    lengths = [len(annotation["output_2"]) for annotation in annotations]
    return WinRate(
        win_rate=discrete if whole else mean * 100,
        standard_error=deviation / math.sqrt(n) * 100,
        n_wins=wins,
        n_wins_base=losses,
        n_draws=draws,
        n_total=n,
        n_unread=len(annotations) - n,
        avg_length=sum(lengths) // len(lengths),
        discrete_win_rate=discrete,
    )


def write_annotations(
    path: Path,
    pairs: Sequence[Mapping[str, str]],
    preferences: Sequence[float | None],
    judge_name: str,
    compared: tuple[str, str] = ("reference", "model"),
) -> None:
    """Write verdicts in AlpacaEval's form, which `read_annotations` and its own program read; atomically.

    `preferences`: 1 where the answer is better than the reference, 0 where it is worse, 0.5 for a tie, None: not read.
    `compared`: names of the reference and of the model.
    """
    records = [
        {
            "instruction": joined(pair["instruction"], pair["input"]),
            "output_1": pair["reference"],
            "generator_1": compared[0],
            "output_2": pair["answer"],
            "generator_2": compared[1],
            "annotator": judge_name,
            "preference": None if preference is None else 1 + preference,
        }
        for pair, preference in zip(pairs, preferences, strict=True)
    ]
    with atomic_file(path) as file:
        file.write(json_text(records, indent=2) + "\n")
