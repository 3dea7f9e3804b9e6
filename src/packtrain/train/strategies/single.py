"""One process, one device: the whole model, as float32 master weights and, where it pays, a bfloat16 copy."""

from collections.abc import Callable, Iterator, Mapping

import torch

from packtrain.core.engine import Engine
from packtrain.core.errors import UserError
from packtrain.core.recipe import Train
from packtrain.train.distributed import Processes
from packtrain.train.host_memory import keep_freed_memory
from packtrain.train.load import ModelSource
from packtrain.train.objective import Objective, evaluating
from packtrain.train.optimizer import build_optimizer, clipped_step, flat_state
from packtrain.train.packing import MicroBatch
from packtrain.train.strategy import (
    Losses,
    device_name,
    kept_tensors,
    outline_of,
    prepare_layers,
    resolve_precision,
)


class Strategy:
    """A model on one device.

    In float32 the model's own parameters are the master weights. In bfloat16 the model computes with a copy of
    them, made anew after each step; gradients are added up in float32 on the masters as soon as a layer has them.
    """

    state_form = "by weight"

    def __init__(self, processes: Processes, settings: Train, engine: Engine) -> None:
        """UserError with several processes: each would train the whole model."""
        if processes.world_size > 1:
            raise UserError(
                f"engine.strategy=single is one process, and {processes.world_size} were started",
                "leave engine.strategy out, or start one process",
            )
        if engine.cpu_offload or engine.replicas > 1:
            raise UserError(
                "engine.cpu_offload and engine.replicas belong to several processes",
                "start them with torchrun, or leave these settings out",
            )
        self.processes = processes
        self.device = processes.device
        self.compute_dtype = resolve_precision(settings.precision, self.device)

    def build(self, source: ModelSource, settings: Train, engine: Engine) -> None:
        """Load the model whole and put it on the device."""
        if self.device.type == "cpu":
            keep_freed_memory()
        model = source.whole(self.device, self.compute_dtype)
        self.objective = Objective(model, self.compute_dtype)
        prepare_layers(self.objective, engine)
        trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self._computed = trained
        self.masters: Mapping[str, torch.nn.Parameter] = trained
        if self.compute_dtype != torch.float32:
            self.masters = {name: torch.nn.Parameter(weight.detach().float()) for name, weight in trained.items()}
            for weight in model.parameters():
                if weight.is_floating_point():
                    weight.data = weight.data.to(self.compute_dtype)
            for name, weight in trained.items():
                weight.register_post_accumulate_grad_hook(_adding_to(self.masters[name]))
        self.optimizer = build_optimizer(self.masters, settings)

    def accumulate(self, batch: MicroBatch) -> Losses:
        """Forward and backward pass."""
        total, losses = self.objective(batch.to(self.device))
        total.backward()
        return total.detach(), losses.detach()

    def evaluate(self, batch: MicroBatch) -> Losses:
        """Forward pass alone."""
        with evaluating(self.objective):
            losses: Losses = self.objective(batch.to(self.device))
        return losses

    def update(self, rate: float, clip_norm: float, check: Callable[[float], None]) -> float:
        """Clip, check, step, and bring the computing copy up to date."""
        norm = clipped_step(self.optimizer, self.masters, rate, clip_norm, check)
        self.state_was_loaded()
        return norm

    def state(self) -> dict[str, torch.Tensor]:
        """Masters and optimizer state."""
        return flat_state(self.optimizer, self.masters)

    @torch.no_grad()
    def state_was_loaded(self) -> None:
        """Copy the masters to the weights that compute."""
        if self._computed is not self.masters:
            torch._foreach_copy_(list(self._computed.values()), list(self.masters.values()))

    def outline(self) -> dict[str, torch.Tensor]:
        """Shapes and types of the model's tensors, tied ones once."""
        return outline_of(kept_tensors(self.objective.model), torch.float32)

    def weights(self, *, trained_only: bool = False) -> Iterator[tuple[str, torch.Tensor]]:
        """The masters, and what is not trained as it is."""
        for name, tensor in (self.masters if trained_only else kept_tensors(self.objective.model)).items():
            yield name, self.masters.get(name, tensor).detach().cpu()

    def describe(self) -> str:
        """Device and precision."""
        compute = str(self.compute_dtype).removeprefix("torch.")
        return f"{device_name(self.device)}, {compute} compute, float32 master weights"


def _adding_to(master: torch.nn.Parameter) -> Callable[[torch.Tensor], None]:
    def add(weight: torch.Tensor) -> None:
        if weight.grad is None:
            return
        if master.grad is None:
            master.grad = weight.grad.float()
        else:
            master.grad.add_(weight.grad)
        weight.grad = None

    return add
