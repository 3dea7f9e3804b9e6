"""`packtrain doctor`: finds what would fail hours later."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packtrain.cli.options import Json, print_json

if TYPE_CHECKING:
    from packtrain.core.recipe import Recipe
    from packtrain.train.doctor_checks import Finding
    from packtrain.train.examined import Examined

EXAMPLE = (
    "Examples: packtrain doctor llama-7b-hf/; packtrain doctor tuned/ --template tulu; "
    "packtrain doctor --recipe alpaca-7b --data alpaca/ --out tuned/ base.path=llama-7b-hf train.lr=1e-5"
)
MAX_LENGTH_TOKENS = 2048
"""Of data that are looked at without a recipe, where the model's context is not shorter."""
_STYLES = {"error": "red", "warning": "yellow", "fine": "dim"}


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
    """Find what would fail hours later, in seconds: special tokens, prompt format, weights, data, disk.

    Without a recipe the model is looked at as it would be used. Exits with 1 when there is an error; docs/doctor.md
    says what each check is about.
    """
    from dataclasses import asdict, replace

    from packtrain.core.engine import split_engine
    from packtrain.core.errors import UserError
    from packtrain.pipeline.train_recipe import load_fitting_recipe

    words = list(model or ())
    named = words.pop(0) if words and "=" not in words[0] else None
    loaded: Recipe | None = None
    if recipe is not None:
        _, overrides = split_engine(words)
        loaded = load_fitting_recipe(recipe, [*overrides, *([] if named is None else [f"base.path={named}"])])
    elif words:
        raise UserError(f"{words[0]} changes a recipe, and there is none", "name one: --recipe alpaca-7b")
    where = loaded.base.path if loaded else named
    if where is None:
        raise UserError("nothing to look at", "give a model folder, or --recipe NAME")
    file = _data_file(data)

    from packtrain.train.doctor import diagnose, load_checks
    from packtrain.train.examined import examined_folder
    from packtrain.train.stage import PAD_TOKENS
    from packtrain.weights.source import model_folder

    folder = model_folder(where)
    pad_token = PAD_TOKENS[loaded.family] if loaded else None
    examined = examined_folder(folder, recipe=loaded, template=template, pad_token=pad_token)
    examined = replace(_with_data(examined, file) if file else examined, out=out)
    findings = diagnose(examined, load_checks())
    errors = sum(finding.severity == "error" for finding in findings)
    if as_json:
        print_json({"model": str(folder), "errors": errors, "findings": [asdict(finding) for finding in findings]})
    else:
        _print_findings(where, findings)
    if errors:
        raise typer.Exit(1)


def _data_file(data: Path | None) -> Path | None:
    """The file of a data folder; UserError when there is none."""
    from packtrain.core.errors import UserError

    file = data / "train.jsonl" if data is not None and data.is_dir() else data
    if file is not None and not file.is_file():
        raise UserError(f"no training data at {file}", "make it with: packtrain data prepare")
    return file


def _with_data(examined: "Examined", file: Path) -> "Examined":
    """The same with the training data as training sees them; UserError for data that cannot be read."""
    from dataclasses import replace

    from packtrain.core.progress import say
    from packtrain.prompts.token_cache import Encoding, encode_file

    if examined.tokenizer is None or examined.template is None:
        lacks = "prompt format: --template NAME" if examined.template is None else "tokenizer that can be read"
        say(f"note: the data are not looked at without a {lacks}")
        return examined
    recipe = examined.recipe
    limit = min(examined.context_tokens or MAX_LENGTH_TOKENS, MAX_LENGTH_TOKENS)
    length, mode = (recipe.train.max_length_tokens, recipe.train.encoding) if recipe else (limit, "default")
    encoding = Encoding(examined.template, examined.tokenizer, length, "compat" if mode == "compat" else "default")
    return replace(examined, encoded=encode_file(file, encoding))


def _print_findings(where: str, findings: "list[Finding]") -> None:
    """Each finding on stdout, one line; errors and warnings with where they are and what to do about them."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Text(where, style="bold"), soft_wrap=True)
    width = max((len(one.check) for one in findings), default=0)
    for one in findings:
        console.print(
            Text.assemble((f"{one.severity:8}", _STYLES[one.severity]), f"{one.check:{width}}  {one.what}"),
            soft_wrap=True,
        )
        if one.severity != "fine":
            indent = " " * (8 + width + 2)
            console.print(Text(f"{indent}where: {one.where}\n{indent}mend: {one.mend}", style="dim"), soft_wrap=True)
    counts = {severity: sum(one.severity == severity for one in findings) for severity in _STYLES}
    console.print(
        f"{_counted(counts['error'], 'error')}, {_counted(counts['warning'], 'warning')}, {counts['fine']} fine"
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
