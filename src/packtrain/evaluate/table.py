"""The score table for the terminal."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from packtrain.core.score import Score, average


def score_table(scores: Sequence[Score], title: str) -> Table:
    """A row per column with n and standard error; the Average only when all eleven columns are there."""
    table = Table(title=Text(title))
    for heading in ("column", "percent", "standard error", "n", "profile"):
        table.add_column(heading, justify="left" if heading in ("column", "profile") else "right")
    for score in scores:
        table.add_row(score.column, f"{score.value:.1f}", f"{score.standard_error:.1f}", str(score.n), score.profile)
    mean = average({score.column: score.value for score in scores})
    if mean is not None:
        table.add_section()
        table.add_row("Average", f"{mean:.1f}")
    return table
