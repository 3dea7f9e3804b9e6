"""The optimizer steps: global batch, micro-batches, weighted loss, clip, update."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from packtrain.core.recipe import Train
from packtrain.prompts.encode import IGNORED, Example
from packtrain.train.batches import Batches
from packtrain.train.distributed import Processes
from packtrain.train.flops import training_flops, work_of
from packtrain.train.packing import Layout, MicroBatch, example_weights, micro_batches
from packtrain.train.schedule import learning_rate, warmup_steps
from packtrain.train.strategy import Losses, Strategy
from packtrain.train.watchdog import Watchdog

EVALUATED_AT_ONCE = 256
"""Held-out examples that are packed together."""


@dataclass(frozen=True, slots=True)
class StepFigures:
    """What one optimizer step measured, over all processes."""

    step: int
    """1-based."""
    epoch: float
    """Passes over the data after this step."""
    loss: float
    """Of the global batch before the update, averaged as the recipe says."""
    lr: float
    grad_norm: float
    """L2 norm over all gradients before clipping."""
    learnt_tokens: int
    tokens: int
    """Positions computed, padding left out."""
    seconds: float
    flops: float
    """Operations of the step's forward and backward passes, those of recomputed layers not counted."""
    loss_by_dataset: dict[str, float]
    """Mean loss per learnt token of each data set in the batch; empty with one data set."""


def learning_rates(steps: int, settings: Train) -> list[float]:
    """The learning rate of each step of a training of so many."""
    warmup = warmup_steps(steps, settings.warmup_ratio, settings.warmup_rounding)
    return [learning_rate(step, steps, warmup, settings.lr, settings.schedule) for step in range(1, steps + 1)]


def total_steps(batches: Batches, settings: Train) -> int:
    """Optimizer steps of the whole run: the epochs' steps, or `max_steps` if that is fewer."""
    return min(batches.total_steps, settings.max_steps or batches.total_steps)


def optimize(
    strategy: Strategy,
    batches: Batches,
    settings: Train,
    layout: Layout,
    watchdog: Watchdog,
    first_step: int = 1,
) -> Iterator[StepFigures]:
    """Train from `first_step` on; yields the figures of each step after its update.

    Raises UserError when the watchdog sees that the run cannot be going well, before that step's update.
    """
    last = total_steps(batches, settings)
    rates = learning_rates(last, settings)
    work = work_of(strategy.objective.model)
    strategy.objective.train()
    for step in range(first_step, last + 1):
        begun = time.monotonic()
        examples = batches.of_step(step)
        losses = _Losses(examples, strategy.processes.device)
        for batch in micro_batches(examples, example_weights(examples, settings), layout):
            losses.add(batch, strategy.accumulate(batch))
        loss, by_dataset = losses.over_all(strategy.processes)
        learnt, lengths = sum(example.learnt_tokens for example in examples), [len(one.input_ids) for one in examples]
        rate = rates[step - 1]
        names = partial(_names, examples)
        check = partial(_check, watchdog, step, loss, learnt, names)
        norm = strategy.update(rate, settings.clip_norm, check)
        yield StepFigures(
            step=step,
            epoch=step / batches.steps_per_epoch,
            loss=loss,
            lr=rate,
            grad_norm=norm,
            learnt_tokens=learnt,
            tokens=sum(lengths),
            seconds=time.monotonic() - begun,
            flops=training_flops(work, lengths, learnt),
            loss_by_dataset=by_dataset,
        )


def _check(
    watchdog: Watchdog, step: int, loss: float, learnt: int, names: Callable[[], Sequence[str]], norm: float
) -> None:
    watchdog.check(step, loss, norm, learnt, names)


def _names(examples: Sequence[Example]) -> list[str]:
    return [f"{example.dataset}/{example.id}" for example in examples]


class _Losses:
    """The losses of one step's micro-batches, added up on the device and fetched once."""

    def __init__(self, examples: Sequence[Example], device: torch.device) -> None:
        self.datasets = sorted({example.dataset for example in examples})
        """The same in every process, whichever examples it computes."""
        self._number = {dataset: number for number, dataset in enumerate(self.datasets)}
        self._sums = torch.zeros(1 + 2 * len(self.datasets), device=device)
        """The weighted loss; then summed cross-entropy and learnt tokens of each data set."""

    def add(self, batch: MicroBatch, losses: Losses) -> None:
        """Take in a micro-batch and what it gave."""
        total, each = losses
        self._sums[0] += total
        if len(self.datasets) == 1 or not batch.counts:
            return
        numbers = torch.tensor([self._number[source] for source in batch.sources])
        if batch.packed:
            places = torch.repeat_interleave(numbers, torch.tensor(batch.lengths))
        else:
            places = numbers[:, None].expand_as(batch.labels).flatten()
        places = places[batch.labels.flatten() != IGNORED].to(self._sums.device)
        count = len(self.datasets)
        self._sums[1 : 1 + count].index_add_(0, places, each.to(self._sums.device))
        self._sums[1 + count :].index_add_(0, places, torch.ones_like(each, device=self._sums.device))

    def over_all(self, processes: Processes) -> tuple[float, dict[str, float]]:
        """The batch's loss, and the mean loss per learnt token of each data set when there are several."""
        sums = processes.sum(self._sums).tolist()
        if len(self.datasets) == 1:
            return sums[0], {}
        count = len(self.datasets)
        parts = zip(self.datasets, sums[1 : 1 + count], sums[1 + count :], strict=True)
        return sums[0], {dataset: loss / tokens for dataset, loss, tokens in parts if tokens}


def mean_token_loss(strategy: Strategy, examples: Sequence[Example], layout: Layout) -> float:
    """Mean loss per learnt token over `examples`, in nats, without dropout."""
    learnt = sum(example.learnt_tokens for example in examples)
    total = torch.zeros(1, device=strategy.processes.device)
    for start in range(0, len(examples), EVALUATED_AT_ONCE):
        some = examples[start : start + EVALUATED_AT_ONCE]
        for batch in micro_batches(some, [1.0] * len(some), layout):
            total += strategy.evaluate(batch)[0]
    return float(strategy.processes.sum(total).item()) / max(1, learnt)
