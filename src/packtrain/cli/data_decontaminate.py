"""`packtrain data decontaminate`: find, and remove, what repeats the evaluation sets."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packtrain.cli.examples import examples
from packtrain.cli.options import Json, Overwrite, print_json

if TYPE_CHECKING:
    from packtrain.data.overlap.decontaminate import ContaminationReport

EXAMPLE = examples(
    "packtrain data decontaminate mixed.jsonl --against evaluation-data/ --out overlaps.jsonl --remove clean.jsonl",
)


def decontaminate(
    file: Annotated[Path, typer.Argument(help="A conversation file.")],
    against: Annotated[
        Path,
        typer.Option(help="The folder of evaluation data, or one file of questions (JSON lines, a JSON list, CSV)."),
    ],
    ngram: Annotated[int, typer.Option(help="Words in a row that must be the same.")] = 13,
    out: Annotated[Path | None, typer.Option(help="File for what overlaps with what, one line for each.")] = None,
    remove: Annotated[
        Path | None, typer.Option(help="File for the records that remain; the others go to REMOVE.dropped.jsonl.")
    ] = None,
    remove_against: Annotated[
        list[str] | None,
        typer.Option(help="Remove overlaps with this benchmark only (repeat it); default: all that models score on."),
    ] = None,
    min_coverage: Annotated[
        float, typer.Option(help="Remove only what holds this share of an item's n-grams, 0 to 1.")
    ] = 0.0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Find training records that repeat questions of the evaluation sets, and remove them if asked."""
    from packtrain.data.overlap.decontaminate import decontaminate as run_comparison

    report = run_comparison(
        file,
        against,
        ngram_words=ngram,
        out=out,
        clean=remove,
        remove_against=remove_against or (),
        min_coverage=min_coverage,
        overwrite=overwrite,
    )
    if as_json:
        print_json(report.figures())
        return
    _print(report, file, removing=remove is not None)


def _print(report: "ContaminationReport", file: Path, *, removing: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    title = f"{file.name}: {report.overlapping:,} of {report.read:,} records overlap"
    table = Table(title=Text(f"{title}, {report.removed:,} removed" if removing else title))
    for heading in ("benchmark", "items", "unchecked", "items hit", "records", "hold half", "remove"):
        table.add_column(heading, justify="left" if heading == "benchmark" else "right")
    for found in report.benchmarks:
        figures = (found.items, found.unchecked, len(found.items_hit), found.records.total(), found.mostly.total())
        verdict = ("yes" if found.removes else "no") if removing else "-"
        table.add_row(Text(found.name), *(f"{figure:,}" for figure in figures), verdict)
    Console().print(table)
