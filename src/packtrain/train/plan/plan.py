"""What a recipe would take on given hardware, before anything is loaded: memory, disk, steps and time."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from packtrain.core.adapter import AdapterSpec, parse_adapter
from packtrain.core.engine import Engine
from packtrain.core.errors import UserError
from packtrain.core.progress import progress
from packtrain.core.recipe import Recipe
from packtrain.train.plan.disk import DiskPlan, plan_disk
from packtrain.train.plan.hardware import Hardware
from packtrain.train.plan.memory import Holding, MemoryPlan, plan_memory
from packtrain.train.plan.model_shape import FoundConfig, ModelShape, empty_model, find_config, read_config, shape_of
from packtrain.train.plan.rehearsal import Rehearsal, Row, rehearse
from packtrain.train.plan.time import TimePlan, plan_time
from packtrain.train.plan.workload import Workload, fullest_row
from packtrain.train.session import MICRO_BATCH_TOKENS

TOLERANCE = 0.10
"""How far a measured peak may lie from the planned one."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is to be planned."""

    recipe: Recipe
    engine: Engine
    hardware: Hardware
    workload: Workload
    found: FoundConfig
    out: Path | None = None

    @property
    def adapter(self) -> AdapterSpec | None:
        """What is trained in place of the weights."""
        return parse_adapter(self.recipe.train.adapter)

    @property
    def strategy(self) -> str:
        """The name in `train/strategies` that a run would take."""
        chosen = self.engine.strategy
        return ("single" if self.hardware.devices == 1 else "fsdp") if chosen == "auto" else chosen

    @property
    def compute_dtype(self) -> torch.dtype:
        """What is computed in."""
        wanted = self.recipe.train.precision
        native = wanted == "auto" and self.hardware.native_bfloat16
        return torch.bfloat16 if native or wanted == "bfloat16" else torch.float32

    @property
    def micro_batch_tokens(self) -> int:
        """Tokens that a forward pass may have."""
        return self.engine.micro_batch_tokens or MICRO_BATCH_TOKENS["cpu" if self.hardware.kind == "cpu" else "cuda"]

    @property
    def holding(self) -> Holding:
        """How the model is held."""
        return Holding(
            self.strategy,
            self.hardware.devices,
            self.hardware.per_machine,
            self.compute_dtype,
            self.engine,
            self.adapter,
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer."""

    setting: Setting
    shape: ModelShape
    row: Row
    """The fullest micro-batch."""
    micro_batches: int
    """That each process computes in a step."""
    memory: MemoryPlan
    disk: DiskPlan
    time: TimePlan

    @property
    def fits_device(self) -> bool:
        """Whether device memory suffices; loading counts where the CPU trains."""
        most = self.memory.device_peak
        if self.setting.hardware.kind == "cpu":
            most = max(most, self.memory.loading)
        return most <= self.setting.hardware.memory_bytes

    @property
    def fits_host(self) -> bool:
        """Whether the memory beside the GPUs suffices; true when it is not known."""
        there = self.setting.hardware.host_bytes
        return self.setting.hardware.kind == "cpu" or there is None or self.memory.host_peak <= there

    @property
    def fits_disk(self) -> bool:
        """Whether the output's disk has room; true when it was not asked."""
        return self.disk.free is None or self.disk.beside_output <= self.disk.free

    @property
    def fits(self) -> bool:
        """Whether everything suffices."""
        return self.fits_device and self.fits_host and self.fits_disk

    @property
    def tight(self) -> bool:
        """Whether it fits by less than the plan may be wrong."""
        return self.fits and self.memory.device_peak * (1 + TOLERANCE) > self.setting.hardware.memory_bytes

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values; memory and disk in bytes, time in seconds."""
        setting, memory = self.setting, self.memory
        return {
            "recipe": setting.recipe.name,
            "base": {"source": setting.found.source, **_shape_figures(self.shape)},
            "hardware": _hardware_figures(setting.hardware),
            "strategy": setting.strategy,
            "compute": str(setting.compute_dtype).removeprefix("torch."),
            "adapter": setting.recipe.train.adapter,
            "activation_checkpointing": setting.engine.activation_checkpointing,
            "micro_batch": {
                "tokens": self.row.tokens,
                "conversations": len(self.row.lengths),
                "packed": self.row.packed,
            },
            "micro_batches_per_step": self.micro_batches,
            "data": {
                "conversations": setting.workload.conversations or None,
                "mean_tokens": setting.workload.mean_tokens,
                "learnt_share": setting.workload.learnt_share,
                "source": setting.workload.source,
            },
            "memory_bytes": {
                "device": dict(memory.device),
                "device_peak": memory.device_peak,
                "device_has": setting.hardware.memory_bytes,
                "allocated": memory.allocated,
                "loading": memory.loading,
                "host": dict(memory.host),
                "host_peak": memory.host_peak,
                "host_has": setting.hardware.host_bytes,
            },
            "disk_bytes": {"terms": dict(self.disk.terms), "output": self.disk.beside_output, "free": self.disk.free},
            "time": asdict(self.time),
            "fits": self.fits,
            "tight": self.tight,
        }


def _shape_figures(shape: ModelShape) -> dict[str, Any]:
    figures = asdict(shape)
    del figures["work"]
    return {**figures, "weights": shape.weights}


def _hardware_figures(hardware: Hardware) -> dict[str, Any]:
    figures = asdict(hardware)
    return {**figures, "peak_flops": dict(hardware.peak_flops), "utilisation": dict(hardware.utilisation)}


class Planner:
    """Plans settings of one base; remembers what was rehearsed, which is all that takes time."""

    def __init__(self, found: FoundConfig) -> None:
        """UserError when transformers makes no causal language model of the configuration."""
        self.config = read_config(found)
        self._shapes: dict[AdapterSpec | None, ModelShape] = {}
        self._rehearsed: dict[tuple[Any, ...], Rehearsal] = {}

    def plan(self, setting: Setting) -> Plan:
        """The whole plan; UserError for settings that training would refuse."""
        shape = self.shape(setting.adapter)
        _check(setting, shape)
        settings, holding = setting.recipe.train, setting.holding
        packed = setting.engine.packing != "off"
        row, count = fullest_row(
            setting.workload, settings, setting.micro_batch_tokens, setting.hardware.devices, packed=packed
        )
        rehearsal = self.rehearsal(setting, row, several=count > 1 or holding.strategy != "single")
        return Plan(
            setting=setting,
            shape=shape,
            row=row,
            micro_batches=count,
            memory=plan_memory(shape, rehearsal, holding, setting.hardware),
            disk=plan_disk(shape, setting.found, holding, setting.recipe, setting.workload, setting.out),
            time=plan_time(
                shape.work, setting.workload, settings, setting.engine, setting.compute_dtype, setting.hardware
            ),
        )

    def shape(self, adapter: AdapterSpec | None) -> ModelShape:
        """The counts of the base with this adapter."""
        if adapter not in self._shapes:
            self._shapes[adapter] = shape_of(empty_model(self.config, adapter))
        return self._shapes[adapter]

    def rehearsal(self, setting: Setting, row: Row, *, several: bool) -> Rehearsal:
        """What one micro-batch takes; with `several` in a step the gradients of the earlier ones are there."""
        engine, on_gpu = setting.engine, setting.hardware.kind == "gpu"
        recomputed, adapter = engine.activation_checkpointing, setting.adapter
        if adapter and adapter.kind == "qlora":  # in four bits or not, the same is kept for the backward pass
            adapter = replace(adapter, kind="lora")
        key = (row, setting.compute_dtype, recomputed, engine.attention, adapter, on_gpu, several)
        if key not in self._rehearsed:
            with progress("following a micro-batch through the model", None):
                model = empty_model(self.config, adapter, recomputed=recomputed)
                self._rehearsed[key] = rehearse(
                    model, row, setting.compute_dtype, engine, on_gpu=on_gpu, gradients_there=several
                )
        return self._rehearsed[key]


def plan(
    recipe: Recipe,
    engine: Engine,
    hardware: Hardware,
    workload: Workload,
    *,
    model_config: Path | None = None,
    out: Path | None = None,
) -> Plan:
    """What training `recipe` takes on `hardware`; UserError when the base's configuration cannot be found."""
    found = find_config(recipe.base, model_config)
    return Planner(found).plan(Setting(recipe, engine, hardware, workload, found, out))


def _check(setting: Setting, shape: ModelShape) -> None:
    """Raise UserError for what training would refuse, too."""
    limit, context = setting.recipe.train.max_length_tokens, shape.context_tokens
    if context is not None and limit > context:
        raise UserError(
            f"train.max_length_tokens is {limit}, the context of the base is {context} tokens",
            f"give train.max_length_tokens={context}",
        )
    devices, engine = setting.hardware.devices, setting.engine
    if setting.recipe.train.global_batch_size < devices:
        raise UserError(
            f"train.global_batch_size is {setting.recipe.train.global_batch_size}, less than the {devices} processes",
            f"give at least {devices}, or fewer devices",
        )
    if setting.strategy == "single" and devices > 1:
        raise UserError(f"engine.strategy=single is one device, not {devices}", "leave engine.strategy out")
    if setting.adapter and setting.adapter.kind == "qlora" and devices > 1:
        raise UserError("train.adapter=qlora trains on one device", "plan one device, or give train.adapter=lora")
    if engine.cpu_offload and (setting.hardware.kind == "cpu" or setting.strategy == "single"):
        raise UserError("engine.cpu_offload is for several processes on GPUs", "leave it out")
    if setting.strategy != "single" and devices % engine.replicas:
        raise UserError(f"{devices} devices cannot hold {engine.replicas} copies of the model", "lower engine.replicas")
