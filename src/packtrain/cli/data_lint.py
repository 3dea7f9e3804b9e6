"""`packtrain data lint`: named rules for the known faults of instruction data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packtrain.cli.examples import examples
from packtrain.cli.options import Json, Overwrite, print_json

if TYPE_CHECKING:
    from rich.text import Text

    from packtrain.data.lint import Finding, LintReport, LintRule

EXAMPLE = examples(
    "packtrain data lint alpaca/train.jsonl --show 3",
    "packtrain data lint mine.jsonl --rule merged_item --rule wrong_arithmetic --strict",
)
_STYLES = {"error": "red", "warning": "yellow", "note": "dim"}


def lint(
    path: Annotated[Path, typer.Argument(help="A file of conversations, such as train.jsonl.")],
    rule: Annotated[
        list[str] | None, typer.Option(help="Only this rule, by its name in the table; may be given several times.")
    ] = None,
    show: Annotated[int, typer.Option(min=0, help="Print so many examples of each rule, the fault marked.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Write every finding to this file, one JSON object per line.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 when a rule of severity error finds anything.")
    ] = (False),
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Find faulty records: cut off, merged, looping, placeholders, wrong sums, duplicates and more."""
    from dataclasses import asdict

    from packtrain.data.lint import EXAMPLES, lint_file, load_lint_rules

    rules = load_lint_rules(rule or ())
    report = lint_file(path, rules, examples=max(show, EXAMPLES), out=out, overwrite=overwrite)
    found = [one for one in rules if report.counts[one.name]]
    if as_json:
        entries = {
            one.name: {
                "severity": one.severity,
                "what": one.what,
                "mend": one.mend,
                "records": report.counts[one.name],
                "examples": [asdict(finding) for finding in report.examples[one.name][: max(show, EXAMPLES)]],
            }
            for one in rules
        }
        print_json({"records": report.records, "rules": entries})
    else:
        _print_report(report, rules, found, path, show)
    if strict and any(one.severity == "error" for one in found):
        raise typer.Exit(1)


def _print_report(
    report: "LintReport", rules: "tuple[LintRule, ...]", found: "list[LintRule]", path: Path, show: int
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from packtrain.data.inspection.visible_text import harmless

    console = Console(highlight=False)
    if not console.is_terminal:  # in a file nothing needs to be cut to eighty columns
        console = Console(highlight=False, width=max(console.width, 120))
    if found:
        table = Table(title=Text(f"{harmless(str(path))}: {_records(report.records)}"), title_justify="left")
        table.add_column("rule", no_wrap=True)
        table.add_column("severity", no_wrap=True)
        table.add_column("records", justify="right", no_wrap=True)
        table.add_column("share", justify="right", no_wrap=True)
        table.add_column("first", overflow="fold")
        for one in found:
            count = report.counts[one.name]
            ids = ", ".join(harmless(finding.id) for finding in report.examples[one.name][:3])
            severity = Text(one.severity, style=_STYLES[one.severity])
            table.add_row(one.name, severity, f"{count:,}", f"{100 * count / report.records:.2f} %", Text(ids))
        console.print(table)
    clean = len(rules) - len(found)
    console.print(f"{_records(report.records)}, {len(rules)} rules, {clean} of them found nothing")
    for one in found if show else []:
        console.print()
        console.print(Text.assemble((one.name, "bold"), f": {one.what}"), soft_wrap=True)
        console.print(Text(f"mend: {one.mend}"), soft_wrap=True)
        for finding in report.examples[one.name][:show]:
            console.print(_example(finding), soft_wrap=True)


def _records(count: int) -> str:
    return f"{count:,} record" if count == 1 else f"{count:,} records"


def _example(finding: "Finding") -> "Text":
    """One line: where it is, what is wrong, and the text with the fault marked by arrows and in colour."""
    from rich.text import Text

    from packtrain.data.inspection.visible_text import harmless

    about = f"{finding.what}: " if finding.what else ""
    marks = ("»", "«") if finding.marked else ("", "")
    return Text.assemble(
        f"  {harmless(finding.id)} message {finding.message}: {harmless(about)}{harmless(finding.before)}",
        (f"{marks[0]}{harmless(finding.marked)}{marks[1]}", _STYLES[finding.severity]),
        harmless(finding.after),
    )
