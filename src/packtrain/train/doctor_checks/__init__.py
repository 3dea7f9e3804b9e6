"""What the doctor checks: a check called X is the one file X in this folder.

The first line of its docstring says what it finds. It has

- `NEEDS`: the parts of what is examined that it looks at; where one is None, the check is left out;
- `BEFORE_TRAINING`: whether `packtrain train` makes it, too. Such a check takes a moment, and its errors stop the run:
  they are for what is surely wrong in training here, not for what other programs stumble over;
- `FINE`: what can be said when nothing is found;
- `check(examined)`: the findings.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "fine"]
_ORDER: Sequence[Severity] = ("error", "warning", "fine")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has to say."""

    severity: Severity
    """`error`: it will fail. `warning`: it may. `fine`: it was looked at, or is good to know."""
    what: str
    where: str = ""
    """The file, setting or format at fault."""
    mend: str = ""
    """What to do about it."""
    check: str = ""
    """The check's name."""

    @property
    def line(self) -> str:
        """What and where."""
        return f"{self.what} ({self.where})" if self.where else self.what


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """The findings with errors first, warnings next."""
    return sorted(findings, key=lambda finding: _ORDER.index(finding.severity))


def error(what: str, where: str, mend: str) -> Finding:
    """A finding that stops a run."""
    return Finding("error", what, where, mend)


def warning(what: str, where: str, mend: str) -> Finding:
    """A finding that is told and stops nothing."""
    return Finding("warning", what, where, mend)


def fine(what: str) -> Finding:
    """A finding that asks for nothing."""
    return Finding("fine", what)
