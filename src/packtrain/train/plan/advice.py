"""What would make a plan fit, in the order in which it is worth trying, each with its own figure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from packtrain.core.errors import UserError
from packtrain.train.plan.plan import Plan, Planner, Setting

COUNTS = (2, 4, 8, 16, 32, 64, 128)
"""How many GPUs are tried; eight to a machine."""
PER_MACHINE = 8
ADAPTER_LR = "2e-4"
"""What an adapter wants (core/adapter.py)."""


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
    """Cheap ways first: what costs time, then what costs machines, then what trains less."""
    frugal = setting
    if not setting.engine.activation_checkpointing:
        frugal = _with_engine(setting, activation_checkpointing=True)
        yield from _planned(
            "activation checkpointing (a third slower)", "engine.activation_checkpointing=true", frugal, planner
        )
    limit = setting.recipe.train.max_length_tokens
    for divisor in (2, 4, 8, 16):
        tokens = setting.micro_batch_tokens // divisor
        if tokens < limit:
            break
        smaller = _with_engine(frugal, micro_batch_tokens=tokens)
        [found] = _planned("smaller micro-batches", _engine_text(setting, smaller), smaller, planner)
        if found.plan.fits or tokens // 2 < limit or divisor == 16:
            yield found
            frugal = smaller
            break
    if setting.hardware.kind == "gpu":
        yield from _more_devices(setting, frugal, planner)
    if setting.adapter is None:
        yield from _adapters(setting, frugal, planner)


def _more_devices(setting: Setting, frugal: Setting, planner: Planner) -> Iterator[Advice]:
    """The fewest GPUs that suffice, all else as it was; then offloading on those there are."""
    text = _engine_text(setting, frugal)
    most = min(COUNTS[-1], setting.recipe.train.global_batch_size)
    for count in COUNTS:
        if count <= setting.hardware.devices or count > most:
            continue
        machines = max(1, count // PER_MACHINE)
        hardware = setting.hardware.with_machines(machines, count // machines)
        tried = _planned(f"{count} GPUs", text, replace(frugal, hardware=hardware), planner)
        if any(way.plan.fits_device for way in tried) or 2 * count > most:
            yield from tried
            break
    if setting.hardware.devices > 1 and not setting.engine.cpu_offload:
        offloaded = _with_engine(frugal, cpu_offload=True)
        yield from _planned("offloading to the host's memory", _engine_text(setting, offloaded), offloaded, planner)


def _adapters(setting: Setting, frugal: Setting, planner: Planner) -> Iterator[Advice]:
    text = _engine_text(setting, frugal)
    for kind, name in (("lora", "LoRA"), ("qlora", "QLoRA, on one device")):
        train = setting.recipe.train.model_copy(update={"adapter": kind})
        changed = replace(frugal, recipe=setting.recipe.model_copy(update={"train": train}))
        if kind == "qlora":
            changed = replace(changed, hardware=setting.hardware.with_machines(1, 1))
        said = f"train.adapter={kind} train.lr={ADAPTER_LR} {text}".strip()
        yield from _planned(f"{name}: an adapter is trained", said, changed, planner)


def _planned(what: str, settings: str, setting: Setting, planner: Planner) -> list[Advice]:
    """The way with its plan; nothing where it cannot be gone at all."""
    try:
        return [Advice(what, settings, planner.plan(setting))]
    except UserError:
        return []


def _with_engine(setting: Setting, **changes: Any) -> Setting:
    return replace(setting, engine=setting.engine.model_copy(update=changes))


def _engine_text(before: Setting, after: Setting) -> str:
    """The engine's settings that differ, as on the command line."""
    old, new = before.engine.model_dump(mode="json"), after.engine.model_dump(mode="json")
    return " ".join(f"engine.{key}={str(new[key]).lower()}" for key in new if new[key] != old[key])
