"""Several processes, each with a shard of every weight: torch's FSDP2, layer by layer."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from packtrain.core.engine import Engine
from packtrain.core.errors import UserError
from packtrain.core.recipe import Train
from packtrain.train.distributed import Processes
from packtrain.train.load import ModelSource
from packtrain.train.objective import Objective, evaluating
from packtrain.train.optimizer import build_optimizer, clipped_step, flat_state, whole
from packtrain.train.packing import MicroBatch
from packtrain.train.shards import fill_from_disk
from packtrain.train.strategy import (
    Losses,
    device_name,
    kept_tensors,
    outline_of,
    prepare_layers,
    resolve_precision,
)


class Strategy:
    """A model sharded over all processes, or over each of several groups of them (`engine.replicas`, HSDP).

    A layer is put together when it computes and taken apart after it; weights, gradients and optimizer state stay
    sharded, in float32. The layers are found from the model. Gradients are exchanged in float32.
    """

    state_form = "by weight"

    def __init__(self, processes: Processes, settings: Train, engine: Engine) -> None:
        """UserError for an engine that these processes cannot be."""
        if processes.world_size == 1:
            raise UserError(
                "engine.strategy=fsdp needs several processes, and one was started",
                "start it with: torchrun --nproc_per_node N -m packtrain train ...",
            )
        if processes.world_size % engine.replicas:
            fitting = [n for n in range(1, processes.world_size + 1) if processes.world_size % n == 0]
            raise UserError(
                f"{processes.world_size} processes cannot hold {engine.replicas} copies of the model",
                f"give engine.replicas={' or '.join(map(str, fitting))}",
            )
        if engine.cpu_offload and processes.device.type == "cpu":
            raise UserError("engine.cpu_offload moves weights off GPUs, and there is none", "leave it out")
        self.processes = processes
        self.device = processes.device
        self.compute_dtype = resolve_precision(settings.precision, self.device)
        # of layers that return a view, as OPT's do: harmless, because nothing is added to it in place
        warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")

    def build(self, source: ModelSource, settings: Train, engine: Engine) -> None:
        """Shard the empty model, then fill each process's shards from disk."""
        if source.adapter and source.adapter.kind == "qlora":
            raise UserError(
                "qlora trains on one device: its 4-bit weights cannot be sharded",
                "start one process, or give train.adapter=lora, whose base is sharded over all processes",
            )
        model = source.shape()
        self.objective = Objective(model, self.compute_dtype)
        layers = prepare_layers(self.objective, engine)
        shards = self.processes.world_size // engine.replicas
        shape, names = (
            ((engine.replicas, shards), ("replica", "shard")) if engine.replicas > 1 else ((shards,), ("shard",))
        )
        how: dict[str, Any] = {
            "mesh": init_device_mesh(self.device.type, shape, mesh_dim_names=names),
            # inputs stay as they are: the weights of the learnt tokens are to be exact
            "mp_policy": MixedPrecisionPolicy(
                param_dtype=self.compute_dtype, reduce_dtype=torch.float32, cast_forward_inputs=False
            ),
        }
        if engine.cpu_offload:
            how["offload_policy"] = CPUOffloadPolicy()
        for layer in layers:
            fully_shard(layer, **how)
        self._whole: Any = fully_shard(self.objective, **how)
        fill_from_disk(model, source, self.processes, torch.device("cpu") if engine.cpu_offload else self.device)
        source.begin_adapter(model)
        self.masters = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self._prove_sharded(layers)
        self.optimizer = build_optimizer(self.masters, settings)
        self.replicas = engine.replicas

    def _prove_sharded(self, layers: list[torch.nn.Module]) -> None:
        plain = [name for name, weight in self.objective.named_parameters() if not isinstance(weight, DTensor)]
        if plain or not layers:
            raise RuntimeError(f"FSDP left these weights whole: {plain[:3]}, layers found: {len(layers)}")

    def accumulate(self, batch: MicroBatch) -> Losses:
        """Forward and backward pass; gradients are summed over the processes."""
        total, losses = self.objective(batch.to(self.device))
        (total * self.processes.world_size).backward()  # FSDP takes the mean over processes
        return total.detach(), losses.detach()

    def evaluate(self, batch: MicroBatch) -> Losses:
        """Forward pass alone."""
        with evaluating(self.objective):
            losses: Losses = self.objective(batch.to(self.device))
        return losses

    def update(self, rate: float, clip_norm: float, check: Callable[[float], None]) -> float:
        """Clip by the norm over all shards, check, step."""
        return clipped_step(self.optimizer, self.masters, rate, clip_norm, check)

    def state(self) -> dict[str, torch.Tensor]:
        """This process's shards of masters and optimizer state."""
        return flat_state(self.optimizer, self.masters)

    def state_was_loaded(self) -> None:
        """Forget what was put together from the former shards."""
        self._take_apart()

    def _take_apart(self) -> None:
        """What lies outside the layers stays whole after a forward pass, in the type that is computed in."""
        self._whole.reshard()

    def outline(self) -> dict[str, torch.Tensor]:
        """Shapes and types of the model's tensors, tied ones once."""
        return outline_of(kept_tensors(self.objective.model), torch.float32)

    def weights(self, *, trained_only: bool = False) -> Iterator[tuple[str, torch.Tensor]]:
        """One tensor after another, put together from the shards."""
        self._take_apart()
        for name, tensor in (self.masters if trained_only else kept_tensors(self.objective.model)).items():
            yield name, whole(tensor.detach()).cpu()

    def describe(self) -> str:
        """Devices, sharding and precision."""
        compute = str(self.compute_dtype).removeprefix("torch.")
        copies = f" in {self.replicas} copies" if self.replicas > 1 else ""
        return (
            f"{self.processes.world_size} x {device_name(self.device)}, FSDP2{copies}, {compute} compute, "
            "float32 master weights"
        )
