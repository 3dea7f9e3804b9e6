"""One process or several, each with a part of every weight: DeepSpeed's ZeRO-3, an optional extra.

The recipe's own optimizer, schedule, clipping and loss are used, so the model becomes what FSDP makes of it.
"""

import atexit
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from math import sqrt
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import HashStore
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard
from torch.nn.utils import get_total_norm

from packtrain.core.adapter import parse_adapter
from packtrain.core.engine import Engine
from packtrain.core.errors import UserError
from packtrain.core.extras import imported, install_line
from packtrain.core.recipe import Train
from packtrain.train.distributed import Processes
from packtrain.train.load import ModelSource
from packtrain.train.objective import evaluating
from packtrain.train.packing import MicroBatch
from packtrain.train.strategy import (
    Losses,
    device_name,
    kept_tensors,
    outline_of,
    prepare_layers,
    resolve_precision,
)
from packtrain.train.zero3 import (
    OnePass,
    Part,
    compute_with,
    fill_parts,
    keep_head_whole,
    optimizer_over,
    partition,
    parts_of,
    zero3_config,
)


class Strategy:
    """A model under ZeRO-3: weights, gradients and optimizer state in flat parts, put together module by module.

    Masters, and gradients as they are added up and exchanged, are float32. With `engine.cpu_offload` the parts lie in
    the host's memory. DeepSpeed replaces `torch.nn.functional.linear` in this process by its own, which lets weights go
    between forward and backward pass.
    """

    state_form = "deepspeed"

    def __init__(self, processes: Processes, settings: Train, engine: Engine) -> None:
        """UserError for an engine that DeepSpeed cannot be, or when the package is not installed."""
        if engine.cpu_offload and processes.device.type == "cpu":
            raise UserError("engine.cpu_offload moves weights off GPUs, and there is none", "leave it out")
        if engine.replicas > 1:
            raise UserError("engine.replicas belongs to engine.strategy=fsdp", "leave it out, or take fsdp")
        if engine.compile:
            raise UserError("engine.compile is not for engine.strategy=deepspeed", "leave it out, or take fsdp")
        if parse_adapter(settings.adapter):
            raise UserError(
                "engine.strategy=deepspeed trains all weights, no adapter",
                "give engine.strategy=auto, which trains an adapter, or train.adapter=none",
            )
        self.processes = processes
        self.device = processes.device
        self.compute_dtype = resolve_precision(settings.precision, self.device)
        self.offloaded = engine.cpu_offload
        self.deepspeed = import_deepspeed(self.device)
        # DeepSpeed calls torch's collectives by names of before torch 2.13
        warnings.filterwarnings("ignore", r"`torch\.distributed\.\w+` is deprecated", FutureWarning)

    def build(self, source: ModelSource, settings: Train, engine: Engine) -> None:
        """Partition the empty model, then fill each process's parts from disk."""
        _connect(self.processes)
        model = source.shape()
        self.objective = OnePass(model, self.compute_dtype)
        prepare_layers(self.objective, engine)
        config = zero3_config(
            model.get_input_embeddings().weight.shape[1],
            self.compute_dtype,
            offload=self.offloaded,
            overlap=self.device.type == "cuda",
        )
        partition(model, self.compute_dtype, self.device, config)
        optimizer = optimizer_over(model, settings)
        self.engine: Any = self.deepspeed.initialize(model=self.objective, optimizer=optimizer, config=config)[0]
        self._zero: Any = self.engine.optimizer
        self.parts = parts_of(model, self._zero, self.processes)
        fill_parts(self.parts, model, source, self.processes)
        keep_head_whole(self.objective, self.engine)
        self.state_was_loaded()
        self._mesh = init_device_mesh(
            "cpu" if self.offloaded else self.device.type, (self.processes.world_size,), mesh_dim_names=("shard",)
        )
        for table in (model.get_input_embeddings(), model.get_output_embeddings()):
            table.weight.all_gather()  # its size is asked for before the first pass, which takes it apart again

    def accumulate(self, batch: MicroBatch) -> Losses:
        """Forward and backward pass; gradients are summed over the processes."""
        total, losses = self.engine(batch.to(self.device))
        # DeepSpeed takes the mean over processes, and would take it over micro-batches, too
        self.engine.backward(total * self.processes.world_size, scale_wrt_gas=False)
        return total.detach(), losses.detach()

    def evaluate(self, batch: MicroBatch) -> Losses:
        """Forward pass alone."""
        with evaluating(self.objective):
            losses: Losses = self.objective(batch.to(self.device))
        return losses

    def update(self, rate: float, clip_norm: float, check: Callable[[float], None]) -> float:
        """Clip by the norm over all parts, check, step."""
        self._zero.finalize_gradient_accumulation_boundary()
        norm = self._norm()
        try:
            check(norm)
        except BaseException:
            self._zero.zero_grad()
            raise
        self._zero.clip_grad = clip_norm
        for group in self._zero.param_groups:
            group["lr"] = rate
        self.engine.step()
        if not self.engine.was_step_applied():
            raise RuntimeError(f"DeepSpeed has left out a step with a gradient norm of {norm}")
        return norm

    def _norm(self) -> float:
        """The L2 norm of all gradients."""
        from deepspeed.utils import safe_get_local_grad

        mine = [part.own(safe_get_local_grad(part.parameter)) for part in self.parts.values()]
        return sqrt(self.processes.sum(get_total_norm(mine, foreach=True) ** 2).item())

    def state(self) -> dict[str, torch.Tensor]:
        """This process's parts of masters and optimizer state, as shards of flat tensors.

        Any number of processes reads them, but no other strategy: FSDP cuts between rows.
        """
        state: dict[str, torch.Tensor] = {}
        for name, part in self.parts.items():
            for key, tensor in (("weight", part.master), *part.moments.items()):
                state[f"flat.{key}.{name}"] = self._shard(part, tensor)
            state[f"flat.step.{name}"] = part.step
        return state

    def _shard(self, part: Part, padded: torch.Tensor) -> torch.Tensor:
        shape = torch.Size([part.parameter.ds_numel])
        own = part.own(padded)
        return DTensor.from_local(own, self._mesh, [Shard(0)], run_check=False, shape=shape, stride=(1,))

    def state_was_loaded(self) -> None:
        """Copy the masters to the parts that compute."""
        compute_with(self.parts, self.engine)

    def outline(self) -> dict[str, torch.Tensor]:
        """Shapes and types of the model's tensors, tied ones once."""
        shapes = {name: part.parameter.ds_shape for name, part in self.parts.items()}
        kept = kept_tensors(self.objective.model)
        whole = {
            name: torch.empty(shapes.get(name, tensor.shape), dtype=tensor.dtype, device="meta")
            for name, tensor in kept.items()
        }
        return outline_of(whole, torch.float32)

    def weights(self, *, trained_only: bool = False) -> Iterator[tuple[str, torch.Tensor]]:
        """One tensor after another, put together from the masters."""
        from deepspeed.utils import safe_get_full_fp32_param

        kept: Mapping[str, Any] = self.parts if trained_only else kept_tensors(self.objective.model)
        for name, tensor in kept.items():
            part = self.parts.get(name)
            yield name, (safe_get_full_fp32_param(part.parameter) if part else tensor.detach()).cpu()

    def describe(self) -> str:
        """Devices, partitioning and precision."""
        compute = str(self.compute_dtype).removeprefix("torch.")
        host = " in the host's memory" if self.offloaded else ""
        return (
            f"{self.processes.world_size} x {device_name(self.device)}, DeepSpeed ZeRO-3{host}, {compute} compute, "
            "float32 master weights"
        )


def import_deepspeed(device: torch.device) -> Any:
    """The module deepspeed, for this kind of device; UserError when it is not installed, or too old."""
    if device.type == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"  # it takes a GPU for granted where it finds a compiler for one
    deepspeed = imported("deepspeed", "deepspeed", "engine.strategy=deepspeed")
    if not hasattr(deepspeed.DeepSpeedEngine, "managed_gradient_accumulation"):
        raise UserError(f"deepspeed {deepspeed.__version__} is too old", install_line("deepspeed"))
    if device.type == "cpu":  # it would compile its own way of adding up between processes, for a minute or two
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


def _connect(processes: Processes) -> None:
    """DeepSpeed wants connected processes even of a single one."""
    if dist.is_initialized():
        return
    os.environ.setdefault("LOCAL_RANK", "0")
    backend = "cpu:gloo,cuda:nccl" if processes.device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1)
    atexit.register(dist.destroy_process_group)
