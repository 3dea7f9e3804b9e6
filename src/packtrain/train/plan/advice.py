"""What would make a plan fit, in the order in which it is worth trying, each with its own figure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from packtrain.core.errors import UserError
from packtrain.train.plan.plan import Plan, Planner, Setting

COUNTS = (2, 4, 8, 16, 32, 64, 128)
"""How many GPUs are tried; eight to a machine."""
PER_MACHINE = 8
ADAPTER_LR = 2e-4
"""What an adapter wants (core/adapter.py), where all weights want ten times less."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One way, and what it comes to."""

    what: str
    settings: str
    """What is written on the command line."""
    plan: Plan

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "what": self.what,
            "settings": self.settings,
            "device_peak_bytes": self.plan.memory.device_peak,
            "host_peak_bytes": self.plan.memory.host_peak,
            "fits": self.plan.fits,
        }


def advise(plan: Plan, planner: Planner) -> list[Advice]:
    """What would make `plan` fit, ways that do not suffice included; empty when it fits."""
    return [] if plan.fits_device and plan.fits_host else list(_ways(plan.setting, planner))


def _ways(setting: Setting, planner: Planner) -> Iterator[Advice]:
    """Cheap ways first, each on top of those that did not suffice: what costs time, machines, then what trains less."""
    frugal, suffices = setting, False
    if not setting.engine.activation_checkpointing:
        frugal = _with_engine(setting, activation_checkpointing=True)
        for way in _planned("activation checkpointing (a third slower)", setting, frugal, planner):
            suffices = way.plan.fits
            yield way
    if not suffices:
        for way in _smaller_rows(setting, frugal, planner):
            frugal, suffices = way.plan.setting, way.plan.fits
            yield way
    if suffices:
        frugal = setting
    if setting.hardware.kind == "gpu":
        yield from _more_devices(setting, frugal, planner)
    if setting.adapter is None:
        yield from _adapters(setting, frugal, planner)


def _smaller_rows(setting: Setting, frugal: Setting, planner: Planner) -> list[Advice]:
    """The most tokens in a micro-batch that fit, a power of two; the fewest that there can be when none do."""
    least = 1 << (setting.recipe.train.max_length_tokens - 1).bit_length()
    tokens = 1 << (planner.plan(frugal).row.tokens - 1).bit_length() >> 1
    if tokens < least:
        return []
    what = "smaller micro-batches"
    ways = _planned(what, setting, _with_engine(frugal, micro_batch_tokens=least), planner)
    while tokens > least and all(way.plan.fits for way in ways):
        larger = _planned(what, setting, _with_engine(frugal, micro_batch_tokens=tokens), planner)
        if all(way.plan.fits for way in larger):
            return larger
        tokens //= 2
    return ways


def _more_devices(setting: Setting, frugal: Setting, planner: Planner) -> Iterator[Advice]:
    """The fewest GPUs that suffice; then offloading on those there are."""
    most = min(COUNTS[-1], setting.recipe.train.global_batch_size)
    for count in COUNTS:
        if count <= setting.hardware.devices or count > most:
            continue
        machines = max(1, count // PER_MACHINE)
        hardware = setting.hardware.with_machines(machines, count // machines)
        tried = _planned(f"{count} GPUs", setting, replace(frugal, hardware=hardware), planner)
        if any(way.plan.fits_device for way in tried) or 2 * count > most:
            yield from tried
            break
    if setting.hardware.devices > 1 and not setting.engine.cpu_offload:
        offloaded = _with_engine(frugal, cpu_offload=True)
        yield from _planned("offloading to the host's memory", setting, offloaded, planner)


def _adapters(setting: Setting, frugal: Setting, planner: Planner) -> Iterator[Advice]:
    for kind, name in (("lora", "LoRA"), ("qlora", "QLoRA, on one device")):
        train = setting.recipe.train.model_copy(update={"adapter": kind, "lr": ADAPTER_LR})
        changed = replace(frugal, recipe=setting.recipe.model_copy(update={"train": train}))
        if kind == "qlora":
            changed = replace(changed, hardware=setting.hardware.with_machines(1, 1))
        yield from _planned(f"{name}: an adapter is trained", setting, changed, planner)


def _planned(what: str, before: Setting, after: Setting, planner: Planner) -> list[Advice]:
    """The way with its plan; nothing where it cannot be gone at all."""
    try:
        return [Advice(what, _as_typed(before, after), planner.plan(after))]
    except UserError:
        return []


def _with_engine(setting: Setting, **changes: Any) -> Setting:
    return replace(setting, engine=setting.engine.model_copy(update=changes))


def _as_typed(before: Setting, after: Setting) -> str:
    """The settings that differ, as on the command line."""
    sections = (
        ("train", before.recipe.train.model_dump(mode="json"), after.recipe.train.model_dump(mode="json")),
        ("engine", before.engine.model_dump(mode="json"), after.engine.model_dump(mode="json")),
    )
    return " ".join(
        f"{section}.{key}={str(new[key]).lower()}"
        for section, old, new in sections
        for key in new
        if new[key] != old[key]
    )
