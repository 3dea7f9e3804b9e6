"""One figure of an explained diff: where the model changed, how many of its weights, and in how many directions."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from packtrain.core.figure_file import check_figure_file, write_figure_file
from packtrain.diff.change_figures import GroupChange
from packtrain.diff.explain import Explanation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".pdf", ".svg")
"""Kinds of file that a figure can be."""
INK, MUTED = "#222222", "#6b6b6b"
TITLE_SIZE = 9.5
TITLE_RISE = 0.47
"""Inches from the top of the map to the titles: between them is the bar of colours."""
SPECTRA_WIDTH, SHARE_WIDTH = 4.5, 1.6
LEGEND_LINES = 12
"""Lines of two names below the spectra, at most."""

_SETTINGS = {"font.size": 9}
_DOTS_PER_INCH = 160
_LINE = 0.17
"""Height of a line of small text."""


def check_plot(path: Path, overwrite: bool) -> None:
    """Raise UserError when a figure cannot be written to `path`: before anything is computed."""
    check_figure_file(path, overwrite, formats=FORMATS, option="--plot")


def write_plot(explanation: Explanation, path: Path, name: str, *, overwrite: bool = False) -> None:
    """Draw the figure and write it whole to `path`, as its suffix says; `name` is what was explained.

    UserError as `check_plot` has it.
    """
    check_plot(path, overwrite)
    write_figure_file(path, lambda: draw(explanation, name), dots_per_inch=_DOTS_PER_INCH, settings=_SETTINGS)


class Layout:
    """Where everything stands: in inches from the lower left corner; rows are counted in layers, from the top."""

    def __init__(self, groups: Sequence[GroupChange], columns: Sequence[str], with_spectra: bool) -> None:
        layers = sum(each.layer is not None for each in groups)
        self.group_height = max(1.0, layers / 32)
        """Of a row that is no layer, in layers: among eighty layers it would be too thin otherwise."""
        self.tops: list[float] = []
        top, before = 0.0, None
        for each in groups:
            if before is not None and None in (each.layer, before.layer):
                top += 0.35 * self.group_height
            self.tops.append(top)
            top += self.height_of(each)
            before = each
        self.rows = max(1.0, top)
        self.body = min(max(0.36 * self.rows, 4.2), 8.6)
        self.left = 0.6 + 0.068 * max((len(each.group) for each in groups), default=0)
        self.map_width = min(max(0.58 * len(columns), 3.2), 7.5)
        self.bottom = 0.5 + 0.053 * max((len(column) for column in columns), default=0)
        self.share_left = self.left + self.map_width + 0.22
        self.spectra_left = self.share_left + SHARE_WIDTH + 0.95
        self.width = self.spectra_left + (SPECTRA_WIDTH + 0.35 if with_spectra else -0.55)
        self.height = self.bottom + self.body + TITLE_RISE + 1.1

    @property
    def row_height(self) -> float:
        """Inches of a layer's row."""
        return self.body / self.rows

    def height_of(self, group: GroupChange) -> float:
        """Of a group's row, in layers."""
        return 1.0 if group.layer is not None else self.group_height

    def place(self, left: float, bottom: float, width: float, height: float) -> tuple[float, float, float, float]:
        """Inches as parts of the figure."""
        return left / self.width, bottom / self.height, width / self.width, height / self.height


def draw(explanation: Explanation, name: str) -> "Figure":
    """The figure, as high and wide as layers and kinds of tensors ask for."""
    from matplotlib.figure import Figure

    from packtrain.diff.plot_panels import columns_of, draw_map, draw_shares, draw_spectra, label_of

    kinds = columns_of(explanation.tensors)
    layout = Layout(explanation.groups, [label_of(kind, kinds) for kind in kinds], bool(explanation.ranks))
    figure = Figure(figsize=(layout.width, layout.height), facecolor="white")
    box = layout.place(layout.left, layout.bottom, layout.map_width, layout.body)
    changes = figure.add_axes(box)
    colours = draw_map(figure, changes, explanation, kinds, layout)
    shares = figure.add_axes(layout.place(layout.share_left, layout.bottom, SHARE_WIDTH, layout.body), sharey=changes)
    draw_shares(shares, explanation.groups, layout)
    left, top = 0.3, layout.height
    write(figure, layout, left, top - 0.42, f"What fine-tuning changed: {name}", size=14)
    write(figure, layout, left, top - 0.69, _summary(explanation), colour=MUTED)
    what = "change relative to the base" if explanation.with_base else "root mean square of the change"
    line = layout.bottom + layout.body + TITLE_RISE
    write(figure, layout, layout.left, line, f"{what} ({colours})")
    write(figure, layout, layout.share_left, line, "weights changed")
    if explanation.ranks:
        write(figure, layout, layout.spectra_left, line, "singular values of the change (largest = 1)")
        below = draw_spectra(figure, explanation.ranks, layout)
        _write_findings(figure, explanation, layout, below)
    return figure


def write(
    figure: "Figure", layout: Layout, left: float, bottom: float, text: str, size: float = TITLE_SIZE, colour: str = INK
) -> None:
    """Put a line of text at a place given in inches."""
    figure.text(left / layout.width, bottom / layout.height, text, fontsize=size, color=colour, parse_math=False)


def _summary(explanation: Explanation) -> str:
    total = explanation.total
    parts = [f"{total.weights:,} weights", f"{100 * total.share_changed:.3g} % changed"]
    if total.relative_norm is not None:
        parts.append(f"relative change {100 * total.relative_norm:.2g} %")
    return "   ·   ".join([*parts, f"root mean square {total.rms:.2g}"])


def _write_findings(figure: "Figure", explanation: Explanation, layout: Layout, below: float) -> None:
    """The findings in the room that is left under the spectra, as many as fit."""
    line = below - 0.35
    if not explanation.findings or line < 3 * _LINE:
        return
    write(figure, layout, layout.spectra_left, line, "what the figures show")
    line -= 0.25
    left = len(explanation.findings)
    for finding in explanation.findings:
        lines = wrap(finding.sentence, 76, break_on_hyphens=False)
        more = left > 1
        if line - _LINE * (len(lines) - 1 + more) < 0.15:
            write(figure, layout, layout.spectra_left, line, f"… and {left} more", size=8, colour=MUTED)
            return
        for number, text in enumerate(lines):
            write(figure, layout, layout.spectra_left, line, ("• " if not number else "   ") + text, size=8)
            line -= _LINE
        line -= 0.05
        left -= 1
