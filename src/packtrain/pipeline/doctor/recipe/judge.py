"""Finds a judge that cannot be asked: no key, no folder, no such kind, a missing extra."""

from collections.abc import Iterator

from packtrain.evaluate.outcomes import LONGEST
from packtrain.pipeline.columns import columns_of_recipe
from packtrain.pipeline.doctor.asked_model import problem_of
from packtrain.pipeline.doctor.wanted import Wanted
from packtrain.train.doctor_checks import Finding, fine, warning

STAGES = ("evaluate",)
_WHERE = "--judge"


def check(wanted: Wanted) -> Iterator[Finding]:
    """One finding when a judge is named; it is not loaded and nothing is sent."""
    if not wanted.judge:
        return
    judged = columns_of_recipe(wanted.recipe).judged
    if not judged:
        yield warning(
            f"{wanted.judge} has nothing to judge", _WHERE, "name a column such as alpacafarm, or leave it out"
        )
        return
    problem = None if wanted.judge == LONGEST else problem_of(wanted.judge, _WHERE)
    yield problem or fine(f"{', '.join(judged)}: judged by {wanted.judge}")
