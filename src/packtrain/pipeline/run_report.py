"""What a run of a recipe did, or would do, stage by stage."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from packtrain.pipeline.stages import StageResult, as_json
from packtrain.train.doctor_checks import Finding

_ACTIONS = {
    "skip": "left as it is",
    "run": "to be done",
    "resume": "to be resumed",
    "depends": "to be done perhaps",
    "blocked": "cannot be done",
}


@dataclass(frozen=True)
class RunReport:
    """What a run did, stage by stage; of a dry run what it would do, and what it would miss."""

    work: Path
    results: Sequence[StageResult]
    findings: Sequence[Finding] = ()
    """About what the stages need; empty when they were run."""

    @property
    def has_errors(self) -> bool:
        """Whether a run would be refused."""
        return any(finding.severity == "error" for finding in self.findings)

    def figures(self, stage: str) -> Mapping[str, Any]:
        """The figures of a stage; empty when the recipe has no such stage."""
        return next((result.figures for result in self.results if result.name == stage), {})

    def as_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        told = [asdict(finding) for finding in self.findings]
        return {"work": str(self.work), "stages": as_json(self.results), "findings": told}

    def rows(self) -> list[tuple[str, str]]:
        """Stage and what became of it, for a table."""
        return [(result.name, _line(result)) for result in self.results]

    def plan(self) -> list[tuple[str, str]]:
        """Stage and what would become of it and why, for a table."""
        return [(result.name, f"{result.what}\n{_ACTIONS[result.action]}: {result.reason}") for result in self.results]


def _line(result: StageResult) -> str:
    figures = result.figures
    state = f"{result.seconds:.1f} s" if result.done else result.reason
    if result.name == "data" and figures:
        state += f", {figures['train']} conversations to train on, {figures['held_out']} held out"
    if result.name == "train" and "final_loss" in figures:
        state += f", loss {figures['first_loss']:.3f} -> {figures['final_loss']:.3f}"
        if figures["held_out_after"] is not None:
            state += f", held out {figures['held_out_before']:.3f} -> {figures['held_out_after']:.3f}"
    if result.name == "recover" and "share_equal" in figures:
        state += (
            f", {100 * figures['share_equal']:.3f} % of the weights equal to the bit, "
            f"largest difference {figures['max_abs_difference']:.2g}"
        )
    if result.name == "evaluate" and figures:
        state += ", " + ", ".join(f"{column} {value:.1f} %" for column, value in figures.items())
    if result.name == "card" and "card" in figures:
        state += f", {figures['card']}"
    return state
