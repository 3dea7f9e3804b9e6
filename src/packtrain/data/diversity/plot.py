"""The diversity of instructions as a figure: root verbs in the inner ring, their direct objects in the outer one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import cos, degrees, pi, sin
from pathlib import Path
from typing import TYPE_CHECKING

from packtrain.core.figure_file import check_figure_file, write_figure_file
from packtrain.data.diversity.colours import ink_on, tint, wheel
from packtrain.data.diversity.count import DiversityReport, VerbCount

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _MUTED = "#222222", "#6b6b6b"
_DOTS_PER_INCH = 100
_HOLE, _VERBS, _OBJECTS = 1.15, 2.95, 3.45
"""Radii in inches: of the hole, of the ring of verbs, of the ring of objects."""
_LABEL = _OBJECTS + 0.26
_LABEL_POINTS, _SMALLEST_POINTS, _LARGEST_POINTS = 9.5, 5.5, 13.0
_LINE = 1.22 * _LABEL_POINTS / 72
"""Inches from one label to the next."""
_LETTER_PER_POINT = 0.6 / 72
"""Inches of a letter, on average and a little more, for each point of its size."""
_LONGEST = 24
"""Letters of a word that are shown."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a ring; angles in radians, clockwise from the top."""

    label: str
    count: int
    begin: float
    end: float

    @property
    def middle(self) -> float:
        """Angle of its middle."""
        return (self.begin + self.end) / 2


def check_figure(path: Path, overwrite: bool) -> None:
    """Raise UserError when a figure cannot be written to `path`: before anything is counted."""
    check_figure_file(path, overwrite, otherwise="give --out a name in .html")


def write_figure(
    report: DiversityReport, path: Path, name: str, *, verbs: int = 20, objects: int = 4, overwrite: bool = False
) -> None:
    """Draw the figure and write it whole to `path`, as its suffix says; `name` is what was counted.

    UserError as `check_figure` has it.
    """
    check_figure(path, overwrite)
    write_figure_file(path, lambda: draw(report, name, verbs=verbs, objects=objects), dots_per_inch=_DOTS_PER_INCH)


def rings(report: DiversityReport, verbs: Sequence[VerbCount]) -> Iterator[tuple[Slice, list[Slice]]]:
    """The slice of each verb with those of its objects; a verb is as wide as the objects that are shown.

    Beside the verb stands its share of all instructions, whatever their objects.
    """
    total = sum(verb.shown for verb in verbs)
    done = 0
    for verb in verbs:
        begin = done
        outer = []
        for each in verb.objects:
            outer.append(Slice(each.object, each.count, 2 * pi * done / total, 2 * pi * (done + each.count) / total))
            done += each.count
        label = f"{_cut(verb.verb)}  {100 * report.share(verb.count):.1f} %"
        yield Slice(label, verb.shown, 2 * pi * begin / total, 2 * pi * done / total), outer


def spread(angles: Sequence[float], gap: float) -> list[float]:
    """Ascending angles moved as little as possible (least squares), so that all are `gap` apart around the circle.

    Isotonic regression of the angles less their ranks' gaps: neighbours that are too near are pooled.
    """
    pools: list[tuple[float, int]] = []
    for rank, angle in enumerate(angles):
        mean, size = angle - rank * gap, 1
        while pools and pools[-1][0] > mean:
            before, more = pools.pop()
            mean, size = (before * more + mean * size) / (size + more), size + more
        pools.append((mean, size))
    last = 2 * pi - len(angles) * gap
    low = -gap / 2
    offsets = [min(max(mean, low), low + max(last, 0.0)) for mean, size in pools for _ in range(size)]
    return [offset + rank * gap for rank, offset in enumerate(offsets)]


def draw(report: DiversityReport, name: str, *, verbs: int = 20, objects: int = 4) -> "Figure":
    """The figure: as wide as its labels ask for."""
    from matplotlib.figure import Figure

    top = report.top(verbs, objects)
    found = list(rings(report, top))
    crowded = {inner.label for inner, _ in found if _verb_points(inner) < _SMALLEST_POINTS}
    labels = _labels(found, crowded)
    longest = max((len(text) for text, _ in labels), default=0)
    reach = _LABEL + _LETTER_PER_POINT * _LABEL_POINTS * longest + 0.1
    width, height = 2 * reach, 2 * reach + 1.45
    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.add_axes((0.0, 0.45 / height, 1.0, 2 * reach / height))
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    axes.set_axis_off()
    for (inner, outer), colour in zip(found, wheel(len(found)), strict=True):
        _draw_slice(axes, inner, _HOLE, _VERBS, colour)
        if inner.label not in crowded:
            ink = ink_on(colour)
            _write_radially(axes, inner.middle, _VERBS - 0.1, inner.label, _verb_points(inner), ink, inward=True)
        for rank, each in enumerate(outer):
            _draw_slice(axes, each, _VERBS, _OBJECTS, tint(colour, min(0.3 + 0.15 * rank, 0.75)))
    _write_labels(axes, labels)
    _write_texts(axes, figure, report, top, name)
    return figure


def _verb_points(inner: Slice) -> float:
    """Size of the letters of a verb, so that they keep within the slice: along it, and across where they end inside."""
    per_radius = 72 * 0.92 * (inner.end - inner.begin)
    length = _LETTER_PER_POINT * len(inner.label)
    across = per_radius * (_VERBS - 0.1) / (1 + per_radius * length)
    return min(across, (_VERBS - _HOLE - 0.2) / length, _LARGEST_POINTS)


def _labels(found: Sequence[tuple[Slice, list[Slice]]], crowded: set[str]) -> list[tuple[str, Slice]]:
    """Texts of the outer labels in their order; the smallest slices go without where not all find room."""
    every = []
    for inner, outer in found:
        for each in outer:
            verb = f"{inner.label.split()[0]} " if inner.label in crowded else ""
            every.append((f"{verb}{_cut(each.label)}  {each.count:,}", each))
    room = int(2 * pi * _LABEL / _LINE)
    kept = {id(each) for _, each in sorted(every, key=lambda pair: -pair[1].count)[:room]}
    return [(text, each) for text, each in every if id(each) in kept]


def _cut(word: str) -> str:
    return word if len(word) <= _LONGEST else word[: _LONGEST - 1] + "…"


def _draw_slice(axes: "Axes", part: Slice, inside: float, outside: float, colour: str) -> None:
    from matplotlib.patches import Wedge

    angles = 90 - degrees(part.end), 90 - degrees(part.begin)
    axes.add_patch(
        Wedge((0, 0), outside, *angles, width=outside - inside, facecolor=colour, edgecolor="white", linewidth=0.8)
    )


def _write_labels(axes: "Axes", labels: Sequence[tuple[str, Slice]]) -> None:
    """Names and counts of the objects around the rings, each with a line to its slice."""
    places = spread([each.middle for _, each in labels], _LINE / _LABEL)
    for (text, each), place in zip(labels, places, strict=True):
        bends = ((_OBJECTS + 0.02, each.middle), (_OBJECTS + 0.08, each.middle), (_LABEL - 0.04, place))
        points = [(radius * sin(angle), radius * cos(angle)) for radius, angle in bends]
        axes.plot(*zip(*points, strict=True), color="#b5b5b5", linewidth=0.6, solid_capstyle="round")
        _write_radially(axes, place, _LABEL, text, _LABEL_POINTS, _INK, inward=False)


def _write_radially(
    axes: "Axes", angle: float, radius: float, text: str, points: float, colour: str, *, inward: bool
) -> None:
    """Text along a radius, never upside down; it ends at `radius` when it goes inward, else it begins there."""
    right = sin(angle) >= 0
    axes.text(
        radius * sin(angle),
        radius * cos(angle),
        text,
        rotation=90 - degrees(angle) + (0 if right else 180),
        rotation_mode="anchor",
        ha="left" if right != inward else "right",
        va="center_baseline",
        fontsize=points,
        color=colour,
        parse_math=False,
    )


def _write_texts(axes: "Axes", figure: "Figure", report: DiversityReport, top: Sequence[VerbCount], name: str) -> None:
    """Title, what the figure covers, and how it was counted."""
    shown = sum(verb.shown for verb in top)
    height = figure.get_figheight()

    def line(inches_from_top: float, text: str, points: float, colour: str) -> None:
        place = 1 - inches_from_top / height
        figure.text(0.5, place, text, ha="center", va="center", fontsize=points, color=colour, parse_math=False)

    line(0.38, f"What {report.instructions:,} instructions ask for: {name}", 17, _INK)
    covered = f"{shown:,} instructions, {100 * report.share(shown):.1f} % of all"
    most = max((len(verb.objects) for verb in top), default=0)
    line(0.76, f"the {len(top)} most frequent root verbs and their top {most} direct objects: {covered}", 11, _MUTED)
    rest = (
        f"{100 * report.share(report.with_both):.1f} % have a verb and an object, "
        f"{100 * report.share(report.verb_only):.1f} % a verb only   ·   "
        f"{len(report.verbs):,} verbs with objects, {report.pairs:,} pairs   ·   parser: {report.parser}"
    )
    line(
        height - 0.48,
        "beside a verb: its share of all instructions, with any object; beside an object: instructions",
        9,
        _MUTED,
    )
    line(height - 0.25, rest, 9, _MUTED)
    axes.text(0, 0.12, f"{100 * report.share(shown):.1f} %", ha="center", va="center", fontsize=24, color=_INK)
    axes.text(0, -0.28, "of all instructions\nare shown", ha="center", va="center", fontsize=9, color=_MUTED)
