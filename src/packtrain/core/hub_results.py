"""Scores as the Hub's `.eval_results/*.yaml`: a file per data set, an entry per column.

The Hub does not say how columns of such a table are to be called, so one convention is kept to: a file per data set,
`task_id` is the column's name with `_` for what is no letter or digit (`mmlu_0shot`, `codex_pass_1`), values are
percent, and `notes` name the profile, the items, the standard error and what else is to be known. Format: hub-docs'
eval_results.yaml.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from packtrain.core.columns import column_facts, known_columns
from packtrain.core.errors import UserError
from packtrain.core.score import Score, one_profile, whole_scores

if TYPE_CHECKING:
    from huggingface_hub import EvalResultEntry

FOLDER = ".eval_results"
_OUR_NOTES = re.compile(r"profile .*; packtrain protocol version ")


def eval_result_files(
    scores: Sequence[Score], date: str | None = None, source_url: str | None = None
) -> dict[str, str]:
    """Name and YAML of a file per data set of the Hub; none for partial scores and for data elsewhere."""
    import yaml
    from huggingface_hub import eval_result_entries_to_yaml

    check_scores(scores, date)
    files: dict[str, list[EvalResultEntry]] = {}
    for score in whole_scores(scores):
        if score.column in known_columns():
            name = _plain(column_facts(score.column).benchmark)
            files.setdefault(name, []).append(_entry(score, date, source_url))
    return {
        name: str(yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True, width=1000))
        for name, entries in files.items()
    }


def our_result_files(folder: Path) -> list[Path]:
    """The files that `eval_result_files` gave, in a folder's `.eval_results`: by name, and by the notes of each entry.

    What others put there, or somebody changed so that it cannot be told, is left out.
    """
    names = dict.fromkeys(_plain(facts.benchmark) for facts in known_columns().values())
    return [path for name in names if _is_ours(path := folder / FOLDER / f"{name}.yaml")]


def _is_ours(path: Path) -> bool:
    import yaml

    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return False
    notes = [each.get("notes") if isinstance(each, dict) else None for each in entries or ()]
    return bool(notes) and all(isinstance(note, str) and _OUR_NOTES.match(note) for note in notes)


def kept_from_the_hub(scores: Sequence[Score]) -> str:
    """Which scores are partial, and so no results for the Hub, in a line for people; "" when none is."""
    partial = [f"{score.column} ({score.n:,} of {score.whole_n:,} items)" for score in scores if score.partial]
    return f"partial scores, kept out of model-index and {FOLDER}: {', '.join(partial)}" if partial else ""


def check_scores(scores: Sequence[Score], date: str | None = None) -> None:
    """Raise UserError for scores of several profiles, without scores, and for what is no date."""
    if one_profile(scores) is None:
        raise UserError("there are no scores to write", "evaluate a column first")
    if date is not None:
        try:
            datetime.fromisoformat(date)
        except ValueError as error:
            raise UserError(f"not a date: {date}", "dates look like 2025-01-31 or 2025-01-31T10:00:00Z") from error


def _entry(score: Score, date: str | None, source_url: str | None) -> "EvalResultEntry":
    from huggingface_hub import EvalResultEntry

    told = [
        f"profile {score.profile}",
        f"{score.n} items",
        f"standard error {score.standard_error:.2f}",
        f"packtrain protocol version {score.version}",
        *score.notes,
    ]
    return EvalResultEntry(
        dataset_id=column_facts(score.column).hub,
        task_id=_plain(score.column),
        value=round(score.value, 2),
        date=date,
        source_url=source_url,
        notes="; ".join(told),
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
