"""How the plan of a whole recipe is printed: a line for each stage, the totals, and what the figures assume."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from packtrain.cli.plan_tables import duration, gigabytes

if TYPE_CHECKING:
    from packtrain.pipeline.recipe_plan.stage_plan import RecipePlan, StagePlan, Totals

NOTHING = "-"
LEAST = 10_000_000
"""Bytes that are not told apart from none."""


def print_stages(plan: "RecipePlan", console: Console) -> None:
    """The stages on `console`, their notes behind them."""
    table = Table(
        title="the whole recipe, stage by stage (estimates, no promises)",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("stage", no_wrap=True)
    table.add_column("in packtrain run", no_wrap=True)
    for heading in ("time", "memory, GB", "disk left, GB", "API money"):
        table.add_column(heading, justify="right", no_wrap=True)
    for stage in plan.stages:
        table.add_row(*_cells(stage), end_section=stage is plan.stages[-1])
    table.add_row(*_total_cells(plan.totals))
    console.print(table)
    for line in _lines(plan):
        console.print(Text(line), soft_wrap=True)


def _lines(plan: "RecipePlan") -> Iterator[str]:
    """What stands below the table."""
    totals = plan.totals
    yield f"disk: {gigabytes(totals.most_disk_bytes)} GB when it is most, raw data not counted"
    for what, names in (("time", totals.time_unknown), ("disk", totals.disk_unknown), ("money", totals.usd_unknown)):
        if names:
            yield f"not known, and not in the total: {what} of {', '.join(names)}"
    for stage in plan.stages:
        yield from (f"{stage.name}: {note}" for note in stage.notes)
        if stage.at_most_seconds:
            yield f"{stage.name}: at most {duration(stage.at_most_seconds)}, if every answer ran on until it is cut"


def _cells(stage: "StagePlan") -> tuple[str, ...]:
    if not stage.counted:
        return (stage.name, stage.when, *[NOTHING] * 4)
    return (stage.name, stage.when, _time(stage), _memory(stage), _disk(stage), _money(stage.usd))


def _time(stage: "StagePlan") -> str:
    if stage.seconds == 0:
        return NOTHING
    if stage.seconds is None:
        return "not known"
    return duration(stage.seconds) if stage.seconds >= 1 else "below 1 s"


def _memory(stage: "StagePlan") -> str:
    if stage.fits is False:
        return "does not fit" if stage.memory_bytes is None else f"{gigabytes(stage.memory_bytes)}, does not fit"
    if stage.memory_bytes is None:
        return NOTHING
    return gigabytes(stage.memory_bytes) + (" each GPU" if stage.memory_of == "GPU" else "")


def _disk(stage: "StagePlan") -> str:
    if stage.disk_bytes is None:
        return "not known"
    if 0 < stage.disk_bytes < LEAST:
        return f"below {gigabytes(LEAST)}"
    return gigabytes(stage.disk_bytes) if stage.disk_bytes else NOTHING


def _money(usd: float | None) -> str:
    if usd is None:
        return "not known"
    return f"${usd:,.2f}" if usd else NOTHING


def _total_cells(totals: "Totals") -> tuple[str, ...]:
    gpu, host = totals.gpu_memory_bytes, totals.host_memory_bytes
    return (
        "in all",
        "",
        _more(duration(totals.seconds), totals.time_unknown),
        f"{gigabytes(gpu)} each GPU" if gpu else gigabytes(host),
        _more(gigabytes(totals.disk_bytes), totals.disk_unknown),
        _more(f"${totals.usd:,.2f}", totals.usd_unknown),
    )


def _more(total: str, unknown: tuple[str, ...]) -> str:
    """A total that lacks something is said to be more."""
    return f"more than {total}" if unknown else total
