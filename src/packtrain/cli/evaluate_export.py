"""`packtrain evaluate export-lm-eval`."""

from pathlib import Path
from typing import Annotated

import typer

from packtrain.cli.evaluate_options import (
    Data,
    Full,
    Limit,
    ProfileName,
    TemplateName,
    bare_or_format,
    profile_named,
)
from packtrain.cli.examples import examples
from packtrain.cli.options import Json, Overwrite, print_json, print_table

EXAMPLE = examples("packtrain evaluate export-lm-eval tasks/ --data benchmarks/ --template tulu --tokenizer tuned/")


def export_lm_eval(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the tasks.")],
    data: Data,
    columns: Annotated[
        list[str] | None, typer.Argument(metavar="[COLUMN]...", help="Columns; default: all that need no judge.")
    ] = None,
    template: TemplateName = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Model whose tokenizer measures lengths; without it nothing is shortened.")
    ] = None,
    profile: ProfileName = "paper-2023",
    full: Full = False,
    limit: Limit = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write the columns as tasks of lm_eval 0.4.13: the same prompts, the same grading, no Hub."""
    from packtrain.evaluate.export_lm_eval import export_lm_eval as export
    from packtrain.evaluate.export_lm_eval import exportable

    shown, measured = bare_or_format(template, tokenizer)
    counts = export(
        out,
        data,
        exportable(columns or []),
        template=shown,
        tokenizer=measured,
        profile=profile_named(profile),
        full=full,
        limit=limit,
        overwrite=overwrite,
    )
    if as_json:
        print_json({"out": str(out), "tasks": counts})
    else:
        print_table(f"lm_eval tasks in {out}", [(name, f"{count:,} items") for name, count in counts.items()])
