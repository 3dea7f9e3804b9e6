"""One figure of training runs: loss, loss by data set, learning rate, gradient norm and speed over the steps."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from packtrain.core.errors import UserError
from packtrain.core.figure_file import check_figure_file, write_figure_file
from packtrain.train.curves import BY_DATASET, TrainingRun, distinct_names, in_run
from packtrain.train.curves_axes import (
    INK,
    MUTED,
    STYLES,
    cut_name,
    draw_datasets,
    draw_runs,
    mark_epochs,
    plain_axes,
    rounded,
    run_style,
    short,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SETTINGS = {"font.size": 9}
_DOTS_PER_INCH = 130
_WIDTH, _TALL, _LOW = 12.0, 3.3, 1.9
"""Inches: of the figure, and of the axes in its two rows."""
_LEFT, _RIGHT, _GAP, _BOTTOM, _BETWEEN = 0.62, 0.25, 0.72, 0.55, 0.72
_LEGEND = 2.3
"""Inches beside the losses by data set for their names."""
_LINE = 0.2
_PANELS = (
    ("lr", "learning rate"),
    ("grad_norm", "gradient norm before clipping"),
    ("tokens_per_s", "tokens per second"),
    ("mfu", "model FLOPs utilisation"),
)


def check_figure(path: Path, runs: Sequence[TrainingRun], overwrite: bool) -> None:
    """Raise UserError when a figure of these runs cannot be written to `path`: before anything is drawn."""
    if in_run(path, runs):
        raise UserError(
            f"{path} would lie in the folder of the run, whose manifest lists its files", "give --out another folder"
        )
    check_figure_file(path, overwrite)


def write_figure(runs: Sequence[TrainingRun], path: Path, *, smooth_steps: int, overwrite: bool = False) -> None:
    """Draw the runs over one another and write the figure whole to `path`, as its suffix says.

    Behind each running mean over `smooth_steps` steps are the single steps. UserError as `check_figure` has it.
    """
    check_figure(path, runs, overwrite)
    write_figure_file(path, lambda: draw(runs, smooth_steps), dots_per_inch=_DOTS_PER_INCH, settings=_SETTINGS)


def draw(runs: Sequence[TrainingRun], smooth_steps: int) -> "Figure":
    """The figure: the losses above, the rest below, as far as the runs have it."""
    from matplotlib.figure import Figure

    panels = [panel for panel in _PANELS if any(run.curve(panel[0]).values for run in runs)]
    datasets = _datasets(runs)
    header = 0.95 if len(runs) == 1 else 0.85 + _LINE * len(runs)
    low = _LOW + _BETWEEN if panels else 0.0
    height = header + _TALL + low + _BOTTOM
    figure = Figure(figsize=(_WIDTH, height), facecolor="white")

    def axes_at(left: float, bottom: float, width: float, tall: float, title: str) -> "Axes":
        axes = figure.add_axes((left / _WIDTH, bottom / height, width / _WIDTH, tall / height))
        plain_axes(axes, title)
        return axes

    inside = _WIDTH - _LEFT - _RIGHT
    loss_width = (inside - _GAP - _LEGEND) / 2 if datasets else inside
    loss = axes_at(_LEFT, _BOTTOM + low, loss_width, _TALL, "loss per learnt token, nats")
    draw_runs(loss, runs, "loss", smooth_steps)
    if len(runs) == 1:
        mark_epochs(loss, runs[0])
    if datasets:
        left = _LEFT + loss_width + _GAP
        by_dataset = axes_at(left, _BOTTOM + low, loss_width, _TALL, "loss by data set, nats")
        draw_datasets(by_dataset, runs, datasets, smooth_steps)
    width = (inside - _GAP * (len(panels) - 1)) / max(1, len(panels))
    for number, (name, title) in enumerate(panels):
        axes = axes_at(_LEFT + number * (width + _GAP), _BOTTOM, width, _LOW, title)
        draw_runs(axes, runs, name, 1 if name == "lr" else smooth_steps)
    _write_header(figure, runs, height, smooth_steps)
    return figure


def _datasets(runs: Sequence[TrainingRun]) -> list[str]:
    """Data sets to draw, those with the most steps first."""
    steps: dict[str, int] = {}
    for run in runs:
        for name in run.datasets:
            steps[name] = steps.get(name, 0) + len(run.curve(BY_DATASET + name).steps)
    return sorted(steps, key=lambda name: (-steps[name], name))


def _write_header(figure: "Figure", runs: Sequence[TrainingRun], height: float, smooth_steps: int) -> None:
    """Which runs these are and what they come to; with several of them also whose colour is which."""
    from matplotlib.lines import Line2D

    def write(inches: float, text: str, points: float, colour: str, left: float = _LEFT) -> None:
        figure.text(left / _WIDTH, 1 - inches / height, text, fontsize=points, color=colour, va="center")

    names = [cut_name(name) for name in distinct_names(runs)]
    mean = f"lines: running mean of {smooth_steps} steps" if smooth_steps > 1 else ""
    if len(runs) == 1:
        write(0.28, names[0], 14, INK)
        write(0.55, "   ·   ".join(part for part in (_facts(runs[0]), mean) if part), 9, MUTED)
        return
    write(0.28, f"{len(runs)} training runs", 14, INK)
    figure.text(1 - _RIGHT / _WIDTH, 1 - 0.28 / height, mean, fontsize=9, color=MUTED, va="center", ha="right")
    by_dataset = bool(_datasets(runs))
    for number, (run, name) in enumerate(zip(runs, names, strict=True)):
        place = 0.55 + _LINE * number
        y = 1 - place / height
        colour, style = run_style(number)
        ends = [_LEFT / _WIDTH, (_LEFT + 0.3) / _WIDTH]
        figure.add_artist(Line2D(ends, [y, y], color=colour, linestyle=style, linewidth=2))
        if by_dataset:
            ends = [(_LEFT + 0.38) / _WIDTH, (_LEFT + 0.78) / _WIDTH]
            figure.add_artist(Line2D(ends, [y, y], color=MUTED, linestyle=STYLES[number % len(STYLES)], linewidth=1.4))
        write(place, f"{name}   ·   {_facts(run)}", 9, INK, _LEFT + (0.9 if by_dataset else 0.4))


def _facts(run: TrainingRun) -> str:
    """What a run comes to, in one line."""
    found = run.summary()
    parts = [f"{found['steps']:,} step{'s' if found['steps'] != 1 else ''}"]
    if found["first_loss"] is not None:
        parts.append(f"loss {found['first_loss']:.3f} → {found['last_loss']:.3f}, lowest {found['min_loss']:.3f}")
    if found["tokens"]:
        parts.append(f"{short(rounded(found['tokens']))} tokens")
    if found["seconds"]:
        parts.append(_duration(found["seconds"]))
    if found["tokens_per_s"]:
        parts.append(f"{rounded(found['tokens_per_s']):,.6g} tokens/s")
    if found["median_mfu"]:
        parts.append(f"MFU {100 * found['median_mfu']:.3g} %")
    return "   ·   ".join(parts)


def _duration(seconds: float) -> str:
    sizes = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    for (size, unit), (smaller, small_unit) in pairwise(sizes):
        if seconds >= size:
            rest = int(seconds % size // smaller)
            return f"{int(seconds // size)} {unit}" + (f" {rest} {small_unit}" if rest else "")
    return f"{seconds:.3g} s"
