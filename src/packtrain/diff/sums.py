"""The naive check of stanford_alpaca and alpaca_farm: the sum of all weights.

It cannot prove that a model is right, but it is all that diffs without a manifest have.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from packtrain.core.errors import UserError
from packtrain.core.progress import progress, say
from packtrain.diff.base_tensor import rotary_sum
from packtrain.diff.families import SUM_FILE
from packtrain.diff.opened import OpenedDiff
from packtrain.diff.pairing import ROTARY_BUFFER, ModelFolder, open_model
from packtrain.weights.fingerprint import CHUNK_ELEMENTS

KNOWN_SUMS = {"alpaca-7b": 50637.1836}
"""Published sums: weight_diff.py of tatsu-lab/stanford_alpaca."""
TOLERANCE = 1e-2
"""Absolute, as there."""


@dataclass(frozen=True, slots=True)
class SumReport:
    """The sum of all weights, and what was expected."""

    found: float
    expected: float
    terms: int
    """Tensors in the sum."""

    @property
    def ok(self) -> bool:
        """Whether the two agree.

        The published sums were accumulated in float32, tensor by tensor, which shifts them by about the
        square root of the number of terms times half the spacing of float32 there: as much is allowed.
        """
        spacing = 2.0 ** (math.frexp(self.expected)[1] - 24) if self.expected else 0.0
        return abs(self.found - self.expected) <= TOLERANCE + math.sqrt(self.terms) * spacing / 2


def expected_sum(opened: OpenedDiff, expected: float | str | None) -> float | None:
    """The `expected` sum (a number, or a key of `KNOWN_SUMS`), else the one that the diff brings; None: no sum.

    UserError when it is none; to be asked before the work begins.
    """
    if expected is not None:
        return _number(expected)
    published = opened.diff.folder / SUM_FILE
    return _read(published) if published.is_file() else None


def check_sum(folder: Path, opened: OpenedDiff, expected: float | str | None) -> SumReport | None:
    """The check of a recovered model in `folder`; None when no sum is expected (`expected_sum`).

    UserError when the sum is not the `expected` one. Where nothing is expected but the diff brings
    alpaca_farm's file with a sum, a difference is a warning, as it was there.
    """
    wanted = expected_sum(opened, expected)
    if wanted is None:
        return None
    found, terms = weight_sum(open_model(folder, as_stored=opened.form == "exact"))
    report = SumReport(found, wanted, terms)
    if not report.ok and expected is not None:
        raise UserError(
            f"the sum of all weights is {found:.4f}, expected was {wanted:.4f}",
            "base or diff is damaged or not the right one, or the sum is another model's; give --resume without "
            "--expect-sum to keep the result all the same",
        )
    if not report.ok:
        say(f"warning: the sum of all weights is {found:.4f}, {opened.diff.folder / SUM_FILE} says {wanted:.4f}")
    return report


def weight_sum(model: ModelFolder) -> tuple[float, int]:
    """Sum over the state dict in float64, a tied tensor once for each of its names, and the number of terms.

    Rotary buffers, which state dicts of 2023 held, are added where a LLaMA's files have none.
    """
    total, terms = 0.0, 0
    times = {name: 1 + list(model.tied.values()).count(name) for name in model.own_names()}
    with progress("sum", len(times)) as advance:
        for name, count in times.items():
            chunks = model.store.chunks(name, CHUNK_ELEMENTS)
            total += count * math.fsum(float(chunk.to(torch.float64).sum()) for chunk in chunks)
            terms += count
            advance(note=name)
    layers = model.config.get("num_hidden_layers") or 0
    if model.config.get("model_type") == "llama" and not any(name.endswith(ROTARY_BUFFER) for name in model.store):
        total += layers * rotary_sum(model.config)
        terms += layers
    return total, terms


def _number(expected: float | str) -> float:
    if isinstance(expected, str) and expected in KNOWN_SUMS:
        return KNOWN_SUMS[expected]
    try:
        return _finite(expected)
    except ValueError as error:
        raise UserError(
            f"--expect-sum {expected} is neither a number nor a model whose sum is known",
            f"known: {', '.join(KNOWN_SUMS)}",
        ) from error


def _finite(text: float | str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError("not a finite number")
    return number


def _read(path: Path) -> float:
    try:
        return _finite(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} does not hold a number", "get the file again, or remove it") from error
