"""Options that several verbs share, and how results are printed."""

import json
import sys
from typing import Annotated, Any

import typer

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with what an interrupted run left.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Recipe values to change, such as train.lr=1e-5.")
]


def print_json(value: Any) -> None:
    """A result for machines, on stdout."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def print_table(title: str, rows: list[tuple[str, str]]) -> None:
    """A result for people, on stdout: a name and a figure per row."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), show_header=False)
    for name, figure in rows:
        table.add_row(Text(name), Text(figure, overflow="fold"))
    Console().print(table)
