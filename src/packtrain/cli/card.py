"""`packtrain card`."""

from pathlib import Path
from typing import Annotated

import typer

from packtrain.cli.options import Overrides, Overwrite

EXAMPLE = "Example: packtrain card tulu-7b --scores scores/scores.json --out README.md"


def card(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe or a YAML file.")],
    out: Annotated[Path, typer.Option(help="The card to write.")],
    overrides: Overrides = None,
    scores: Annotated[Path | None, typer.Option(help="scores.json of packtrain evaluate.")] = None,
    run: Annotated[
        Path | None, typer.Option(help="Work folder of packtrain run, for the figures of training, data and diff.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the model card of a recipe: YAML front matter, format, training, scores, licence, citations."""
    from packtrain.card.card import write_card
    from packtrain.card.facts import CardFacts
    from packtrain.core.recipe_file import load_recipe
    from packtrain.core.score import read_scores
    from packtrain.pipeline.facts import facts_of_run

    facts = facts_of_run(run) if run else CardFacts()
    measured = read_scores(scores) if scores else []
    write_card(load_recipe(recipe, overrides or ()), out, scores=measured, facts=facts, overwrite=overwrite)
    print(out)
