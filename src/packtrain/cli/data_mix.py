"""`packtrain data mix`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packtrain.cli.examples import examples
from packtrain.cli.options import Json, Overwrite, Processes, Resume, print_json

if TYPE_CHECKING:
    from packtrain.data.spool import SourceReport

EXAMPLE = examples(
    "packtrain data mix mine.yaml --out mine.jsonl",
    "# a shipped mixture; packtrain show tulu names the files that it reads",
    "packtrain data mix tulu --out tulu/ sources.dolly.path=dolly.jsonl",
)


def mix(
    mixture: Annotated[str, typer.Argument(help="A YAML file, or a shipped mixture: human, tulu (packtrain ls).")],
    out: Annotated[Path, typer.Option(help="FILE.jsonl, or a folder; mixture.json with the account is put beside it.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Values to change, such as sources.dolly.path=FILE or seed=7."),
    ] = None,
    jobs: Processes = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Put several data sets together: converted, cleaned, drawn, without repetitions, with an account of it all."""
    from packtrain.core.recipe_file import load_mixture
    from packtrain.data.mix import expected_rows
    from packtrain.data.mix import mix as run_mix

    loaded = load_mixture(mixture, overrides or ())
    report = run_mix(loaded, out, resume=resume, overwrite=overwrite, jobs=jobs)
    if as_json:
        print_json({"out": str(out), "name": loaded.name, **report.figures()})
        return
    expected = {name: expected_rows(name, source) for name, source in loaded.sources.items()}
    _print(loaded.title or loaded.name, out, report.sources, expected)


def _print(title: str, out: Path, sources: "dict[str, SourceReport]", expected: dict[str, int | None]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    total = sum(counts.train for counts in sources.values())
    whole = sum(number or 0 for number in expected.values())
    table = Table(title=Text(f"{title}: {out}"))
    for heading in (
        "source",
        "read",
        "dropped",
        "not drawn",
        "held out",
        "in the mixture",
        "share",
        "published",
        "share",
    ):
        table.add_column(heading, justify="left" if heading == "source" else "right")
    for name, counts in sources.items():
        number = expected[name]
        table.add_row(
            Text(name),
            f"{counts.read:,}",
            f"{counts.dropped.total():,}",
            f"{counts.not_drawn:,}",
            f"{counts.held_out:,}",
            f"{counts.train:,}",
            f"{100 * counts.train / max(1, total):.1f} %",
            "" if number is None else f"{number:,}",
            "" if number is None else f"{100 * number / whole:.1f} %",
        )
    table.add_section()
    each = sources.values()
    sums = (
        sum(counts.read for counts in each),
        sum(counts.dropped.total() for counts in each),
        sum(counts.not_drawn for counts in each),
        sum(counts.held_out for counts in each),
        total,
    )
    table.add_row("total", *(f"{number:,}" for number in sums), "", f"{whole:,}" if whole else "", "")
    Console().print(table)
