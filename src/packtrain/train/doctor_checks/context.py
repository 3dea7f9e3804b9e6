"""Finds a length limit of training that is longer than the model's context."""

from collections.abc import Iterator

from packtrain.train.doctor_checks import Finding, error
from packtrain.train.examined import Examined

NEEDS = ("recipe", "context_tokens")
BEFORE_TRAINING = False  # loading the base says it
FINE = "training's length limit fits the model's context"


def check(examined: Examined) -> Iterator[Finding]:
    """At most one finding."""
    recipe, context = examined.recipe, examined.context_tokens
    if recipe is None or context is None:
        return
    limit = recipe.train.max_length_tokens
    if limit > context:
        what = f"train.max_length_tokens is {limit}, the context of {examined.folder} is {context} tokens"
        yield error(what, "the recipe", f"give train.max_length_tokens={context}")
