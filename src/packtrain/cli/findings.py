"""How findings are printed: a line each, with where and what to do below those that are not fine."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packtrain.train.doctor_checks import Finding, Severity

STYLES: "Mapping[Severity, str]" = {"error": "red", "warning": "yellow", "fine": "dim"}
"""Colours by severity, worst first."""


def print_findings(findings: "Sequence[Finding]", width: int = 0) -> None:
    """Each finding on stdout; `width` is that of the column of checks, at least."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    width = max([width, *(len(one.check) for one in findings)])
    for one in findings:
        line = Text.assemble((f"{one.severity:8}", STYLES[one.severity]), f"{one.check:{width}}  {one.what}")
        console.print(line, soft_wrap=True)
        if one.severity != "fine":
            indent = " " * (8 + width + 2)
            console.print(Text(f"{indent}where: {one.where}\n{indent}mend: {one.mend}", style="dim"), soft_wrap=True)
