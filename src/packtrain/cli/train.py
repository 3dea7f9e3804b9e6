"""`packtrain train`."""

from pathlib import Path
from typing import Annotated

import typer

from packtrain.cli.examples import examples
from packtrain.cli.options import Json, Overrides, Overwrite, Resume, print_json, print_table

EXAMPLE = examples(
    "packtrain train alpaca-7b --data alpaca/ --out tuned/ base.path=llama-7b-hf",
    "packtrain train default --out tuned/ base.path=Qwen/Qwen3-0.6B data.sources.mine.path=my.jsonl",
    "torchrun --nproc_per_node 8 -m packtrain train default --out tuned/ base.path=llama-7b-hf "
    "data.sources.mine.path=my.jsonl engine.activation_checkpointing=true",
)


def train(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe (packtrain ls) or a YAML file.")],
    out: Annotated[Path, typer.Option(help="Folder for the tuned model.")],
    data: Annotated[
        Path | None,
        typer.Option(
            help="A conversation file, or a folder made by packtrain data prepare; default: the recipe's own data "
            "sources, prepared into OUT-data."
        ),
    ] = None,
    overrides: Overrides = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Fine-tune a recipe's base on conversations and write a Hugging Face folder.

    KEY=VALUE changes the recipe (packtrain show default); engine.KEY=VALUE says how this machine computes it
    (packtrain show engine). The recipe `default` tunes any base on any data: give base.path and data.sources.mine.path.
    """
    from dataclasses import asdict

    from packtrain.core.atomic import check_output_folder
    from packtrain.core.engine import split_engine
    from packtrain.core.errors import UserError
    from packtrain.core.once import launched
    from packtrain.core.progress import say
    from packtrain.core.recipe_file import load_recipe

    check_output_folder(out, overwrite)  # what is wrong at sight, before torch is loaded, which takes seconds
    engine, of_the_recipe = split_engine(overrides or ())
    load_recipe(recipe, of_the_recipe)
    if data is not None and not data.exists():
        raise UserError(f"no training data at {data}", "check the path, or make it with: packtrain data prepare")
    from packtrain.pipeline.train_recipe import load_fitting_recipe, train_recipe
    from packtrain.train.distributed import is_first_process

    chosen = load_fitting_recipe(recipe, of_the_recipe)
    report = train_recipe(chosen, data, out, resume=resume, overwrite=overwrite, engine=engine)
    if not is_first_process():  # of several, one speaks
        return
    if as_json:
        print_json({"out": str(out), **asdict(report)})
        raise typer.Exit(1 if report.never_stops and not launched() else 0)
    rows = [
        ("steps", str(report.steps)),
        ("examples", str(report.examples)),
        ("loss, first to last step", f"{report.first_loss:.4f} -> {report.final_loss:.4f}"),
        ("seconds", f"{report.seconds:.0f}"),
        ("on", report.hardware),
    ]
    if report.held_out_before is not None and report.held_out_after is not None:
        rows.insert(3, ("held-out loss", f"{report.held_out_before:.4f} -> {report.held_out_after:.4f}"))
    rows += [(f"left out: {reason}", str(count)) for reason, count in report.dropped.items()]
    if report.cut_at_limit:
        rows.append(("cut at the length limit", str(report.cut_at_limit)))
    if report.probes_asked:
        rows.append(("answers that end", f"{report.probes_ended} of {report.probes_asked}"))
    print_table(f"trained: {out}", rows)
    if report.never_stops:
        say(f"{out} is complete, but its answers do not end by themselves: status 1 (engine.probes=0 leaves this out)")
    raise typer.Exit(1 if report.never_stops and not launched() else 0)
