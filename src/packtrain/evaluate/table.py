"""The score table for the terminal: a row per column, other models' figures beside ours."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from packtrain.core.score import GROUPS, Score, notes_by_column, one_profile
from packtrain.evaluate.comparison import Beside, Line, Result, lines

_NAME = 10
"""Letters of a model's name that are never broken."""
_MARK = (" ▼", "", " ▲")
_LEGEND = "gap: this model less the one before it, ▲ ▼ where it is more than two standard errors"
_PARTIAL = "*"
_PARTIAL_LEGEND = f"{_PARTIAL} of a part of the items, as with --limit: no result of the benchmark, and in no Average"
_NO_ERRORS = " (of this model alone: published figures come without)"


def score_table(scores: Sequence[Score], title: str, compare: Sequence[Result] = ()) -> Table:
    """A row per column with percent, standard error, n and profile, and for each compared model its figure and ours
    less it; then the Average, labelled partial when columns are missing; below it what there is to know about them. A
    figure of a part of the items is marked.

    UserError when the figures are not all of one profile.
    """
    rows = lines(scores, compare)
    caption, profile = _caption(scores, rows, compare), one_profile(scores)
    heading = Text(f"{title}, profile {profile}" if profile else title)
    table = Table(
        title=heading,
        box=SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        caption=caption,
        caption_justify="left",
        caption_style="",
    )
    table.add_column("column", min_width=max(map(len, (_name(line) for line in rows if not line.groups)), default=0))
    for name in ("percent", "std.\nerror", "n"):
        table.add_column(name, justify="right")
    for other in compare:
        table.add_column(Text(other.name), justify="right", overflow="fold", min_width=min(len(other.name), _NAME))
        table.add_column("gap", justify="right", no_wrap=True)
    for line in rows:
        if line.n is None:
            table.add_section()
        cells = (_name(line), f"{line.value:.1f}", f"{line.standard_error:.1f}", "" if line.n is None else str(line.n))
        beside = [cell for other in compare for cell in _beside(line.beside.get(other.name))]
        table.add_row(*map(Text, (*cells, *beside)))
    return table


def _name(line: Line) -> str:
    return f"{line.name} (partial)" if line.groups else f"{line.name} {_PARTIAL}" if line.partial else line.name


def _beside(other: Beside | None) -> tuple[str, str]:
    if other is None:
        return "", ""
    mark = _MARK[1 + other.beyond * (1 if other.difference > 0 else -1)]
    return f"{other.value:.1f}{_PARTIAL if other.partial else ''}", f"{other.difference:+.1f}{mark or '  '}"


def _caption(scores: Sequence[Score], rows: Sequence[Line], compare: Sequence[Result]) -> Text | None:
    notes = [f"{column or 'all columns'}: {'; '.join(told)}" for column, told in notes_by_column(scores)]
    if any(line.partial or any(other.partial for other in line.beside.values()) for line in rows):
        notes.append(_PARTIAL_LEGEND)
    for line in rows:
        if line.groups:
            notes.append(f"{_name(line)}: of {len(line.groups)} of {len(GROUPS)} groups, {', '.join(line.groups)}")
    if compare:
        notes.append(_LEGEND + (_NO_ERRORS if any(not other.standard_errors for other in compare) else ""))
    return Text("\n".join(notes)) if notes else None
