"""`packtrain data diversity`: what instructions ask for, as a table, a figure and a page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packtrain.cli.examples import examples
from packtrain.cli.options import Json, Overwrite, print_json

if TYPE_CHECKING:
    from packtrain.data.diversity.count import DiversityReport

EXAMPLE = examples("packtrain data diversity alpaca/train.jsonl --out diversity.png --out diversity.html")


def diversity(
    path: Annotated[Path, typer.Argument(help="A conversation file; the first user message is the instruction.")],
    out: Annotated[
        list[Path] | None,
        typer.Option(help="Draw it: a .png, .svg or .html file (a page to look around in); may be given repeatedly."),
    ] = None,
    top_verbs: Annotated[int, typer.Option(min=1, max=100, help="Root verbs to show.")] = 20,
    top_objects: Annotated[int, typer.Option(min=1, max=20, help="Direct objects to show for each verb.")] = 4,
    parser: Annotated[
        str,
        typer.Option(help="spacy, lexicon (our own, English only), or auto: spaCy where a model of it is installed."),
    ] = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Count the root verbs of instructions and their direct objects, as in Self-Instruct and Alpaca."""
    from packtrain.core.conversation import read_conversations
    from packtrain.core.errors import UserError
    from packtrain.core.progress import say
    from packtrain.data.diversity.count import count_diversity
    from packtrain.data.diversity.output import check_output, write_output
    from packtrain.data.diversity.parser import open_parser

    outputs = list(dict.fromkeys(out or []))
    for each in outputs:
        check_output(each, overwrite=overwrite)
    opened = open_parser(parser)
    report = count_diversity(read_conversations(path), opened, examples=3 if outputs else 0)
    if not report.instructions:
        raise UserError(f"{path}: no instruction in it", "give a conversation file with messages of the user")
    for each in outputs:
        write_output(report, each, _name_of(path), verbs=top_verbs, objects=top_objects, overwrite=overwrite)
        say(f"drawn: {each}")
    if as_json:
        print_json(report.figures(top_verbs, top_objects))
    else:
        _print_report(report, path, top_verbs, top_objects)


def _name_of(path: Path) -> str:
    """What titles call the file: with its folder's name, as `train.jsonl` alone says little."""
    return "/".join(path.resolve().parts[-2:])


def _print_report(report: "DiversityReport", path: Path, top_verbs: int, top_objects: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from packtrain.data.inspection.visible_text import harmless

    table = Table(title=Text(f"what {_instructions(report.instructions)} for: {harmless(str(path))}"))
    table.add_column("root verb")
    table.add_column("instructions", justify="right")
    table.add_column("share", justify="right")
    table.add_column("most frequent direct objects", overflow="fold")
    for verb in report.top(top_verbs, top_objects):
        objects = ", ".join(f"{each.object} {100 * report.share(each.count):.1f} %" for each in verb.objects)
        table.add_row(Text(verb.verb), f"{verb.count:,}", f"{100 * report.share(verb.count):.1f} %", Text(objects))
    console = Console()
    console.print(table)
    counts = (
        ("with verb and object", report.with_both),
        ("with a verb only", report.verb_only),
        ("without a verb", report.without_verb),
    )
    parts = [f"{name} {count:,} ({100 * report.share(count):.1f} %)" for name, count in counts]
    parts += [f"{len(report.verbs):,} verbs, {report.pairs:,} pairs", f"parser: {report.parser}"]
    console.print(Text("; ".join(parts)), soft_wrap=True)


def _instructions(count: int) -> str:
    return f"{count:,} instruction asks" if count == 1 else f"{count:,} instructions ask"
