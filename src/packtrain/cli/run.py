"""`packtrain run`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from packtrain.cli.findings import print_findings
from packtrain.cli.options import Json, Overrides, print_json, print_table

EXAMPLE = (
    "Examples: packtrain run alpaca-7b --work alpaca/ base.path=llama-7b-hf "
    "data.sources.stanford_alpaca.path=alpaca_data.json     packtrain run tulu-7b --work tulu/ --dry-run"
)


def run(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe (packtrain ls) or a YAML file.")],
    work: Annotated[Path, typer.Option(help="Folder for the outputs of all stages.")],
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done and why, then stop.")] = False,
    as_json: Json = False,
) -> None:
    """Run a whole recipe: data, training, diff, recovery, evaluation, card. Unchanged stages are skipped.

    What any stage lacks is told before the first begins. With --dry-run nothing is made or fetched; exits with 1 when
    something is missing.
    """
    from packtrain.core.engine import split_engine
    from packtrain.core.errors import UserError
    from packtrain.pipeline.doctor.wanted import load_recipe_here
    from packtrain.pipeline.run import run_recipe

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(
            "packtrain run works through the stages in one process, and several were started",
            "train on several GPUs with torchrun ... -m packtrain train, then run the other stages with this command",
        )
    engine, rest = split_engine(overrides or ())
    loaded = load_recipe_here(recipe, rest, fetch=not dry_run)
    report = run_recipe(loaded, work, dry_run=dry_run, engine=engine)
    if as_json:
        print_json(report.as_json())
    elif dry_run:
        print_table(f"would run: {work}", report.plan())
        amiss = [finding for finding in report.findings if finding.severity != "fine"]
        print_findings(amiss)
        if not amiss:
            print("nothing that the stages need is missing")
    else:
        print_table(f"run: {work}", report.rows())
    if report.has_errors:
        raise typer.Exit(1)
