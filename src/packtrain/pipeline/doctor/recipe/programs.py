"""Finds a machine that cannot contain the programs which a column's answers are."""

from collections.abc import Iterator

from packtrain.core.errors import UserError
from packtrain.pipeline.columns import columns_of_recipe
from packtrain.pipeline.doctor.wanted import Wanted
from packtrain.train.doctor_checks import Finding, error, fine

STAGES = ("evaluate",)
_MEND = (
    "install bubblewrap (Debian, Ubuntu: apt install bubblewrap), or leave the columns out and measure them by hand: "
    "packtrain evaluate, which takes --accept-unsandboxed, or packtrain evaluate execute on another machine"
)


def check(wanted: Wanted) -> Iterator[Finding]:
    """One finding when programs would be run, after all canaries were let loose; nothing else."""
    from packtrain.evaluate.benchmark import benchmark_of
    from packtrain.evaluate.outcomes import Outcomes, prepare_outcomes

    columns = columns_of_recipe(wanted.recipe).with_judge(wanted.judge.name) if wanted.recipe.evaluate.data else ()
    executed = {column: each for column in columns if (each := benchmark_of(column)).outcome == "executed"}
    if not executed:
        return
    try:
        prepare_outcomes(executed, Outcomes())
    except UserError as problem:
        yield error(problem.message, ", ".join(executed), _MEND)
    else:
        yield fine(f"the programs of {', '.join(executed)} can be contained")
