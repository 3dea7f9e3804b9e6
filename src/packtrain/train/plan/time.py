"""How long training takes: operations that the model needs, over what the devices reach of their peak.

The operations are counted (flops.py); the share of the peak is an assumption, and the plan says which.
"""

from dataclasses import dataclass

import torch

from packtrain.core.engine import Engine
from packtrain.core.recipe import Train
from packtrain.train.flops import Work, training_flops
from packtrain.train.plan.hardware import Hardware
from packtrain.train.plan.workload import Workload, steps_of

RECOMPUTED = 4 / 3
"""Operations with activation checkpointing as a multiple of those without: the forward pass happens twice."""


@dataclass(frozen=True, slots=True)
class TimePlan:
    """An estimate, not a promise; what is not known is None."""

    steps: int | None
    tokens: int | None
    """Positions computed in the whole run."""
    flops: float | None
    """What the model needs for them, recomputed layers not counted."""
    seconds: float | None
    tokens_per_s: float | None
    assumption: str


def plan_time(
    work: Work, workload: Workload, settings: Train, engine: Engine, dtype: torch.dtype, hardware: Hardware
) -> TimePlan:
    """Steps, tokens and time of the whole run on `hardware`, saving and loading left out."""
    kind = str(dtype).removeprefix("torch.")
    lengths = workload.lengths
    per_token = training_flops(work, lengths, round(workload.learnt_share * sum(lengths))) / sum(lengths)
    peak, share = dict(hardware.peak_flops).get(kind), dict(hardware.utilisation).get(kind)
    tokens_per_s, assumption = None, f"the peak of {hardware.name} in {kind} is not known here"
    if peak and share:
        again = RECOMPUTED if engine.activation_checkpointing else 1.0
        tokens_per_s = hardware.devices * peak * share / (per_token * again)
        assumption = f"{100 * share:.0f} % of {_rate(peak)} in {kind} on each device"
        assumption += ", layers computed twice" if engine.activation_checkpointing else ""
    steps = steps_of(workload, settings)
    tokens = None
    if steps is not None:
        conversations = steps * settings.global_batch_size
        if workload.conversations:
            conversations = min(conversations, workload.conversations * settings.epochs)
        tokens = round(conversations * workload.mean_tokens)
    return TimePlan(
        steps=steps,
        tokens=tokens,
        flops=None if tokens is None else tokens * per_token,
        seconds=None if tokens is None or tokens_per_s is None else tokens / tokens_per_s,
        tokens_per_s=tokens_per_s,
        assumption=assumption,
    )


def _rate(flops: float) -> str:
    return f"{flops / 1e12:.0f} TFLOP/s" if flops >= 1e13 else f"{flops / 1e9:.0f} GFLOP/s"
