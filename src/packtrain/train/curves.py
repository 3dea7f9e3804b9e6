"""Curves of training runs: what `metrics.jsonl` holds, by name and step, checked line by line."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any

from packtrain.core.errors import UserError
from packtrain.core.json_text import json_value
from packtrain.core.manifest import NAME as MANIFEST
from packtrain.train.metrics import Figures, flat

METRICS = "metrics.jsonl"
BY_DATASET = "loss_by_dataset/"
_PARTIAL = ".partial"
_LAST_STEP = 10**12
_SMOOTHED_PART = 40
"""By default a curve is the running mean over this part of its steps."""


@dataclass(frozen=True)
class Curve:
    """One figure over the steps where it was measured."""

    steps: list[int]
    values: list[float]


@dataclass(frozen=True)
class TrainingRun:
    """The figures of a run, finished or not."""

    name: str
    """Of its folder, as it is called when finished."""
    file: Path
    folder: Path | None
    """Of the run; None for a file of figures alone."""
    figures: list[Figures]
    """In the order of their steps; at least one."""

    @property
    def finished(self) -> bool:
        """Whether its folder bears its final name."""
        return self.folder is None or not self.folder.name.endswith(_PARTIAL)

    @property
    def label(self) -> str:
        """The name, and whether the run has ended."""
        return self.name if self.finished else f"{self.name} (unfinished)"

    def curve(self, name: str) -> Curve:
        """A figure by its name, `loss` or `loss_by_dataset/NAME`, where it was measured and finite."""
        return self._curves.get(name, Curve([], []))

    @property
    def datasets(self) -> list[str]:
        """Names of the data sets whose loss was measured apart, those with the most steps first."""
        found = {name: curve for name, curve in self._curves.items() if name.startswith(BY_DATASET)}
        ordered = sorted(found, key=lambda name: (-len(found[name].steps), name))
        return [name.removeprefix(BY_DATASET) for name in ordered]

    @cached_property
    def _curves(self) -> dict[str, Curve]:
        found: dict[str, Curve] = {}
        for each in self.figures:
            for name, value in flat(each).items():
                curve = found.setdefault(name, Curve([], []))
                curve.steps.append(each["step"])
                curve.values.append(value)
        return found

    def summary(self) -> dict[str, Any]:
        """What the run comes to: counts, losses in nats, seconds of its steps; None for what was not measured."""
        losses = self.curve("loss")
        tokens, seconds = self._total("tokens"), self._total("seconds")
        lowest = min(range(len(losses.values)), key=losses.values.__getitem__, default=None)
        utilisation, memory = self.curve("mfu").values, self.curve("memory_gb").values
        return {
            "run": self.name,
            "metrics": str(self.file),
            "finished": self.finished,
            "steps": len(self.figures),
            "first_loss": losses.values[0] if losses.values else None,
            "last_loss": losses.values[-1] if losses.values else None,
            "min_loss": None if lowest is None else losses.values[lowest],
            "min_loss_step": None if lowest is None else losses.steps[lowest],
            "tokens": tokens,
            "learnt_tokens": self._total("learnt_tokens"),
            "seconds": seconds,
            "tokens_per_s": tokens / seconds if tokens and seconds else None,
            "median_mfu": median(utilisation) if utilisation else None,
            "memory_gb": max(memory, default=None),
        }

    def _total(self, name: str) -> float | None:
        """Sum over all steps; None unless every one of them has it."""
        values = self.curve(name).values
        total = float(sum(values))
        whole = len(values) == len(self.figures)
        return (int(total) if total.is_integer() else total) if whole else None


def read_run(path: Path) -> TrainingRun:
    """The run at `path`: its folder, finished or not (`NAME.partial` is found by NAME too), or a file of figures.

    UserError names the file and the line that is no line of figures; a last line that a kill cut short is left out.
    """
    file, folder = _metrics_of(path)
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not text in UTF-8", f"give a training run, or its {METRICS}") from error
    lines = text.split("\n")
    cut_short = lines.pop()
    figures: list[Figures] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            figures.append(_checked(json_value(line, f"{file}, line {number}"), f"{file}, line {number}", figures))
    if cut_short.strip() and not _is_cut(cut_short):
        number = len(lines) + 1
        figures.append(_checked(json_value(cut_short, f"{file}, line {number}"), f"{file}, line {number}", figures))
    if not figures:
        raise UserError(f"{file} holds no step", "wait for the first step to end, or give another run")
    return TrainingRun(_name_of(file, folder), file, folder, figures)


def distinct_names(runs: Sequence[TrainingRun]) -> list[str]:
    """What legends call the runs: their names, with as many folders before them as tell them apart."""
    names = [run.label for run in runs]
    for depth in range(2, 5):
        if len(set(names)) == len(names):
            return names
        parts = [(run.folder or run.file).resolve().parts for run in runs]
        longer = ["/".join((*part[-depth:-1], run.label)) for part, run in zip(parts, runs, strict=True)]
        names = [long if names.count(name) > 1 else name for name, long in zip(names, longer, strict=True)]
    return [f"{name} ({number})" if names.count(name) > 1 else name for number, name in enumerate(names, start=1)]


def usual_smoothing(runs: Sequence[TrainingRun]) -> int:
    """Steps that the running mean of a figure covers when nothing is said: the same for all runs."""
    return max(1, max(len(run.figures) for run in runs) // _SMOOTHED_PART)


def smoothed(values: Sequence[float], steps: int) -> list[float]:
    """Running means of `steps` values, half of them before and half behind.

    At the beginning, where curves are steep, they cover fewer, evenly; at the end those that there are behind.
    """
    sums = [0.0, *accumulate(values)]
    means = []
    for place in range(len(values)):
        begin = place - min(steps // 2, place)
        end = min(2 * place - begin if begin == 0 else place + steps // 2, len(values) - 1) + 1
        means.append((sums[end] - sums[begin]) / (end - begin))
    return means


def epoch_ends(run: TrainingRun) -> list[int]:
    """Steps after which another epoch begins; empty where epochs are not recorded."""
    epochs = run.curve("epoch")
    pairs = zip(epochs.steps, epochs.values, strict=True)
    ends, passed = [], 1
    for step, epoch in pairs:
        if epoch >= passed - 1e-9 and step != epochs.steps[-1]:
            ends.append(step)
            passed = int(epoch + 1e-9) + 1
    return ends


def _metrics_of(path: Path) -> tuple[Path, Path | None]:
    """The file of figures and the run's folder."""
    if path.is_file():
        ours = path.name == METRICS
        return path, path.resolve().parent if ours else None
    for folder in (path, path.with_name(path.name + _PARTIAL) if path.name else path):
        if (folder / METRICS).is_file():
            return folder / METRICS, folder.resolve()
    if path.is_dir():
        raise UserError(f"{path} has no {METRICS}", "give the folder of a training run, or its .partial")
    raise UserError(f"there is no training run {path}", f"give a folder that packtrain train made, or its {METRICS}")


def _name_of(file: Path, folder: Path | None) -> str:
    return folder.name.removesuffix(_PARTIAL) if folder is not None else file.stem


def in_run(path: Path, runs: Sequence[TrainingRun]) -> bool:
    """Whether `path` lies in the folder of one of the runs, whose manifest names what is in it."""
    folders = [run.folder for run in runs if run.folder is not None]
    kept = [folder for folder in folders if (folder / MANIFEST).exists() or folder.name.endswith(_PARTIAL)]
    return any(path.resolve().is_relative_to(folder) for folder in kept)


def _is_cut(line: str) -> bool:
    try:
        json_value(line, "")
    except UserError:
        return True
    return False


def _checked(value: Any, where: str, before: Sequence[Figures]) -> Figures:
    """A line of figures; UserError when it is something else, or its step does not follow."""
    if not isinstance(value, dict):
        raise UserError(f"{where}: not an object", f"each line of {METRICS} is one JSON object")
    step = value.get("step")
    if not isinstance(step, int) or isinstance(step, bool) or not 0 < step <= _LAST_STEP:
        raise UserError(f"{where}: no step in it", f"each line of {METRICS} has a whole number `step`, from 1")
    if before and step <= before[-1]["step"]:
        raise UserError(f"{where}: step {step} after step {before[-1]['step']}", "give the figures of one run")
    loss = value.get("loss", 0.0)
    if not (loss is None or (isinstance(loss, int | float) and not isinstance(loss, bool))):
        raise UserError(f"{where}: the loss is no number", f"each line of {METRICS} has a number `loss`")
    return value
