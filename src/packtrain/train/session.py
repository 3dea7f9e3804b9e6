"""One training run: a model, its optimizer, its batches, and where it stands."""

import resource
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path

import torch

from packtrain.core.adapter import learning_rate_note, parse_adapter
from packtrain.core.engine import Engine
from packtrain.core.interrupt import deferred_interrupt
from packtrain.core.progress import progress, say
from packtrain.core.recipe import Recipe
from packtrain.prompts.encode import Example
from packtrain.prompts.tokenizer import Tokenizer
from packtrain.train.batches import Batches
from packtrain.train.checkpoint import Checkpoints, Position
from packtrain.train.distributed import Processes
from packtrain.train.flops import mfu, peak_flops
from packtrain.train.load import ModelSource
from packtrain.train.loop import StepFigures, learning_rates, mean_token_loss, optimize, total_steps
from packtrain.train.lora import describe, rows_to_train
from packtrain.train.metrics import Figures, MetricsLog, figures_so_far, open_trackers
from packtrain.train.packing import Layout
from packtrain.train.self_test import prove
from packtrain.train.strategy import Strategy
from packtrain.train.watchdog import Diverged, Watchdog

MICRO_BATCH_TOKENS = {"cpu": 2048, "cuda": 4096}
"""What fills a device: matrix products are no faster with more (measured on a CPU; on GPUs it is an estimate for
models of a billion weights and more, whose activations grow with it)."""


def open_strategy(recipe: Recipe, engine: Engine, processes: Processes) -> Strategy:
    """The strategy of `engine`, not built yet; UserError when these processes cannot be it."""
    name = engine.strategy
    if name == "auto":
        name = "single" if processes.world_size == 1 else "fsdp"
    made: Strategy = import_module(f"packtrain.train.strategies.{name}").Strategy(processes, recipe.train, engine)
    return made


def micro_batch_tokens(engine: Engine, processes: Processes) -> int:
    """Tokens of a micro-batch: as the engine says, or what fills the device."""
    return engine.micro_batch_tokens or MICRO_BATCH_TOKENS[processes.device.type]


class TrainingSession:
    """A run from its base, or from its newest checkpoint, to its last step."""

    def __init__(
        self,
        recipe: Recipe,
        engine: Engine,
        base: Path,
        tokenizer: Tokenizer,
        examples: Sequence[Example],
        held_out: Sequence[Example],
        processes: Processes,
    ) -> None:
        """Load the base with a row per token and prove its attention; UserError when it cannot be trained."""
        self.recipe, self.settings, self.engine, self.processes = recipe, recipe.train, engine, processes
        torch.manual_seed(recipe.seed + processes.rank)
        self.strategy = open_strategy(recipe, engine, processes)
        adapter = parse_adapter(self.settings.adapter)
        source = ModelSource(
            base,
            len(tokenizer),
            adapter=adapter,
            new_rows=rows_to_train(base, len(tokenizer), tokenizer.pad_id) if adapter else (),
            seed=recipe.seed,
            recomputed=engine.activation_checkpointing,
        )
        self.strategy.build(source, self.settings, engine)
        if adapter:
            say(f"adapter {describe(self.strategy.objective.model, adapter)}")
            note = learning_rate_note(adapter, self.settings.lr)
            if note:
                say(f"note: {note}")
        prove(self.strategy.objective, engine, processes, self.settings.max_length_tokens)
        self.batches = Batches(
            examples,
            global_batch_size=self.settings.global_batch_size,
            epochs=self.settings.epochs,
            seed=recipe.seed,
            order=self.settings.order,
            last_batch=self.settings.last_batch,
        )
        self.held_out = held_out
        self.layout = Layout(
            tokens=micro_batch_tokens(engine, processes) if self.strategy.objective.together else 1,
            packed=self.strategy.objective.packing,
            pad_id=tokenizer.pad_id,
            rank=processes.rank,
            world_size=processes.world_size,
        )

    def start_or_resume(self, checkpoints: Path, metrics: Path, run_digest: str) -> None:
        """Take the newest checkpoint in the folder `checkpoints`, or measure the held-out loss and stand before step 1.

        A new run first writes a checkpoint, so that saving is known to work. UserError when the checkpoint found is
        of a run with another digest.
        """
        self.metrics = metrics
        self.checkpoints = Checkpoints(checkpoints, self.strategy, self.engine)
        position = self.checkpoints.load_newest(run_digest)
        if position is None:
            position = Position(
                0, run_digest, self.held_out_loss(), 0.0, self.processes.world_size, self.strategy.state_form
            )
            self.checkpoints.rehearse(position)
        else:
            say(f"resuming after step {position.step}")
            position = replace(position, world_size=self.processes.world_size)
        self.position = position

    def held_out_loss(self) -> float | None:
        """Mean loss per learnt token on the held-out examples, in nats; None when there are none."""
        return mean_token_loss(self.strategy, self.held_out, self.layout) if len(self.held_out) else None

    def run(self) -> list[Figures]:
        """The figures of all steps, those before a resume included, after the last one.

        Saves a checkpoint every so many steps, when interrupted (then raises KeyboardInterrupt), and when the watchdog
        stops the run: the state before the step that went wrong.
        """
        last = total_steps(self.batches, self.settings)
        figures = self._figures_so_far()
        watchdog = Watchdog(self.settings)
        watchdog.replay(figures)
        say(f"training: {len(self.batches.examples)} examples, {last} steps, {self.strategy.describe()}")
        if not any(learning_rates(last, self.settings)):
            say(
                "warning: the learning rate is 0 in the only step, so nothing will be learnt: take more steps, by a "
                "smaller train.global_batch_size, more train.epochs, or more data"
            )
        begun, before = time.monotonic(), self.position.seconds
        with (
            deferred_interrupt("finishing the step and saving a checkpoint") as interrupted,
            progress("training", last) as advance,
            self._log() as self._metrics,
        ):
            advance(self.position.step)
            first = self.position.step + 1
            steps = optimize(self.strategy, self.batches, self.settings, self.layout, watchdog, first)
            try:
                for step in steps:
                    figures.append(self._figures(step))
                    if self._metrics:
                        self._metrics.write(figures[-1])
                    advance(1, note=_note(figures[-1]))
                    self.position = replace(self.position, step=step.step, seconds=before + time.monotonic() - begun)
                    self._save_if_due(last, interrupted, calm=watchdog.calm)
            except Diverged:
                if self._metrics:
                    self._metrics.sync()
                self.checkpoints.save(self.position, keep_older=not watchdog.calm)
                self.checkpoints.wait()
                raise
            else:  # not after an error in one process alone: waiting takes all of them
                self.checkpoints.wait()
        return figures

    def _save_if_due(self, last: int, interrupted: Callable[[], bool], *, calm: bool) -> None:
        step = self.position.step
        stopping = self.processes.any(interrupted())
        self.checkpoints.poll()
        every = self.engine.keep_every_steps
        due = step % self.settings.checkpoint_every_steps == 0 or step == last or (every and step % every == 0)
        if due or stopping:
            if self._metrics:
                self._metrics.sync()
            self.checkpoints.save(self.position, keep_older=not calm)
        if stopping:
            self.checkpoints.wait()
            if self.processes.is_first:
                say(f"saved after step {step}: the same command goes on from there with --resume")
            self.processes.barrier()
            raise KeyboardInterrupt

    def _figures(self, step: StepFigures) -> Figures:
        """A line of `metrics.jsonl`: the step's figures, and what they say of the devices."""
        found = asdict(step)
        flops = found.pop("flops")
        by_dataset = found.pop("loss_by_dataset")
        peak = peak_flops(self.processes.device, self.strategy.compute_dtype)
        found["tokens_per_s"] = step.tokens / step.seconds if step.seconds else None
        found["mfu"] = mfu(flops, step.seconds, peak, self.processes.world_size)
        found["memory_gb"] = _peak_memory_gb(self.processes.device)
        return found | ({"loss_by_dataset": by_dataset} if by_dataset else {})

    def _figures_so_far(self) -> list[Figures]:
        """The figures up to the checkpoint, in all processes; the first one takes other lines off the file."""
        found = figures_so_far(self.metrics, self.position.step) if self.processes.is_first else []
        return self.processes.share(found)

    def _log(self) -> AbstractContextManager[MetricsLog | None]:
        if not self.processes.is_first:
            return nullcontext()
        config = {"recipe": self.recipe.resolved(), "engine": self.engine.model_dump(mode="json")}
        trackers = open_trackers(self.engine.trackers, self.metrics.parent, config, self.position.step)
        return MetricsLog(self.metrics, trackers)


def _note(figures: Figures) -> str:
    """What stands beside the progress bar."""
    note = f"loss {figures['loss']:.3f}  lr {figures['lr']:.1e}  norm {figures['grad_norm']:.2f}"
    if figures["tokens_per_s"]:
        note += f"  {figures['tokens_per_s']:,.0f} tok/s"
    if figures["mfu"]:
        note += f"  MFU {100 * figures['mfu']:.0f} %"
    return f"{note}  {figures['memory_gb']:.1f} GB"


def _peak_memory_gb(device: torch.device) -> float:
    """The most that the device, or on a CPU this process, has held."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    status = Path("/proc/self/status")  # getrusage begins with what the process held that this one was forked from
    if status.exists():
        fields = (line.partition(":") for line in status.read_text().splitlines())
        return next(int(value.split()[0]) * 1024 for name, _, value in fields if name == "VmHWM") / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
