"""Finds extras that the recipe's training asks for and that are not installed."""

from collections.abc import Iterator

from packtrain.core.adapter import learning_rate_note, parse_adapter
from packtrain.core.errors import UserError
from packtrain.core.extras import need
from packtrain.pipeline.doctor.wanted import Wanted
from packtrain.train.doctor_checks import Finding, error, fine, warning
from packtrain.train.extras import extras_of_training

STAGES = ("train",)


def check(wanted: Wanted) -> Iterator[Finding]:
    """An error for each extra that is missing, a warning for a rate that suits no adapter; one finding without."""
    adapter = parse_adapter(wanted.recipe.train.adapter)
    asked: list[tuple[str, str]] = [(tracker, f"engine.trackers={tracker}") for tracker in wanted.engine.trackers]
    asked += extras_of_training(wanted.recipe.train, wanted.engine)
    missing = False
    for extra, what in asked:
        try:
            need(extra, what)
        except UserError as problem:
            missing = True
            yield error(problem.message, what, problem.hint)
    if adapter is not None and (note := learning_rate_note(adapter, wanted.recipe.train.lr)):
        yield warning(note, "train.lr", "give train.lr=2e-4 to begin with")
    if asked and not missing:
        yield fine(f"installed: {', '.join(dict.fromkeys(extra for extra, _ in asked))}")
    elif not asked:
        yield fine("training needs no extra")
