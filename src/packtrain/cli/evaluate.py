"""`packtrain evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from packtrain.cli.options import Json, Overwrite, Resume, print_json

EXAMPLE = "Example: packtrain evaluate tuned/ exact_match --data evaluation/ --out scores/"


def evaluate(
    model: Annotated[str, typer.Argument(help="A model folder or a Hub id.")],
    data: Annotated[Path, typer.Option(help="Folder that holds the benchmark files.")],
    out: Annotated[Path, typer.Option(help="Folder for scores.json and the answers.")],
    columns: Annotated[list[str] | None, typer.Argument(help="Columns; default: all there are.")] = None,
    template: Annotated[str | None, typer.Option(help="Prompt format; default: the one stored with the model.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Ask the first items only.")] = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Ask a model the items of benchmark columns and score its answers."""
    from dataclasses import asdict

    from rich.console import Console

    from packtrain.evaluate.benchmark import benchmark_of, column_names
    from packtrain.evaluate.run import evaluate as run_evaluation
    from packtrain.evaluate.table import score_table
    from packtrain.models.local import LocalModel
    from packtrain.prompts.template import template_for
    from packtrain.weights.source import model_folder

    chosen = columns or list(column_names())
    for column in chosen:
        benchmark_of(column)
    folder = model_folder(model)
    prompt_format = template_for(folder, template)
    local = LocalModel(folder)
    scores = run_evaluation(
        local,
        prompt_format,
        local.tokenizer.eos_token,
        chosen,
        data,
        out,
        limit=limit,
        resume=resume,
        overwrite=overwrite,
    )
    if as_json:
        print_json({"out": str(out), "scores": [asdict(score) for score in scores]})
    else:
        Console().print(score_table(scores, local.name))
