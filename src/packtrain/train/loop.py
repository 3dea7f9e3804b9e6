"""The optimizer steps: global batch, micro-batches, weighted loss, clip, update."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from packtrain.core.errors import UserError
from packtrain.core.recipe import Train
from packtrain.prompts.encode import Example
from packtrain.train.batches import Batches, MicroBatch
from packtrain.train.loss import summed_loss, weights
from packtrain.train.optimizer import set_learning_rate
from packtrain.train.schedule import learning_rate, warmup_steps
from packtrain.train.strategies.single import Single


@dataclass(frozen=True, slots=True)
class StepFigures:
    """What one optimizer step measured."""

    step: int
    """1-based."""
    loss: float
    """Of the global batch before the update, averaged as the recipe says."""
    lr: float
    grad_norm: float
    """L2 norm over all gradients before clipping."""
    learnt_tokens: int
    tokens: int
    """Positions computed, padding left out."""


def total_steps(batches: Batches, settings: Train) -> int:
    """Optimizer steps of the whole run: the epochs' steps, or `max_steps` if that is fewer."""
    return min(batches.total_steps, settings.max_steps or batches.total_steps)


def optimize(
    model: Any,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    settings: Train,
    strategy: Single,
    first_step: int = 1,
) -> Iterator[StepFigures]:
    """Train `model` in place from `first_step` on; yields the figures of each step after its update.

    Raises UserError when the loss is not finite, naming the records of the batch; the model is
    then as it was before that step.
    """
    last = total_steps(batches, settings)
    warmup = warmup_steps(last, settings.warmup_ratio, settings.warmup_rounding)
    model.train()
    for step in range(first_step, last + 1):
        examples = batches.of_step(step)
        micro_batches = batches.micro_batches(examples)
        rate = learning_rate(step, last, warmup, settings.lr, settings.schedule)
        set_learning_rate(optimizer, rate)
        loss = 0.0
        for micro_batch, weight in zip(micro_batches, weights(micro_batches, settings.loss_averaging), strict=True):
            weighted = forward_loss(model, micro_batch, strategy) * weight
            weighted.backward()  # type: ignore[no-untyped-call]
            loss += weighted.item()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm).item()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            optimizer.zero_grad()
            raise _not_finite(step, loss, norm, examples)
        optimizer.step()
        optimizer.zero_grad()
        learnt = sum(batch.learnt_tokens for batch in micro_batches)
        yield StepFigures(step, loss, rate, norm, learnt, sum(len(example.input_ids) for example in examples))


def forward_loss(model: Any, batch: MicroBatch, strategy: Single) -> torch.Tensor:
    """Summed loss of one micro-batch, a float32 scalar with gradient."""
    device = strategy.device
    with strategy.compute():
        logits = model(
            input_ids=batch.input_ids.to(device), attention_mask=batch.attention_mask.to(device), use_cache=False
        ).logits
    return summed_loss(logits, batch.labels.to(device))


@torch.no_grad()
def mean_token_loss(model: Any, batches: Batches, strategy: Single) -> float:
    """Mean loss per learnt token over all examples of `batches`, in nats, without dropout."""
    model.eval()
    summed, tokens = 0.0, 0
    for micro_batch in batches.micro_batches(list(batches.examples)):
        summed += forward_loss(model, micro_batch, strategy).item()
        tokens += micro_batch.learnt_tokens
    return summed / max(1, tokens)


def _not_finite(step: int, loss: float, norm: float, examples: list[Example]) -> UserError:
    records = ", ".join(f"{example.dataset}/{example.id}" for example in examples[:8])
    return UserError(
        f"step {step}: loss {loss}, gradient norm {norm}: training has diverged (records: {records} ...)",
        "lower train.lr or use train.precision=float32, and start again with --overwrite",
    )
