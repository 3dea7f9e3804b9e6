"""How `packtrain data stats` is printed: tables with one row per data set, and what is remarkable."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from packtrain.data.inspection.visible_text import harmless

if TYPE_CHECKING:
    from packtrain.data.about import About
    from packtrain.data.statistics.statistics import SetStatistics, Statistics

_LONGEST_SHOWN = 5
_TOTAL = "total"
_PAPER = "  arXiv 2306.04751"


def print_statistics(found: "Statistics", published: "dict[str, About]") -> None:
    """The whole report on stdout, with the published figures below the data sets that have some."""
    console = Console(highlight=False)
    if not console.is_terminal:  # in a file nothing needs to be cut to eighty columns
        console = Console(highlight=False, width=max(console.width, 120))
    console.print(_size_table(found, published))
    console.print(_length_table(found))
    console.print(_longer_table(found))
    if found.max_length_tokens is not None:
        console.print(_training_table(found))
    for line in _remarks(found):
        console.print(Text(line), soft_wrap=True)


def _table(title: str, columns: Sequence[str]) -> Table:
    """A table whose first column is words, the others figures; narrow, so that a terminal of 80 columns holds it."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(columns[0], overflow="fold")
    for column in columns[1:]:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _sets(found: "Statistics") -> "list[tuple[str, SetStatistics]]":
    """Name and figures of each row; a total only where it is not the only row."""
    named = [(harmless(name), figures) for name, figures in found.datasets.items()]
    return named if len(named) == 1 else [*named, (_TOTAL, found.total)]


def _size_table(found: "Statistics", published: "dict[str, About]") -> Table:
    table = _table(
        f"size; mean length of a turn in {found.unit} and in characters",
        ["data set", "N", "rounds", "prompt", "completion", "prompt\nchars", "compl.\nchars", "size"],
    )
    known = {harmless(name): about for name, about in published.items()}
    for name, figures in _sets(found):
        table.add_row(
            Text(name),
            f"{figures.conversations:,}",
            _mean(figures.mean_rounds, 2),
            _mean(figures.prompts.mean),
            _mean(figures.completions.mean),
            _ratio(figures.prompt_characters, figures.prompts.count),
            _ratio(figures.completion_characters, figures.completions.count),
            _bytes(figures.bytes),
        )
        about = known.get(name)
        if about is not None and found.unit == "tokens" and figures is not found.total:
            means = [_mean(mean) for mean in (about.rounds, about.prompt_tokens, about.completion_tokens)]
            table.add_row(Text(_PAPER), _count(about.rows), *means, "", "", "", style="dim")
    return table


def _length_table(found: "Statistics") -> Table:
    layout = (
        "prompts and completions alone" if found.template is None else f"in the template {harmless(found.template)}"
    )
    table = _table(
        f"length of a conversation in {found.unit}, {layout}",
        ["data set", "mean", "5 %", "median", "90 %", "95 %", "99 %", "longest"],
    )
    for name, figures in _sets(found):
        values = figures.length.percentiles()
        shown = [_count(values.get(percentile)) for percentile in ("5", "50", "90", "95", "99", "max")]
        table.add_row(Text(name), _mean(figures.length.mean), *shown)
    return table


def _longer_table(found: "Statistics") -> Table:
    limits = found.total.longer_than(found.total.length)
    table = _table(f"conversations of more {found.unit} than", ["data set", *limits])
    for name, figures in _sets(found):
        table.add_row(Text(name), *map(_count, figures.longer_than(figures.length).values()))
    return table


def _training_table(found: "Statistics") -> Table:
    table = _table(
        f"training with at most {found.max_length_tokens:,} tokens",
        ["data set", "examples", "tokens", "learnt", "cut", "EOS\nlost", "rounds\nlost", "left\nout"],
    )
    for name, figures in _sets(found):
        seen = figures.training
        if seen is None:
            continue
        table.add_row(
            Text(name),
            f"{seen.examples:,}",
            f"{seen.tokens:,}",
            f"{100 * seen.learnt_tokens / seen.tokens:.1f} %" if seen.tokens else "",
            *map(_count, (seen.cut_at_limit, seen.eos_lost, seen.rounds_lost, seen.left_out.total())),
        )
    return table


def _remarks(found: "Statistics") -> list[str]:
    total = found.total
    left_out = total.training.left_out.most_common() if total.training else []
    lines = [f"left out of training, {harmless(reason)}: {count:,}" for reason, count in left_out]
    lines += [
        f"conversations with {harmless(token)}, a control token, in their text: {count:,}"
        for token, count in total.control_tokens.most_common()
    ]
    longest = total.longest.figures()
    named = [f"{entry['dataset']}/{entry['id']} ({entry['length']:,})" for entry in longest[:_LONGEST_SHOWN]]
    if len(longest) > _LONGEST_SHOWN:
        named.append(f"... (--json names {len(longest)})")
    return [*lines, f"longest: {', '.join(map(harmless, named))}"] if named else lines


def _mean(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _ratio(amount: int, count: int) -> str:
    return _mean(amount / count if count else None)


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _bytes(count: int) -> str:
    """`512 B`, `1.4 kB`, `52.1 MB`."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} GB"
