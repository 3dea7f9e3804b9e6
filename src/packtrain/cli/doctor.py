"""`packtrain doctor`: finds what would fail hours later."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packtrain.cli.examples import examples
from packtrain.cli.findings import STYLES, print_findings
from packtrain.cli.options import Json, print_json

if TYPE_CHECKING:
    from packtrain.pipeline.doctor.diagnosis import Diagnosis

EXAMPLE = examples(
    "packtrain doctor",
    "packtrain doctor llama-7b-hf/",
    "packtrain doctor tuned/ --template tulu",
    "packtrain doctor --recipe tulu-7b",
    "packtrain doctor --recipe alpaca-7b --data alpaca/ --out tuned/ base.path=llama-7b-hf train.lr=1e-5",
)


def doctor(
    model: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL] [KEY=VALUE]...",
            help="A model folder or Hub id (default: the recipe's base), and values of the recipe to change.",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="The model is the base that this recipe trains: a name (packtrain ls) or a YAML file."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Training data: a conversation file, or a folder with train.jsonl.")
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(help="A prompt format or .jinja file; default: the recipe's, else the one in the model folder."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where training would write: is there room?")] = None,
    as_json: Json = False,
) -> None:
    """Find what would fail hours later, in seconds: installation, recipe, special tokens, prompt format, data, disk.

    With nothing named the installation alone is looked at; with a recipe all that it asks for, whether its base is here
    or not; a model without a recipe as it would be used. Exits with 1 when there is an error; docs/doctor.md says what
    each check is about.
    """
    from packtrain.core.errors import UserError
    from packtrain.pipeline.doctor.diagnosis import Asked, diagnose_all

    words = list(model or ())
    named = words.pop(0) if words and "=" not in words[0] else None
    if recipe is None and words:
        raise UserError(f"{words[0]} changes a recipe, and there is none", "name one: --recipe alpaca-7b")
    diagnosis = diagnose_all(Asked(named, recipe, words, data, template, out))
    if as_json:
        print_json(diagnosis.as_json())
    else:
        _print(diagnosis)
    if diagnosis.count("error"):
        raise typer.Exit(1)


def _print(diagnosis: "Diagnosis") -> None:
    """Part by part on stdout; beside a recipe the installation is told in brief: what is well there is counted."""
    width = max((len(one.check) for part in diagnosis.parts for one in part.findings), default=0)
    for part in diagnosis.parts:
        print(f"{part.name} {part.of}".strip())
        brief = part.name == "installation" and len(diagnosis.parts) > 1
        well = sum(one.severity == "fine" for one in part.findings)
        print_findings([one for one in part.findings if not brief or one.severity != "fine"], width)
        if brief:
            print(f"{'fine':8}{well} more: packtrain doctor")
    errors, warnings, fine = (diagnosis.count(severity) for severity in STYLES)
    print(f"{_counted(errors, 'error')}, {_counted(warnings, 'warning')}, {fine} fine")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
