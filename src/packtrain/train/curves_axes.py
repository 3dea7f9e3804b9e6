"""The panels of the figure of training runs: curves with their running means, and scales that suit them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from packtrain.train.curves import BY_DATASET, Curve, TrainingRun, epoch_ends, smoothed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
"""Of runs: Okabe and Ito's, which those tell apart who do not see all colours; their yellow is too light for a line."""
_DATASET_COLOURS = ("#332288", "#44AA99", "#CC6677", "#117733", "#AA4499", "#88CCEE", "#882255", "#999933")
"""Of data sets: Tol's muted scheme, for the same eyes, so that no data set looks like a run."""
STYLES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
INK, MUTED, _GRID = "#222222", "#6b6b6b", "#e8e8e8"
_MOST_DATASETS = 12
_MOST_ENDS = 3
"""Runs whose last losses by data set are written out."""
_LEGEND_LETTERS = 27
"""Letters that find room beside the losses by data set."""
_LOG_FROM = 30.0
"""Ratio of the largest to the smallest value from which gradient norms are drawn on a logarithmic scale."""
_OUTLIERS = 0.005
"""Part of the single steps whose losses and norms may lie above the axes."""
_MANY_POINTS = 5000
"""Points from which the line of single steps is an image within an SVG file."""
_MOST_EPOCHS = 12


def plain_axes(axes: "Axes", title: str) -> None:
    """Axes over steps with a title, and as few lines as will do."""
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, loc="left", fontsize=9.5, color=INK, pad=6)
    axes.grid(True, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, labelsize=8, labelcolor=MUTED)
    axes.set_xlabel("step", color=MUTED, fontsize=8, labelpad=1)
    axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 2.5, 5, 10], integer=True))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color("#b5b5b5")


def run_style(number: int) -> tuple[str, Any]:
    """Colour and line style of a run."""
    return _COLOURS[number % len(_COLOURS)], STYLES[number // len(_COLOURS) % len(STYLES)]


def draw_runs(axes: "Axes", runs: Sequence[TrainingRun], name: str, smooth_steps: int) -> None:
    """A figure of every run, and the scale that suits it."""
    curves = [run.curve(name) for run in runs]
    means = []
    for number, curve in enumerate(curves):
        means.append(_draw_curve(axes, curve, smooth_steps, *run_style(number), single_steps=True))
    _scale(axes, name, curves, [value for mean in means for value in mean])
    last = max((curve.steps[-1] for curve in curves if curve.steps), default=1)
    axes.set_xlim(0, max(2, last) * 1.01)


def _draw_curve(
    axes: "Axes", curve: Curve, smooth_steps: int, colour: str, style: Any, *, single_steps: bool
) -> list[float]:
    """The running mean, with the single steps faint behind it; returns the means."""
    means = smoothed(curve.values, smooth_steps)
    if single_steps and smooth_steps > 1:
        many = len(curve.steps) > _MANY_POINTS
        axes.plot(curve.steps, curve.values, color=colour, alpha=0.22, linewidth=0.7, rasterized=many)
    marker = "o" if len(curve.steps) == 1 else None
    axes.plot(
        curve.steps,
        means,
        color=colour,
        linestyle=style,
        linewidth=1.6,
        marker=marker,
        markersize=4,
        clip_on=marker is None,
    )
    return means


def _scale(axes: "Axes", name: str, curves: Sequence[Curve], means: Sequence[float]) -> None:
    """Limits that single outliers do not decide, and numbers as one would say them."""
    values = sorted(value for curve in curves for value in curve.values)
    if not values:
        return
    usual = values[int((1 - _OUTLIERS) * (len(values) - 1))]
    high, low = max(usual, *means), values[0]
    positive = [value for value in values if value > 0]
    if name == "grad_norm" and positive and high / positive[0] > _LOG_FROM:
        axes.set_yscale("log")
        axes.set_ylim(positive[0] / 1.3, max(values) * 1.3)
        axes.yaxis.set_minor_formatter(lambda value, _: "")
    elif name in ("loss", BY_DATASET):
        margin = 0.06 * (high - low) or 0.5
        axes.set_ylim(max(0.0, low - margin), high + margin)
        axes.ticklabel_format(axis="y", useOffset=False)
        return
    else:
        axes.set_ylim(0, 1.1 * high or 1.0)
    axes.yaxis.set_major_formatter(_percent if name == "mfu" else short)


def short(value: float, place: object = None) -> str:
    """A number in few letters: 25k, 0.5, 2e-5; `place` is what matplotlib adds, and does not matter."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{letter}"
    text = f"{value:.6g}"
    return f"{value:.3g}".replace("e-0", "e-") if "e" in text or 0 < abs(value) < 1e-3 else text


def _percent(value: float, _: object) -> str:
    return f"{100 * value:.3g} %"


def mark_epochs(axes: "Axes", run: TrainingRun) -> None:
    """A line where one epoch ends and the next begins, if they are few."""
    ends = epoch_ends(run)
    if len(ends) > _MOST_EPOCHS:
        return
    for number, end in enumerate(ends, start=2):
        axes.axvline(end + 0.5, color="#9a9a9a", linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
        text: Any = {"va": "top", "fontsize": 7.5, "color": MUTED}
        where, beside = (end + 0.5, 1.0), (3, -2)
        axes.annotate(f"epoch {number}", where, beside, ("data", "axes fraction"), "offset points", **text)


def draw_datasets(axes: "Axes", runs: Sequence[TrainingRun], datasets: Sequence[str], smooth_steps: int) -> None:
    """Running means of data sets: a colour for each, a style for each run; named in the order of their last values."""
    most = _MOST_DATASETS if len(runs) == 1 else len(_DATASET_COLOURS)
    shown, curves = datasets[:most], []
    ends: dict[str, list[float | None]] = {name: [] for name in shown}
    lines: dict[str, Any] = {}
    for number, name in enumerate(shown):
        colour = _DATASET_COLOURS[number % len(_DATASET_COLOURS)]
        for place, run in enumerate(runs):
            curve = run.curve(BY_DATASET + name)
            style = STYLES[(place if len(runs) > 1 else number // len(_DATASET_COLOURS)) % len(STYLES)]
            means = _draw_curve(axes, curve, smooth_steps, colour, style, single_steps=False)
            curves.append(Curve(curve.steps, means))
            ends[name].append(means[-1] if means else None)
            lines.setdefault(name, axes.lines[-1])
    _scale(axes, BY_DATASET, curves, [value for curve in curves for value in curve.values])
    axes.set_xlim(0, max(2, *(step for curve in curves for step in curve.steps)) * 1.01)
    ordered = sorted(shown, key=lambda name: -max(end for end in ends[name] if end is not None))
    told = len(runs) <= _MOST_ENDS
    values = {name: " / ".join("-" if end is None else f"{end:.2f}" for end in ends[name]) for name in shown}
    told_of = {name: f"{values[name]}  " if told else "" for name in shown}
    labels = [told_of[name] + cut_name(name, _LEGEND_LETTERS - len(told_of[name])) for name in ordered]
    more = len(datasets) - len(shown)
    title = ("at the end" if told else "") + (f"  ({more} more are not shown)" if more else "")
    legend = axes.legend(
        [lines[name] for name in ordered],
        labels,
        title=title,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.02),
        frameon=False,
        fontsize=8,
    )
    legend.set_alignment("left")
    legend.get_title().set(fontsize=8, color=MUTED)


def rounded(value: float) -> float:
    """The number to three digits."""
    return float(f"{value:.3g}")


def cut_name(name: str, letters: int = 48) -> str:
    """The name, or the beginning of a long one."""
    return name if len(name) <= letters else name[: letters - 1] + "…"
