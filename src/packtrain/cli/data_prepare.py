"""`packtrain data prepare`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from packtrain.cli.examples import examples
from packtrain.cli.options import Json, Overwrite, Processes, Resume, print_json, print_table

EXAMPLE = examples(
    "packtrain data prepare alpaca alpaca_data.json --out alpaca/ --held-out 200",
    "packtrain data prepare oasst1 trees.jsonl.gz --option languages=en,de --out oasst1.jsonl",
)


def prepare(
    format: Annotated[str, typer.Argument(help="The form of the raw data: alpaca, dolly, oasst1 ... (packtrain ls).")],
    path: Annotated[
        str,
        typer.Argument(
            help="The raw file (JSON, JSONL, CSV, Parquet, packed or not), a folder, or owner/name on the Hub."
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="FILE.jsonl, or a folder for train.jsonl, held_out.jsonl and dropped.jsonl.")
    ],
    name: Annotated[str | None, typer.Option(help="Name of the data set; default: the one that is usual.")] = None,
    held_out: Annotated[int, typer.Option(min=0, help="Conversations to keep out of training.")] = 0,
    max_examples: Annotated[int | None, typer.Option(min=1, help="At most so many conversations.")] = None,
    fraction: Annotated[float | None, typer.Option(help="This share of the conversations, above 0 to 1.")] = None,
    repeat: Annotated[int, typer.Option(min=1, help="How often each is in the output.")] = 1,
    wording: Annotated[
        str,
        typer.Option(
            help="Instruction and input: apart (laid out by the prompt template), plain, or random (28 ways)."
        ),
    ] = "apart",
    clean: Annotated[
        list[str] | None, typer.Option(help="Cleaning rule, or clean for all of them; several may be given.")
    ] = None,
    duplicates: Annotated[
        str, typer.Option(help="keep, exact (leave repetitions out), or near[:SIMILARITY].")
    ] = "keep",
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the format; several may be given.")
    ] = None,
    compat: Annotated[
        bool, typer.Option("--compat", help="Repeat Open-Instruct's converter of July 2023, bugs included; no checks.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Decides everything that is drawn.")] = 42,
    jobs: Processes = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Convert a raw data set to conversations, check every row, hold some out."""
    from packtrain.core.errors import UserError
    from packtrain.core.json_text import is_unicode
    from packtrain.core.recipe import Data
    from packtrain.core.recipe_file import validated
    from packtrain.data.format import open_format
    from packtrain.data.prepare import prepare as run_preparation
    from packtrain.data.sources import records_at

    form = open_format(format)
    if compat and (clean or wording != "apart" or duplicates != "keep"):
        raise UserError(
            "--compat repeats the original converter, which neither cleans nor compares and words at random",
            "leave out --clean, --wording and --duplicates, or leave out --compat",
        )
    source: dict[str, Any] = {
        "format": form.name,
        "path": path,
        "max_examples": max_examples,
        "fraction": fraction,
        "repeat": repeat,
        "wording": wording,
        "clean": clean or [],
        "options": options_given(option or []),
    }
    dataset = form.about.dataset if name is None else name
    if not dataset.strip() or not is_unicode(dataset):
        raise UserError(f"not a name for a data set: {dataset!r}", "give some letters")
    section = {"sources": {dataset: source}, "held_out": held_out, "duplicates": duplicates}
    data = validated(Data, section, "these options", "see packtrain data prepare --help")
    report = run_preparation(data, out, seed=seed, resume=resume, overwrite=overwrite, compat=compat, jobs=jobs)
    alternatives = form.alternatives(records_at(path, form.about.files)) if form.compares and path != "-" else {}
    if as_json:
        print_json({"out": str(out), **report.figures(), "alternatives": alternatives})
        return
    [counts] = report.sources.values()
    rows = [("read", f"{counts.read:,}"), ("to train on", f"{counts.train:,}"), ("held out", f"{counts.held_out:,}")]
    rows += [("not drawn", f"{counts.not_drawn:,}")] if counts.not_drawn else []
    rows += [("of these, copies", f"{counts.repeated:,}")] if counts.repeated else []
    rows += [(f"mended: {rule}", f"{number:,}") for rule, number in counts.mended.most_common()]
    rows += [(f"dropped: {reason}", f"{number:,}") for reason, number in counts.dropped.most_common()]
    rows += [(f"before checks, with {given}", f"{number:,}") for given, number in alternatives.items()]
    if form.about.rows is not None:
        rows.append((f"the whole of {form.about.title} has", f"{form.about.rows:,}"))
    print_table(f"prepared: {out}", rows)


def options_given(pairs: list[str]) -> dict[str, str]:
    """The `KEY=VALUE` pairs as a mapping; UserError for something else."""
    from packtrain.core.errors import UserError

    given = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UserError(f"not an option of a format: {pair!r}", "options look like --option languages=en,de")
        if key in given:
            raise UserError(f"--option {key} is given twice", "give each once; lists look like languages=en,de")
        given[key] = value
    return given
