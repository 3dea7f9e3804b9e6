"""`packtrain evaluate fetch`."""

from pathlib import Path
from typing import Annotated

import typer

from packtrain.cli.examples import examples
from packtrain.cli.options import Json, Overwrite, print_json

EXAMPLE = examples(
    "packtrain evaluate fetch --data data/",
    "packtrain evaluate fetch mmlu gsm --data data/",
)


def fetch(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Benchmarks, such as gsm; default: all.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder for the files; what is there already is kept.")] = None,
    from_mirror: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Fetch below this address instead, laid out as HOST/PATH (wget -x)."),
    ] = None,
    addresses: Annotated[
        bool, typer.Option("--addresses", help="Only print the addresses, to build a mirror: | wget -x -i -")
    ] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Bring the benchmarks' files from their public homes, checked by SHA-256; goes on after an interruption."""
    from packtrain.core.errors import UserError
    from packtrain.evaluate.fetch import fetch as bring
    from packtrain.evaluate.sources import chosen_sources

    chosen = chosen_sources(names or [])
    if addresses:
        print("\n".join(file.url for source in chosen for file in source.files))
        return
    if data is None:
        raise UserError("no folder for the files", "give --data DIR")
    reports = bring(data, chosen, mirror=from_mirror, overwrite=overwrite)
    if as_json:
        print_json({"data": str(data), "files": [_record(report) for report in reports]})
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"benchmark files in {data}"))
    for heading in ("benchmark", "state", "trusted by", "files", "licence"):
        table.add_column(heading, justify="right" if heading == "files" else "left")
    for source in chosen:
        mine = [report for report in reports if report.benchmark == source.name]
        states = [report.state for report in mine]
        state = states[0] if len(set(states)) == 1 else f"{states.count('fetched')} of {len(states)} fetched"
        trust = ", ".join(dict.fromkeys(report.trust for report in mine))
        count = sum(len(report.files) for report in mine)
        table.add_row(source.name, state, trust, str(count), Text(source.licence))
    Console().print(table)


def _record(report: object) -> dict[str, object]:
    from dataclasses import asdict, is_dataclass

    return asdict(report) if is_dataclass(report) and not isinstance(report, type) else {}
