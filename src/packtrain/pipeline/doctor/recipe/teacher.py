"""Finds a model for `generate` that cannot be asked: no key, no folder, no such kind, a missing extra."""

from collections.abc import Iterator

from packtrain.pipeline.doctor.asked_model import problem_of
from packtrain.pipeline.doctor.wanted import Wanted
from packtrain.train.doctor_checks import Finding, fine

STAGES = ("generate",)


def check(wanted: Wanted) -> Iterator[Finding]:
    """One finding when the recipe generates; no model is loaded and nothing is sent."""
    settings = wanted.recipe.generate
    if settings is None:
        return
    problem = None if wanted.has_teacher else problem_of(settings.model, "generate.model")
    yield problem or fine(f"{settings.count:,} instructions by {settings.model}")
