"""Finds a judge that cannot be asked: no key, no folder, no such kind, a missing extra, a budget without a price."""

from collections.abc import Iterator

from packtrain.core.errors import UserError
from packtrain.evaluate.outcomes import LONGEST
from packtrain.pipeline.columns import columns_of_recipe
from packtrain.pipeline.doctor.asked_model import problem_of
from packtrain.pipeline.doctor.wanted import Wanted
from packtrain.pipeline.judge import Judge
from packtrain.train.doctor_checks import Finding, error, fine, warning

STAGES = ("evaluate",)
_WHERE, _BUDGET = "--judge", "--budget-usd"


def check(wanted: Wanted) -> Iterator[Finding]:
    """What is amiss when a judge is named, or one finding that nothing is; it is not loaded and nothing is sent."""
    name = wanted.judge.name
    if not name:
        return
    judged = columns_of_recipe(wanted.recipe).judged
    if not judged:
        yield warning(f"{name} has nothing to judge", _WHERE, "name a column such as alpacafarm, or leave it out")
        return
    problems = [] if name == LONGEST else [problem_of(name, _WHERE), _problem_of_budget(wanted.judge)]
    found = [problem for problem in problems if problem]
    yield from found or [fine(f"{', '.join(judged)}: judged by {name}")]


def _problem_of_budget(judge: Judge) -> Finding | None:
    try:
        judge.check_budget()
    except UserError as problem:
        return error(problem.message, _BUDGET, problem.hint)
    return None
