"""The scores of one or more models as a figure: bars by column, or a radar of the six groups."""

from collections.abc import Sequence
from math import ceil, pi, sin
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from packtrain.core.columns import column_facts
from packtrain.core.errors import UserError
from packtrain.core.figure_file import check_figure_file, write_figure_file
from packtrain.core.score import COLUMNS, GROUPS
from packtrain.evaluate.comparison import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Kind = Literal["bars", "radar"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MOST_MODELS = 8

_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#8C6D1F")
"""Okabe and Ito's, which those tell apart who do not see all colours; their yellow is too light for a line."""
_HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "--")
_LINES: Any = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
_MARKERS = "osD^vPX*"
_INK, _MUTED, _GRID = "#222222", "#6b6b6b", "#e4e4e4"
_SETTINGS = {"font.size": 9, "hatch.linewidth": 0.6}
_DOTS_PER_INCH = 130
_BAR, _BETWEEN = 0.17, 0.20
"""Inches: of a bar, between the columns."""
_LEFT, _RIGHT, _TOP, _BOTTOM, _LINE = 2.2, 0.65, 0.55, 0.5, 0.21
_MOST_FILLED = 3
"""Models whose areas in a radar are tinted; more would be mud."""
_LONGEST_NAME = 48
"""Letters of a model's name that are shown."""


def check_figure(path: Path, results: Sequence[Result], kind: Kind, overwrite: bool = False) -> None:
    """Raise UserError when a figure with these models cannot be written to `path`: before anything is asked."""
    check_figure_file(path, overwrite, option="--figure")
    if len(results) > MOST_MODELS:
        raise UserError(f"{len(results)} models in one figure cannot be told apart", f"{MOST_MODELS} at most")
    profiles = sorted({result.profile for result in results})
    if len(profiles) > 1:
        raise UserError(f"models of several profiles: {', '.join(profiles)}", "a figure shows one profile")
    if kind == "radar" and len(_groups(results)) < 3:
        raise UserError(
            f"a radar needs three groups that every model has, found: {', '.join(_groups(results)) or 'none'}",
            "draw bars instead",
        )


def write_figure(results: Sequence[Result], path: Path, kind: Kind = "bars", *, overwrite: bool = False) -> None:
    """Draw the models' scores and write the figure whole to `path`, as its suffix says.

    `bars`: a bar per column and model, with two standard errors to either side where they are known. `radar`: an axis
    per group of the Average, of the groups that every model has whole. UserError as `check_figure` has it.
    """
    check_figure(path, results, kind, overwrite)
    if not any(result.values for result in results):
        raise UserError("there is no score to draw", "evaluate a column first")
    draw = draw_bars if kind == "bars" else draw_radar
    write_figure_file(path, lambda: draw(results), dots_per_inch=_DOTS_PER_INCH, settings=_SETTINGS)


def draw_bars(results: Sequence[Result]) -> "Figure":
    """The figure with a group of horizontal bars per column, models in the order of the legend."""
    from matplotlib.figure import Figure

    columns = _columns(results)
    step = _BAR * len(results) + _BETWEEN
    header = _TOP + _LINE * len(results)
    height = header + step * len(columns) + _BOTTOM
    width = 8.0
    figure = Figure(figsize=(width, height), facecolor="white")
    bottom, tall = _BOTTOM / height, step * len(columns) / height
    axes = figure.add_axes((_LEFT / width, bottom, 1 - (_LEFT + _RIGHT) / width, tall))
    for number, result in enumerate(results):
        _draw_model(axes, result, columns, number, step)
    axes.set_ylim(step * len(columns), 0)
    axes.set_yticks([step * (row + 0.5) for row in range(len(columns))])
    axes.set_yticklabels([column_facts(column).title for column in columns], color=_INK)
    axes.set_xlim(0, _largest(results, columns))
    axes.grid(True, axis="x", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=_MUTED)
    axes.tick_params(axis="y", labelcolor=_INK)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "left")
        spine.set_color("#b5b5b5")
    whiskers = any(any(result.standard_errors.values()) for result in results)
    label = "percent; whiskers: two standard errors" if whiskers else "percent"
    axes.set_xlabel(label, color=_MUTED, fontsize=8)
    _head(figure, results, header, width, height)
    return figure


def _draw_model(axes: "Axes", result: Result, columns: Sequence[str], number: int, step: float) -> None:
    """The bars of one model, each with its figure behind its end."""
    for row, column in enumerate(columns):
        if column not in result.values:
            continue
        value, error = result.values[column], 2 * result.standard_errors.get(column, 0.0)
        place = step * row + _BETWEEN / 2 + _BAR * (number + 0.5)
        axes.barh(
            place, value, height=0.86 * _BAR, color=_COLOURS[number], hatch=_HATCHES[number], edgecolor="white", lw=0
        )
        if error:
            whisker = ([min(error, value)], [min(error, 100 - value)])
            axes.errorbar(value, place, xerr=whisker, ecolor=_INK, elinewidth=0.9, capsize=1.8, fmt="none")
        end = min(value + error, 100.0)
        offset = (3, 0)
        axes.annotate(
            f"{value:.1f}", (end, place), offset, textcoords="offset points", va="center", fontsize=7, color=_INK
        )


def draw_radar(results: Sequence[Result]) -> "Figure":
    """The figure with an axis per group of the Average and a line per model."""
    from matplotlib.figure import Figure

    groups = _groups(results)
    width, size = 6.4, 4.7
    header = _TOP + _LINE * len(results)
    height = header + size + 0.3
    figure = Figure(figsize=(width, height), facecolor="white")
    radius = 0.82 * size
    place = ((width - radius) / 2 / width, (0.3 + (size - radius) / 2) / height, radius / width, radius / height)
    axes: Any = figure.add_axes(place, projection="polar", theta_offset=pi / 2, theta_direction=-1)
    angles = [2 * pi * number / len(groups) for number in range(len(groups))]
    values = [[_mean(result, group) for group in groups] for result in results]
    for number, row in enumerate(values):
        style = {"color": _COLOURS[number], "linestyle": _LINES[number % len(_LINES)], "marker": _MARKERS[number]}
        axes.plot([*angles, angles[0]], [*row, row[0]], linewidth=1.8, markersize=5, clip_on=False, **style)
        if len(results) <= _MOST_FILLED:
            axes.fill(angles, row, color=_COLOURS[number], alpha=0.07)
    axes.set_xticks(angles, groups, color=_INK, fontsize=9.5)
    axes.tick_params(axis="x", pad=6)
    for label, angle in zip(axes.get_xticklabels(), angles, strict=True):
        label.set_horizontalalignment("center" if abs(sin(angle)) < 0.01 else "left" if angle < pi else "right")
    axes.set_ylim(0, _nice(max(max(row) for row in values)))
    axes.set_rlabel_position(180 / len(groups))
    axes.tick_params(axis="y", labelsize=7.5, labelcolor=_MUTED)
    axes.grid(color="#d0d0d0", linewidth=0.8)
    axes.spines["polar"].set_color("#d0d0d0")
    _head(figure, results, header, width, height, lines=True)
    return figure


def _head(
    figure: "Figure", results: Sequence[Result], header: float, width: float, height: float, *, lines: bool = False
) -> None:
    """The profile, and below it the legend: a line per model, in the order in which they are drawn."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    title = f"scores in percent, profile {results[0].profile}" + (", means of the groups" if lines else "")
    figure.text(0.2 / width, 1 - 0.3 / height, title, fontsize=10.5, color=_INK, va="center")
    handles: list[Any] = []
    for number, result in enumerate(results):
        name = result.name if len(result.name) <= _LONGEST_NAME else f"{result.name[: _LONGEST_NAME - 1]}…"
        if lines:
            style = {"linestyle": _LINES[number % len(_LINES)], "marker": _MARKERS[number], "linewidth": 1.8}
            handles.append(Line2D([], [], color=_COLOURS[number], label=name, **style))
        else:
            look: Any = {"hatch": _HATCHES[number], "edgecolor": "white", "linewidth": 0}
            handles.append(Patch(facecolor=_COLOURS[number], label=name, **look))
    corner = (0.12 / width, 1 - 0.42 / height)
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=corner, frameon=False, handlelength=2.6)


def _columns(results: Sequence[Result]) -> list[str]:
    """The columns that any model has, in the cards' order, then the others."""
    found = list(dict.fromkeys(column for result in results for column in result.values))
    return [column for column in COLUMNS if column in found] + [column for column in found if column not in COLUMNS]


def _groups(results: Sequence[Result]) -> list[str]:
    """The groups of the Average that every model has whole."""
    return [group for group in GROUPS if all(result.has(group) for result in results)]


def _mean(result: Result, group: str) -> float:
    return sum(result.values[column] for column in GROUPS[group]) / len(GROUPS[group])


def _largest(results: Sequence[Result], columns: Sequence[str]) -> float:
    """The end of the percent axis: a multiple of ten that leaves room for the longest whisker and its figure."""
    ends = [
        result.values[column] + 2 * result.standard_errors.get(column, 0.0)
        for result in results
        for column in columns
        if column in result.values
    ]
    return _nice(max(ends))


def _nice(value: float) -> float:
    return float(min(100, max(10, 10 * ceil(value / 10))))
