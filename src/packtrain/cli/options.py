"""Options that several verbs share, and how results are printed."""

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with what an interrupted run left.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Jobs = Annotated[
    int | None, typer.Option("--jobs", min=1, help="Threads; default: one for each processor, 16 at most.")
]
Processes = Annotated[
    int | None, typer.Option("--jobs", min=1, help="Processes; default: one for each processor, when it pays.")
]
ShardSize = Annotated[
    str | None,
    typer.Option("--max-shard-size", help="Largest file, such as 2GB; default: as suits the model, 5GB at most."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Values of the YAML file to change, such as train.lr=1e-5."),
]


def byte_count(size: str | None) -> int | None:
    """Bytes of `500KB`, `1.5GB`, `2GiB` or a plain number; None for None; UserError for anything else."""
    from packtrain.core.errors import UserError

    if size is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(i?)B)?", size.strip(), re.IGNORECASE)
    if match is None or float(match[1]) <= 0:
        raise UserError(f"not a size: {size}", "sizes look like 500MB, 2GB or 1.5GiB")
    number, prefix, binary = match.groups()
    base = 1024 if binary else 1000
    return max(1, int(float(number) * base ** (" KMGT".index(prefix.upper()) if prefix else 0)))


def print_json(value: Any) -> None:
    """A result for machines, on stdout."""
    from packtrain.core.json_text import json_text

    sys.stdout.write(json_text(value, indent=2) + "\n")


def print_table(title: str, rows: list[tuple[str, str]]) -> None:
    """A result for people, on stdout: a name and a figure per row."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), show_header=False)
    for name, figure in rows:
        table.add_row(Text(name), Text(figure, overflow="fold"))
    Console().print(table)


def report_rows(report: Any) -> list[tuple[str, str]]:
    """The plain figures of a report (a dataclass), for a table."""
    from dataclasses import fields

    rows = []
    for field in fields(report):
        value = getattr(report, field.name)
        if isinstance(value, str | int | float | bool | Path):
            rows.append((field.name.replace("_", " "), _figure(field.name, value)))
    return rows


def _figure(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{100 * value:.6g} %" if name.startswith("share_") else f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
