"""What the plan of a whole recipe consists of: a stage's figures, and their totals."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage of a recipe; an estimate that is not known is None."""

    name: str
    when: str
    """`yes`, what it waits for, or why it is left out."""
    runs: bool = True
    """Whether `packtrain run` does it, the recipe being as it is."""
    counted: bool = True
    """Whether totals hold it: also what is done by hand, or only needs a folder to be named."""
    seconds: float | None = None
    at_most_seconds: float | None = None
    """If every answer ran on until it is cut."""
    memory_bytes: int | None = None
    memory_of: Literal["GPU", "host"] = "host"
    fits: bool | None = None
    """Whether memory suffices; None where it was not compared."""
    disk_bytes: int | None = 0
    """What it leaves."""
    passing_disk_bytes: int = 0
    """What it needs besides while it runs."""
    usd: float | None = 0.0
    notes: tuple[str, ...] = ()
    """What the figures assume."""


def left_out(name: str, why: str) -> StagePlan:
    """A stage that the recipe does not have."""
    return StagePlan(name, why, runs=False, counted=False, seconds=0.0)


@dataclass(frozen=True, slots=True)
class Totals:
    """All stages that count together, one after the other."""

    seconds: float
    time_unknown: tuple[str, ...]
    """Stages whose time is not in `seconds`."""
    gpu_memory_bytes: int
    """The most on one GPU; 0 without."""
    host_memory_bytes: int
    disk_bytes: int
    """What is left in the end, the base included."""
    most_disk_bytes: int
    """When it is most, and nothing is removed by hand."""
    disk_unknown: tuple[str, ...]
    usd: float
    usd_unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecipePlan:
    """All stages of a recipe in their order."""

    stages: Sequence[StagePlan]

    @property
    def totals(self) -> Totals:
        """Sums, and the most memory."""
        counted = [stage for stage in self.stages if stage.counted]
        memory = {"GPU": 0, "host": 0}
        for stage in counted:
            memory[stage.memory_of] = max(memory[stage.memory_of], stage.memory_bytes or 0)
        left = list(accumulate(stage.disk_bytes or 0 for stage in counted))
        return Totals(
            seconds=sum(stage.seconds or 0.0 for stage in counted),
            time_unknown=tuple(stage.name for stage in counted if stage.seconds is None),
            gpu_memory_bytes=memory["GPU"],
            host_memory_bytes=memory["host"],
            disk_bytes=left[-1],
            most_disk_bytes=max(so_far + stage.passing_disk_bytes for so_far, stage in zip(left, counted, strict=True)),
            disk_unknown=tuple(stage.name for stage in counted if stage.disk_bytes is None),
            usd=sum(stage.usd or 0.0 for stage in counted),
            usd_unknown=tuple(stage.name for stage in counted if stage.usd is None),
        )

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values; bytes, seconds and dollars."""
        return {"stages": [asdict(stage) for stage in self.stages], "totals": asdict(self.totals)}
