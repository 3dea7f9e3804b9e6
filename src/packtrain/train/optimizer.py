"""AdamW as the recipes of 2023 used it, its gradients' norm, and its state under flat names."""

from collections.abc import Callable, Mapping

import torch
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from packtrain.core.recipe import Train

Weights = Mapping[str, torch.nn.Parameter]
"""Names to master weights."""


def build_optimizer(weights: Weights, settings: Train) -> torch.optim.AdamW:
    """AdamW over `weights`; vectors (norms, biases) are never decayed."""
    matrices = [weight for weight in weights.values() if weight.ndim >= 2]
    vectors = [weight for weight in weights.values() if weight.ndim < 2]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=0.0,
        betas=settings.adam_betas,
        eps=settings.adam_epsilon,
        fused=True,
    )


def clipped_step(
    optimizer: torch.optim.Optimizer, weights: Weights, rate: float, clip_norm: float, check: Callable[[float], None]
) -> float:
    """One step at `rate` with gradients scaled to `clip_norm` at most; their L2 norm before that.

    Whatever `check(norm)` raises comes before the step; the gradients are gone either way.
    """
    try:
        total = get_total_norm([weight.grad for weight in weights.values() if weight.grad is not None], foreach=True)
        norm = float(whole(total).item())
        check(norm)
        clip_grads_with_norm_(weights.values(), clip_norm, torch.tensor(norm, device=total.device), foreach=True)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    finally:
        optimizer.zero_grad()
    return norm


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor itself, or what a sharded one is when put together: then to be called by all processes."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def flat_state(optimizer: torch.optim.Optimizer, weights: Weights) -> dict[str, torch.Tensor]:
    """`weight.NAME` and `optimizer.KEY.NAME` for every weight: the tensors themselves, so they can be read into.

    An optimizer that has not stepped yet gets its state first, by a step that changes nothing.
    """
    if not optimizer.state:
        _step_without_effect(optimizer, weights)
    state: dict[str, torch.Tensor] = {}
    for name, weight in weights.items():
        state[f"weight.{name}"] = weight.detach()
        for key, value in optimizer.state[weight].items():
            state[f"optimizer.{key}.{name}"] = value
    return state


def _step_without_effect(optimizer: torch.optim.Optimizer, weights: Weights) -> None:
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    for weight in weights.values():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    optimizer.zero_grad()
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    for values in optimizer.state.values():
        values["step"].zero_()
