"""`packtrain demo`."""

from pathlib import Path
from typing import Annotated

import typer

from packtrain.cli.examples import examples
from packtrain.cli.options import Json, Overwrite, print_json

EXAMPLE = examples("packtrain demo --work demo/")


def demo(
    work: Annotated[Path, typer.Option(help="Folder for everything that the demo makes.")] = Path("packtrain-demo"),
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Run the whole pipeline offline on the embedded tiny model, in a few minutes on two cores."""
    from rich.console import Console

    from packtrain.pipeline.demo import demo_table, run_demo, transcript_table

    report = run_demo(work, overwrite=overwrite)
    if as_json:
        print_json(report.as_json())
    else:
        console = Console()
        console.print(transcript_table(report))
        console.print(demo_table(report))
        print(report.verdict())
    raise typer.Exit(0 if report.passed else 1)
