"""All checks of the installation, and all that a recipe's run needs: each is a file of its folder."""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from packtrain.core.errors import UserError
from packtrain.core.folder import module, names
from packtrain.core.progress import say
from packtrain.pipeline.doctor.wanted import Wanted
from packtrain.train.doctor_checks import Finding, error, in_order

INSTALLATION = "packtrain.pipeline.doctor.installation"
RECIPE = "packtrain.pipeline.doctor.recipe"


@dataclass(frozen=True, slots=True)
class RecipeCheck:
    """One check of a recipe, ready to run."""

    name: str
    stages: tuple[str, ...]
    """Stages of `packtrain run` that would fail."""
    check: Callable[[Wanted], Iterable[Finding]]


def recipe_checks() -> tuple[RecipeCheck, ...]:
    """All checks of a recipe, by name."""
    found = ((name, module(RECIPE, name, "check")) for name in names(RECIPE, ".py"))
    return tuple(RecipeCheck(name, code.STAGES, code.check) for name, code in found)


def installation_findings() -> list[Finding]:
    """What is to be said of the installation, errors first; a check that fails is an error itself."""
    found: list[Finding] = []
    for name in names(INSTALLATION, ".py"):
        try:
            found += _named(name, module(INSTALLATION, name, "check").check())
        except Exception as problem:  # a broken package raises what it likes, and the other checks have to go on
            reason = " ".join(str(problem).split())[:200]
            failed = error(f"cannot be looked at: {type(problem).__name__}: {reason}", name, "install packtrain again")
            found += _named(name, [failed])
    return in_order(found)


def recipe_findings(wanted: Wanted, stages: Collection[str] | None = None) -> list[Finding]:
    """What is to be said of a recipe, errors first; with `stages` by the checks of these alone."""
    checks = (one for one in recipe_checks() if stages is None or not {*stages}.isdisjoint(one.stages))
    return in_order(finding for one in checks for finding in _named(one.name, one.check(wanted)))


def refuse(findings: Iterable[Finding]) -> None:
    """Tell what is wrong on stderr, a line each, and raise one UserError for all errors; nothing without any."""
    findings = list(findings)
    for one in findings:
        if one.severity == "warning":
            say(f"warning: {one.line}: {one.mend}")
    errors = [one for one in findings if one.severity == "error"]
    if len(errors) == 1:
        raise UserError(errors[0].line, errors[0].mend)
    for one in errors:
        say(f"missing: {one.line}: {one.mend}")
    if errors:
        where = ", ".join(dict.fromkeys(one.where for one in errors))
        raise UserError(f"{len(errors)} things are missing or wrong: {where}", "each is told above, with what to do")


def _named(name: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    return (replace(finding, check=name) for finding in findings)
