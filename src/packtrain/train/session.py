"""One training run: a model, its optimizer, its batches, and where it stands."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from packtrain.core.interrupt import deferred_interrupt
from packtrain.core.progress import progress, say
from packtrain.core.recipe import Recipe
from packtrain.prompts.encode import Example
from packtrain.prompts.tokenizer import Tokenizer
from packtrain.train.batches import Batches
from packtrain.train.checkpoint import Position, load_checkpoint, save_checkpoint
from packtrain.train.load import load_base
from packtrain.train.loop import mean_token_loss, optimize, total_steps
from packtrain.train.optimizer import build_optimizer
from packtrain.train.strategies.single import Single

Figures = dict[str, Any]
"""One line of `metrics.jsonl`."""


class TrainingSession:
    """A run from its base, or from its newest checkpoint, to its last step."""

    def __init__(
        self,
        recipe: Recipe,
        base: Path,
        tokenizer: Tokenizer,
        examples: Sequence[Example],
        held_out: Sequence[Example],
    ) -> None:
        """Load the base in float32 with a row per token; UserError when it cannot be loaded."""
        self.settings = recipe.train
        torch.manual_seed(recipe.seed)
        self.strategy = Single(self.settings.precision)
        self.model = load_base(base, len(tokenizer), self.settings.max_length_tokens)
        self.strategy.place(self.model)
        self.optimizer = build_optimizer(self.model, self.settings)
        self.batches = self._batches(recipe, tokenizer, examples)
        self.held_out = self._batches(recipe, tokenizer, held_out) if held_out else None

    def _batches(self, recipe: Recipe, tokenizer: Tokenizer, examples: Sequence[Example]) -> Batches:
        return Batches(
            examples,
            global_batch_size=self.settings.global_batch_size,
            micro_batch_size=self.settings.micro_batch_size,
            epochs=self.settings.epochs,
            seed=recipe.seed,
            order=self.settings.order,
            last_batch=self.settings.last_batch,
            sort_by_length=self.settings.loss_averaging == "token",
            pad_id=tokenizer.pad_id,
        )

    def start_or_resume(self, checkpoints: Path, metrics: Path, run_digest: str) -> None:
        """Take the newest checkpoint in the folder `checkpoints`, or measure the held-out loss and stand before step 1.

        UserError when the checkpoint is of a run with another digest.
        """
        self.checkpoints, self.metrics = checkpoints, metrics
        position = load_checkpoint(self.checkpoints, self.model, self.optimizer, run_digest)
        if position is None:
            position = Position(0, run_digest, self.held_out_loss(), 0.0)
        else:
            say(f"resuming after step {position.step}")
        self.position = position

    def held_out_loss(self) -> float | None:
        """Mean loss per learnt token on the held-out examples, in nats; None when there are none."""
        return mean_token_loss(self.model, self.held_out, self.strategy) if self.held_out else None

    def run(self) -> list[Figures]:
        """The figures of all steps, those before a resume included, after the last one.

        Saves a checkpoint every so many steps, and when interrupted: then raises KeyboardInterrupt.
        """
        last = total_steps(self.batches, self.settings)
        figures = self._figures_so_far()
        say(f"training: {len(self.batches.examples)} examples, {last} steps, {self.strategy.describe()}")
        begun, before = time.monotonic(), self.position.seconds
        with (
            deferred_interrupt("finishing the step and saving a checkpoint") as interrupted,
            progress("training", last) as advance,
            open(self.metrics, "a", encoding="utf-8") as log,
        ):
            advance(self.position.step)
            first = self.position.step + 1
            for step in optimize(self.model, self.optimizer, self.batches, self.settings, self.strategy, first):
                figures.append(asdict(step))
                log.write(json.dumps(figures[-1]) + "\n")
                log.flush()
                advance(1, note=f"loss {step.loss:.3f}  lr {step.lr:.1e}  grad norm {step.grad_norm:.2f}")
                self.position = replace(self.position, step=step.step, seconds=before + time.monotonic() - begun)
                due = step.step % self.settings.checkpoint_every_steps == 0 or step.step == last
                if due or interrupted():
                    save_checkpoint(self.checkpoints, self.model, self.optimizer, self.position)
                if interrupted():
                    raise KeyboardInterrupt
        return figures

    def _figures_so_far(self) -> list[Figures]:
        """The figures up to the checkpoint; lines of steps that will be done again are taken off the file."""
        lines = self.metrics.read_text(encoding="utf-8").splitlines() if self.metrics.exists() else []
        kept = lines[: self.position.step]
        self.metrics.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        return [json.loads(line) for line in kept]
