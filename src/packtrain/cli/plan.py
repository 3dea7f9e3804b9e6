"""`packtrain plan`: what a whole recipe would take, before anything is loaded."""

from pathlib import Path
from typing import Annotated

import typer

from packtrain.cli.evaluate_options import PriceIn, PriceOut
from packtrain.cli.examples import examples
from packtrain.cli.options import Json, Overrides, print_json

EXAMPLE = examples(
    "packtrain plan alpaca-7b --on 4xA100-80G",
    "packtrain plan tulu-65b --on 2x8xH100-80G",
    "packtrain plan alpaca-7b --on RTX-4090 train.adapter=qlora",
    "packtrain plan default --on cpu:16G --data my.jsonl base.path=Qwen/Qwen3-0.6B",
    "packtrain plan mine.yaml --on 3xMyGPU-48G engine.activation_checkpointing=true",
)

EXAMPLE_JUDGE = "openai:gpt-4o"
"""No recipe names a judge: the one of the examples of `packtrain evaluate`."""


def plan(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe (packtrain ls) or a YAML file.")],
    overrides: Overrides = None,
    on: Annotated[
        str,
        typer.Option(
            help="4xA100-80G, 2x8xH100-80G (two machines), 3xMyGPU-48G (any name with its memory), cpu:16G, or this."
        ),
    ] = "this",
    data: Annotated[
        Path | None,
        typer.Option(help="A conversation file, or a folder made by packtrain data prepare; a sample of it is read."),
    ] = None,
    conversations: Annotated[int | None, typer.Option(min=1, help="How many, when there is no file yet.")] = None,
    mean_tokens: Annotated[float | None, typer.Option(min=2, help="Their mean length, the template included.")] = None,
    model_config: Annotated[
        Path | None, typer.Option(help="The base's config.json, where the base itself is not at hand.")
    ] = None,
    host_memory: Annotated[
        str | None, typer.Option(help="Memory of each machine beside its GPUs, such as 512GB, when it is known.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where the model is to go: is there room?")] = None,
    judge: Annotated[
        str, typer.Option(help="Who would compare AlpacaFarm's answers: openai:NAME, local:DIR or longest.")
    ] = EXAMPLE_JUDGE,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
    as_json: Json = False,
) -> None:
    """What a whole recipe takes on given hardware: memory, disk, hours and API money, and what would make it fit.

    Training is planned in detail, every other stage of packtrain run in a line. Nothing is loaded, and the base need
    not be there. KEY=VALUE changes the recipe, engine.KEY=VALUE says how it is computed. Exits with 1 when training
    does not fit. docs/plan.md says what is counted, assumed and measured.
    """
    from dataclasses import replace

    from packtrain.cli.options import byte_count
    from packtrain.core.engine import split_engine
    from packtrain.core.recipe_file import load_recipe
    from packtrain.pipeline.judge import Judge
    from packtrain.train.plan.hardware import parse_hardware

    engine, of_the_recipe = split_engine(overrides or ())  # what is wrong at sight, before torch is loaded
    chosen = load_recipe(recipe, of_the_recipe)
    hardware = parse_hardware(on)
    judged = Judge(judge, price_in, price_out)
    judged.check_name()
    judged.check_budget()
    host_bytes = byte_count(host_memory)
    if host_bytes is not None:
        hardware = replace(hardware, host_bytes=host_bytes)
    from packtrain.pipeline.plan_data import workload_for
    from packtrain.pipeline.recipe_plan.whole import plan_whole
    from packtrain.train.plan.advice import advise
    from packtrain.train.plan.model_shape import find_config
    from packtrain.train.plan.plan import Planner, Setting

    found = find_config(chosen.base, model_config)
    workload = workload_for(chosen, data, conversations, mean_tokens, found.folder)
    planner = Planner(found)
    planned = planner.plan(Setting(chosen, engine, hardware, workload, found, out))
    advice = advise(planned, planner)
    whole = plan_whole(planned, planner.config, judged)
    if as_json:
        print_json({**planned.as_json(), "advice": [way.as_json() for way in advice], **whole.as_json()})
    else:
        from packtrain.cli.plan_stages import print_stages
        from packtrain.cli.plan_tables import print_plan

        print_stages(whole, print_plan(planned, advice))
    raise typer.Exit(0 if planned.fits else 1)
