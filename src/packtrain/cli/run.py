"""`packtrain run`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from packtrain.cli.evaluate_options import Budget, JudgeName, PriceIn, PriceOut
from packtrain.cli.examples import examples
from packtrain.cli.findings import print_findings
from packtrain.cli.options import Json, Overrides, print_json, print_table

EXAMPLE = examples(
    "packtrain run alpaca-7b --work alpaca/ base.path=llama-7b-hf data.sources.stanford_alpaca.path=alpaca_data.json",
    "packtrain run tulu-7b --work tulu/ --dry-run",
    "# training on two nodes, the first of them node1; all see the folder",
    "export MEETING='--rdzv_backend c10d --rdzv_endpoint node1:29500'",
    'packtrain run tulu-65b --work tulu/ --launch "srun torchrun --nnodes 2 --nproc_per_node 8 $MEETING"',
)


def run(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe (packtrain ls) or a YAML file.")],
    work: Annotated[Path, typer.Option(help="Folder for the outputs of all stages.")],
    overrides: Overrides = None,
    launch: Annotated[
        str | None,
        typer.Option(
            help="What starts training on several processes: 'torchrun --nproc_per_node 4', 'srun torchrun ...'. "
            "Default: torchrun with all GPUs of this machine that the training can use; '' is this process alone."
        ),
    ] = None,
    judge: JudgeName = None,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
    budget_usd: Budget = None,
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
    from packtrain.pipeline.judge import Judge
    from packtrain.pipeline.launch import launcher_words
    from packtrain.pipeline.run import run_recipe

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(
            "packtrain run works through the stages in one process, and several were started",
            "start it once: it trains on all GPUs of the machine, and --launch starts training elsewhere",
        )
    engine, rest = split_engine(overrides or ())
    loaded = load_recipe_here(recipe, rest, fetch=not dry_run)
    report = run_recipe(
        loaded,
        work,
        dry_run=dry_run,
        engine=engine,
        launch=launcher_words(launch, loaded.train, engine),
        judge=Judge(judge or "", price_in, price_out, budget_usd),
    )
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
