"""`packtrain evaluate show`: scores that were measured before, as a table, a figure, or files for the Hub."""

from pathlib import Path
from typing import Annotated

import typer

from packtrain.cli.examples import examples
from packtrain.cli.options import Json, Overwrite, print_json

EXAMPLE = examples(
    "packtrain evaluate show scores/ --compare tulu-7b,base/scores.json --figure scores.png --kind radar",
)


def show(
    scores: Annotated[Path, typer.Argument(help="scores.json, or the folder it is in.")],
    compare: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Published models and other scores.json beside, with commas.")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="PNG or SVG file for a figure.")] = None,
    kind: Annotated[str, typer.Option(help="bars: by column; radar: by group.")] = "bars",
    hub: Annotated[Path | None, typer.Option(help="Folder for .eval_results/ and model-index.yaml.")] = None,
    date: Annotated[
        str | None, typer.Option(help="Day of the evaluation for the Hub, as 2025-01-31; default: that of the upload.")
    ] = None,
    source_url: Annotated[str | None, typer.Option(help="Where the Hub's readers find the evaluation.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Show scores beside published ones, draw them, or write them as the Hub reads them."""
    from dataclasses import asdict

    from packtrain.core.folder import unknown
    from packtrain.core.progress import say
    from packtrain.evaluate.comparison import compared, lines, measured, read_model
    from packtrain.evaluate.figure import KINDS, write_figure
    from packtrain.evaluate.hub_entries import write_hub_entries
    from packtrain.evaluate.table import score_table

    chosen = next((each for each in KINDS if each == kind), None)
    if chosen is None:
        raise unknown("kind of figure", kind, KINDS)
    model, found = read_model(scores)
    others = compared([part.strip() for part in (compare or "").split(",") if part.strip()], model)
    rows = lines(found, others)
    if figure is not None:
        write_figure([measured(model, found), *others], figure, chosen, overwrite=overwrite)
        say(f"drawn: {figure}")
    written = []
    if hub is not None:
        written = write_hub_entries(found, model, hub, date=date, source_url=source_url, overwrite=overwrite)
        say(f"written: {', '.join(map(str, written))}")
    if as_json:
        record = {"model": model, "rows": [asdict(row) for row in rows], "figure": str(figure) if figure else None}
        print_json({**record, "hub": [str(path) for path in written]})
        return
    from rich.console import Console

    Console(highlight=False).print(score_table(found, model, others))
