"""The three panels of the figure of an explained diff: map of changes, shares of weights, singular values."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from packtrain.diff.change_figures import GroupChange, TensorChange, add_up
from packtrain.diff.change_rank import ChangeRank
from packtrain.diff.explain import Explanation
from packtrain.diff.explain_plot import INK, LEGEND_LINES, MUTED, SPECTRA_WIDTH, TITLE_RISE, Layout
from packtrain.diff.groups import usual_order

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
"""Okabe and Ito's, which those tell apart who do not see all colours; their yellow is too light for a line."""
_STYLES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)))
_MAP = "viridis"
_BAR, _TRACK = "#44688a", "#eeeeee"
_FROZEN = (0.85, 0.85, 0.85, 1.0)
_ROOMY = 0.24
"""Inches of a row from which figures are written into it."""


def columns_of(tensors: Sequence[TensorChange]) -> list[str]:
    """Kinds of tensors in layers, in their usual order."""
    return sorted({each.kind for each in tensors if each.layer is not None}, key=usual_order)


def label_of(kind: str, kinds: Sequence[str]) -> str:
    """A kind without `mlp.`, where no other one is called so."""
    short = kind.removeprefix("mlp.")
    return kind if short in kinds else short


def draw_map(figure: "Figure", axes: "Axes", explanation: Explanation, kinds: Sequence[str], layout: Layout) -> str:
    """Sizes of change: a row for each layer, a column for each kind; what is no layer is one wide cell.

    Returns what the colours mean that are not on the scale.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Rectangle

    cells = _cells(explanation, kinds)
    positive = [size for row in cells for size in row if size]
    largest = max(positive, default=1.0)
    scale = LogNorm(max(min([largest / 4, *positive]), largest * 1e-4), largest, clip=True)
    colours = colormaps[_MAP]
    for group, top, row in zip(explanation.groups, layout.tops, cells, strict=True):
        height, width = layout.height_of(group), max(1, len(kinds)) / max(1, len(row))
        for column, size in enumerate(row):
            if size is None:
                continue
            colour = colours(scale(size)) if size else _FROZEN
            edge = "white" if layout.row_height > 0.15 else colour
            corner = column * width, top
            axes.add_patch(Rectangle(corner, width, height, facecolor=colour, edgecolor=edge, linewidth=0.5))
            if layout.row_height > _ROOMY:
                bright = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] > 0.5
                where, ink = (corner[0] + width / 2, top + height / 2), INK if bright else "white"
                axes.text(*where, _written(size, explanation), ha="center", va="center", fontsize=7, color=ink)
    labels = [label_of(kind, kinds) for kind in kinds]
    axes.set_xlim(0, max(1, len(kinds)))
    axes.set_ylim(layout.rows, 0)
    axes.set_xticks([n + 0.5 for n in range(len(kinds))], labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(*_row_ticks(explanation.groups, layout))
    _bare(axes)
    bar = figure.add_axes(layout.place(layout.left, layout.bottom + layout.body + 0.12, layout.map_width, 0.09))
    figure.colorbar(ScalarMappable(scale, colours), cax=bar, orientation="horizontal").outline.set_linewidth(0)
    ticks = _scale_ticks(scale)
    bar.minorticks_off()
    bar.set_xticks(ticks, [_written(size, explanation) for size in ticks])
    bar.xaxis.set_ticks_position("top")
    bar.tick_params(length=2, color=MUTED, labelsize=8, pad=1)
    unknown = any(each.norm > 0 and each.base_norm == 0 for each in explanation.tensors)
    return "grey: unchanged, white: the base is 0" if unknown else "grey: unchanged"


def _cells(explanation: Explanation, kinds: Sequence[str]) -> list[list[float | None]]:
    """Sizes of change by row and column, None where there is nothing; a single one where the row is no layer."""
    members: dict[tuple[str, str], list[TensorChange]] = {}
    for tensor in explanation.tensors:
        members.setdefault((tensor.group, tensor.kind), []).append(tensor)

    def together(group: str, kind: str) -> float | None:
        tensors = members.get((group, kind))
        return _size(add_up(group, None, tensors), explanation) if tensors else None

    return [
        [together(each.group, kind) for kind in kinds] if each.layer is not None else [_size(each, explanation)]
        for each in explanation.groups
    ]


def _size(group: GroupChange, explanation: Explanation) -> float | None:
    """Relative to the base where that is there; 0 where nothing changed."""
    if not group.weights or not group.norm:
        return 0.0 if group.weights else None
    return group.relative_norm if explanation.with_base else group.rms


def _written(size: float, explanation: Explanation) -> str:
    if not size:
        return "0"
    return f"{100 * size:.2g} %" if explanation.with_base else f"{size:.1e}".replace("e-0", "e-")


def _scale_ticks(scale: "LogNorm") -> list[float]:
    """At most seven round sizes within the scale."""
    low, high = float(scale.vmin or 0), float(scale.vmax or 1)
    for steps in ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 5), (1, 3), (1,)):
        ticks = [float(f"{step}e{power}") for power in range(-45, 39) for step in steps]
        if len(inside := [tick for tick in ticks if low <= tick <= high]) <= 7:
            return inside
    return [low, high]


def _row_ticks(groups: Sequence[GroupChange], layout: Layout) -> tuple[list[float], list[str]]:
    """Where rows are labelled: all that are no layer, and as many layers as there is room for."""
    layers = [each.group for each in groups if each.layer is not None]
    step = next((step for step in (1, 2, 4, 5, 8, 10, 20, 50) if step * layout.row_height > 0.16), 100)
    shown = set(layers[::step])
    ticks, labels = [], []
    for each, top in zip(groups, layout.tops, strict=True):
        if each.layer is None or each.group in shown:
            ticks.append(top + layout.height_of(each) / 2)
            labels.append(f"layer {each.group}" if each.group == layers[0] and each.group.isdigit() else each.group)
    return ticks, labels


def draw_shares(axes: "Axes", groups: Sequence[GroupChange], layout: Layout) -> None:
    """A bar for each row of the map: the share of its weights that changed."""
    from matplotlib.patches import Rectangle

    for group, top in zip(groups, layout.tops, strict=True):
        height, share = layout.height_of(group), group.share_changed
        inset = 0.12 * height if layout.row_height > 0.15 else 0.06 * height
        for width, colour in ((1.0, _TRACK), (share, _BAR)):
            axes.add_patch(Rectangle((0, top + inset), width, height - 2 * inset, facecolor=colour, linewidth=0))
        if layout.row_height > _ROOMY:
            inside = share > 0.5
            where = (share - 0.04 if inside else share + 0.04, top + height / 2)
            ink, side = ("white", "right") if inside else (INK, "left")
            axes.text(*where, f"{100 * share:.3g} %", ha=side, va="center", fontsize=7, color=ink)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["0", "50", "100 %"])
    axes.xaxis.tick_top()
    axes.tick_params(axis="y", labelleft=False)
    _bare(axes)
    axes.tick_params(axis="x", labelsize=8, pad=1)


def draw_spectra(figure: "Figure", ranks: Sequence[ChangeRank], layout: Layout) -> float:
    """Singular values of the sampled matrices, and which is which; the inches from the bottom that are left."""
    legend_height = 0.19 * min(LEGEND_LINES, (len(ranks) + 1) // 2)
    top = layout.bottom + layout.body + TITLE_RISE - 0.12
    height = min(3.9, top - 2.1 - legend_height)
    axes = figure.add_axes(layout.place(layout.spectra_left, top - height, SPECTRA_WIDTH, height))
    lowest = 0.05
    for number, rank in enumerate(ranks):
        style, colour = _STYLES[number // len(_COLOURS) % len(_STYLES)], _COLOURS[number % len(_COLOURS)]
        places = [place for place, _ in rank.spectrum]
        values = [value / rank.spectrum[0][1] for _, value in rank.spectrum]
        name = f"{rank.group}  {rank.kind}"
        axes.plot(places, values, color=colour, linestyle=style, linewidth=1.5, label=name)
        last = max(n for n, place in enumerate(places) if place <= max(1, 0.95 * rank.full_rank))
        lowest = min(lowest, values[last] / 2)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(1, 1.04 * max(rank.full_rank for rank in ranks))
    axes.set_ylim(max(lowest, 1e-6), 1.3)
    axes.xaxis.set_major_formatter(lambda place, _: f"{place:g}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(lambda value, _: "")
    axes.grid(True, which="major", color=_TRACK, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=2, color=MUTED, labelsize=8)
    axes.set_xlabel("number of the singular value", fontsize=8, color=MUTED)
    for low in sorted({rank.lora_rank for rank in ranks if rank.lora_rank is not None})[:3]:
        axes.axvline(low, color=MUTED, linewidth=0.9, linestyle=(0, (2, 2)), zorder=0)
        axes.annotate(f"rank {low}", (low, 1.3), (3, -3), textcoords="offset points", va="top", fontsize=8, color=MUTED)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(MUTED)
    handles, names = axes.get_legend_handles_labels()
    axes.legend(
        handles[: 2 * LEGEND_LINES],
        names[: 2 * LEGEND_LINES],
        loc="upper left",
        bbox_to_anchor=(0, -0.45 / height),
        ncols=2,
        frameon=False,
        fontsize=8,
        borderaxespad=0,
        borderpad=0,
        handlelength=2.4,
    )
    return top - height - 0.45 - legend_height


def _bare(axes: "Axes") -> None:
    axes.tick_params(length=0, pad=4)
    for spine in axes.spines.values():
        spine.set_visible(False)
