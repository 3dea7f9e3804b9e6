"""The doctor: finds in seconds what would fail hours later, by named checks.

The checks are the files of `doctor_checks`. `packtrain doctor` makes all of them; training makes those that are quick
before its first step, and stops on an error.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from packtrain.core.errors import UserError
from packtrain.core.folder import module, names
from packtrain.core.progress import say
from packtrain.core.recipe import Recipe
from packtrain.prompts.template import PromptTemplate
from packtrain.prompts.token_file import TokenFile
from packtrain.prompts.tokenizer import Tokenizer
from packtrain.train.doctor_checks import Finding, fine, in_order
from packtrain.train.examined import Examined, examined_base

CHECKS = "packtrain.train.doctor_checks"


@dataclass(frozen=True, slots=True)
class Check:
    """One check, ready to run."""

    name: str
    what: str
    """What it finds, in one line."""
    needs: tuple[str, ...]
    """Parts of an Examined; the check is left out where one of them is None."""
    before_training: bool
    fine: str
    """What can be said when nothing is found."""
    check: Callable[[Examined], Iterable[Finding]]


def load_checks() -> tuple[Check, ...]:
    """All checks, by name."""
    return tuple(_load(name) for name in names(CHECKS, ".py"))


def _load(name: str) -> Check:
    found = module(CHECKS, name, "check")
    what = (found.__doc__ or "").partition("\n")[0]
    return Check(name, what, found.NEEDS, found.BEFORE_TRAINING, found.FINE, found.check)


def diagnose(examined: Examined, checks: Iterable[Check]) -> list[Finding]:
    """What the checks find, errors first; a check that finds nothing says so, one that lacks a part says nothing."""
    findings = list(examined.unreadable)
    for one in checks:
        if all(getattr(examined, part) is not None for part in one.needs):
            found = list(one.check(examined)) or [fine(one.fine)]
            findings += [replace(finding, check=one.name) for finding in found]
    return in_order(findings)


def check_before_training(
    base: Path,
    tokenizer: Tokenizer,
    template: PromptTemplate,
    encoded: TokenFile,
    recipe: Recipe,
    out: Path | None = None,
) -> list[Finding]:
    """What the quick checks find, warnings told on stderr; one UserError lists all errors, so that nothing is trained.

    `tokenizer` is the one that is trained with, its padding token included; `out` is where the model will be written.
    """
    examined = examined_base(base, tokenizer, template, encoded, recipe, out)
    findings = diagnose(examined, [one for one in load_checks() if one.before_training])
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise UserError("; ".join(one.line for one in errors), "; ".join(dict.fromkeys(one.mend for one in errors)))
    for finding in findings:
        if finding.severity == "warning":
            say(f"warning: {finding.line}: {finding.mend}")
    return findings
