"""How `packtrain plan` is printed: what it takes, whether that fits, and what would make it fit."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from packtrain.train.plan.advice import Advice
    from packtrain.train.plan.plan import Plan


def print_plan(plan: "Plan", advice: "Sequence[Advice]") -> Console:
    """The plan of the training on stdout, the verdict last but for the advice; where it was printed."""
    console = Console(highlight=False)
    if not console.is_terminal:  # in a file nothing needs to be cut to eighty columns
        console = Console(highlight=False, width=max(console.width, 120))
    for line in _heading(plan):
        console.print(Text(line), soft_wrap=True)
    gpu = plan.setting.hardware.kind == "gpu"
    console.print(_terms("memory of each GPU" if gpu else "memory", plan.memory.device, "at the most"))
    if gpu:
        console.print(_terms("memory of each machine beside its GPUs", plan.memory.host, "while training"))
    console.print(_terms("disk", plan.disk.terms, "in all"))
    for line in (*_time(plan), *_verdict(plan)):
        console.print(Text(line), soft_wrap=True)
    if advice:
        console.print(_advice(advice))
    return console


def _heading(plan: "Plan") -> list[str]:
    setting, shape = plan.setting, plan.shape
    engine = setting.engine
    compute = str(setting.compute_dtype).removeprefix("torch.")
    trained = "all trained" if shape.added == 0 else f"{_count(shape.trained)} trained ({setting.recipe.train.adapter})"
    layers = "computed twice (activation checkpointing)" if engine.activation_checkpointing else "kept"
    row = f"{plan.row.tokens:,} tokens, {len(plan.row.lengths)} conversations"
    return [
        f"{setting.recipe.name} on {setting.hardware.describe()}",
        f"base: {shape.architecture}, {_count(shape.weights)} weights, {trained}; from {setting.found.source}",
        f"computed in {compute}, strategy {setting.strategy}, activations {layers}",
        f"micro-batches: {plan.micro_batches} for each device in a step, the fullest {row}",
        f"data: {setting.workload.source}",
    ]


def _terms(title: str, terms: Mapping[str, int], total: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("")
    table.add_column("GB", justify="right", no_wrap=True)
    shown = [(name, size) for name, size in terms.items() if size]
    for name, size in shown:
        table.add_row(Text(name), gigabytes(size), end_section=name == shown[-1][0])
    table.add_row(total, gigabytes(sum(terms.values())))
    return table


def _time(plan: "Plan") -> list[str]:
    time = plan.time
    known = []
    if time.steps is not None:
        known.append(f"{time.steps:,} steps")
    if time.tokens is not None:
        known.append(f"{time.tokens:,} tokens")
    if time.tokens_per_s is not None:
        known.append(f"about {time.tokens_per_s:,.0f} tokens/s")
    if time.seconds is not None:
        known.append(f"about {duration(time.seconds)}")
    if time.steps is None:
        known.append("how long is not known without --data, or --conversations and --mean-tokens")
    return [f"run: {', '.join(known)}", f"the time is an estimate and no promise; assumed: {time.assumption}"]


def _verdict(plan: "Plan") -> list[str]:
    memory, hardware = plan.memory, plan.setting.hardware
    has, most = hardware.memory_bytes, memory.device_peak
    where = "memory" if hardware.kind == "cpu" else "each GPU"
    lines = []
    if not plan.fits_device:
        loading = hardware.kind == "cpu" and memory.loading > most
        needed = f"{gigabytes(memory.loading)} GB while loading" if loading else f"{gigabytes(most)} GB"
        lines.append(f"does not fit: {where}: {needed} of {gigabytes(has)} GB")
    elif plan.tight:
        lines.append(
            f"fits by less than the plan may be wrong (10 %): {where}: {gigabytes(most)} GB of {gigabytes(has)} GB"
        )
    else:
        lines.append(f"fits: {where}: {gigabytes(most)} GB of {gigabytes(has)} GB")
    if hardware.kind == "gpu":
        host, loading_host = hardware.host_bytes, memory.loading > sum(memory.host.values())
        needed = f"{gigabytes(memory.host_peak)} GB{' (while loading)' if loading_host else ''}"
        if host is None:
            lines.append(f"each machine needs {needed} of its own memory: is it there? --host-memory 512GB checks")
        else:
            word = "fits" if plan.fits_host else "does not fit"
            lines.append(f"{word}: each machine's own memory: {needed} of {gigabytes(host)} GB, {hardware.source}")
    if plan.disk.free is not None:
        word = "fits" if plan.fits_disk else "does not fit"
        needed, free = gigabytes(plan.disk.beside_output), gigabytes(plan.disk.free)
        lines.append(f"{word}: disk of {plan.setting.out}: {needed} of {free} GB free")
    return lines


def _advice(advice: "Sequence[Advice]") -> Table:
    table = Table(
        title="what would make it fit", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False
    )
    table.add_column("")
    table.add_column("GB", justify="right", no_wrap=True)
    table.add_column("fits", no_wrap=True)
    table.add_column("with", overflow="fold")
    for way in advice:
        fits = "yes" if way.plan.fits else ("host too small" if way.plan.fits_device else "no")
        table.add_row(Text(way.what), gigabytes(way.plan.memory.device_peak), fits, Text(way.settings))
    return table


def gigabytes(size: float) -> str:
    """GB of 10^9 bytes, as everywhere in packtrain."""
    return f"{size / 1e9:,.1f}" if size >= 1e10 else f"{size / 1e9:.2f}"


def _count(number: int) -> str:
    """`6.74 billion`."""
    for size, name in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if number >= size:
            return f"{number / size:.3g} {name}"
    return str(number)


def duration(seconds: float) -> str:
    """`44 minutes`, in the unit that suits."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 172800 else f"{seconds / 86400:,.1f} days"
