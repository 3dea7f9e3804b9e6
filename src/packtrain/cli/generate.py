"""`packtrain generate`."""

from pathlib import Path
from typing import Annotated

import typer

from packtrain.cli.options import Json, Overwrite, Resume, print_json, print_table

EXAMPLE = "Example: packtrain generate --model openai:gpt-4o-mini --count 200 --out generated/ (OPENAI_API_KEY set)"


def generate(
    model: Annotated[str, typer.Option(help="openai:NAME (any endpoint by OPENAI_BASE_URL) or local:DIR.")],
    count: Annotated[int, typer.Option(min=1, help="Instructions to keep.")],
    out: Annotated[Path, typer.Option(help="Folder for the instructions and the journal.")],
    seeds: Annotated[Path | None, typer.Option(help="Seed tasks (JSONL); default: packtrain's own.")] = None,
    prompt: Annotated[Path | None, typer.Option(help="Prompt text; default: packtrain's own.")] = None,
    novelty: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Drop above this ROUGE-L with an earlier one.")
    ] = 0.7,
    seed: Annotated[int, typer.Option(help="Decides which seed tasks each prompt shows.")] = 42,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make instruction data with a language model, the Self-Instruct way of Stanford Alpaca."""
    from dataclasses import asdict

    from packtrain.generate.loop import generate as run_generation
    from packtrain.generate.prompt import OWN_PROMPT
    from packtrain.generate.seeds import OWN_SEEDS
    from packtrain.models.open import open_model

    report = run_generation(
        open_model(model),
        count,
        out,
        seeds=seeds or OWN_SEEDS,
        prompt_template=prompt or OWN_PROMPT,
        novelty=novelty,
        seed=seed,
        resume=resume,
        overwrite=overwrite,
    )
    if as_json:
        print_json({**asdict(report), "folder": str(out)})
        return
    rows = [("kept", str(report.kept)), ("requests", str(report.requests))]
    rows += [(f"dropped: {reason}", str(number)) for reason, number in report.dropped.items()]
    print_table(f"generated: {out}", rows)
