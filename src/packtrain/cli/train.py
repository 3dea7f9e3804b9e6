"""`packtrain train`."""

from pathlib import Path
from typing import Annotated

import typer

from packtrain.cli.options import Json, Overrides, Overwrite, Resume, print_json, print_table

EXAMPLE = "Example: packtrain train alpaca-7b --data alpaca/ --out tuned/ base.path=llama-7b-hf train.lr=1e-5"


def train(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe (packtrain ls) or a YAML file.")],
    data: Annotated[Path, typer.Option(help="A conversation file, or a folder made by packtrain data prepare.")],
    out: Annotated[Path, typer.Option(help="Folder for the tuned model.")],
    overrides: Overrides = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Fine-tune a recipe's base on conversations and write a Hugging Face folder."""
    from dataclasses import asdict

    from packtrain.core.recipe_file import load_recipe
    from packtrain.train.stage import train as run_training

    report = run_training(load_recipe(recipe, overrides or ()), data, out, resume=resume, overwrite=overwrite)
    if as_json:
        print_json({"out": str(out), **asdict(report)})
        return
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
    print_table(f"trained: {out}", rows)
