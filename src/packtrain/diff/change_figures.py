"""How much a tensor, a layer and a whole model changed, in figures, added up piece by piece."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from packtrain.diff.changes import ChangedTensor, Piece, all_finite
from packtrain.diff.groups import Place
from packtrain.weights.info import FLOATING, torch_dtype


@dataclass(frozen=True, slots=True)
class TensorChange:
    """What happened to one tensor. New token rows count in `nan`, `infinite` and `all_zero` alone.

    Sums leave out what is NaN or infinite. None: there is no base to know it from.
    """

    name: str
    group: str
    """Layer number as text, or `embeddings`, `final norm`, `head`, `other`."""
    layer: int | None
    kind: str
    shape: tuple[int, ...]
    dtype: str | None
    """Type in which the model was tuned; None for diffs without a manifest, which do not tell it."""
    weights: int
    """Elements that were compared."""
    changed: int
    """Elements not equal to the bit; without a base: whose difference is not zero."""
    share_changed: float
    norm: float
    """Frobenius norm of the change."""
    rms: float
    """Root mean square of the change."""
    base_norm: float | None
    tuned_norm: float | None
    relative_norm: float | None
    """Norm of the change as a share of the base's; None also where that is 0."""
    largest: float
    """Largest absolute change."""
    largest_at: tuple[int, ...] | None
    """Where it is; None where nothing changed."""
    nan: int
    """NaN elements of the tuned tensor; without a base: of the difference."""
    infinite: int
    """Infinite elements likewise."""
    all_zero: bool | None
    """Whether the tuned tensor is nothing but zeros."""
    frozen: bool
    """Whether it was compared and not a bit changed."""
    grown_rows: int
    """Token rows that the base has not."""
    rows_at_mean: int
    """Of these, such as still equal the mean of the base's rows, which they start from, within rounding."""
    rows_zero: int | None
    """Of these, such as are zeros."""


@dataclass(frozen=True, slots=True)
class GroupChange:
    """What happened to the tensors of a layer, of another group, or of the whole model; see `TensorChange`."""

    group: str
    layer: int | None
    tensors: int
    frozen_tensors: int
    weights: int
    changed: int
    share_changed: float
    norm: float
    rms: float
    base_norm: float | None
    relative_norm: float | None
    largest: float
    largest_in: str | None
    """The tensor with the largest absolute change."""
    largest_at: tuple[int, ...] | None
    nan: int
    infinite: int
    grown_rows: int
    """Rows of the table that grew most."""


class ChangeSums:
    """Adds up the pieces of one tensor."""

    def __init__(self, tensor: ChangedTensor) -> None:
        self._tensor = tensor
        self._squares = {"delta": 0.0, "base": 0.0, "tuned": 0.0}
        self._changed, self._nan, self._infinite = 0, 0, 0
        self._largest, self._largest_at = 0.0, -1
        self._has_base, self._has_tuned, self._not_zero = False, False, False
        self._rows = torch.zeros(3, tensor.grown_rows, dtype=torch.float64)
        """Squares of the changes of each new row, of what it started from, and of its values."""

    def add(self, piece: Piece) -> None:
        """Count the next piece."""
        values = piece.tuned if piece.tuned is not None else piece.delta
        if values is not None and not all_finite(values):
            self._nan += int(values.isnan().sum())
            self._infinite += int(values.isinf().sum())
        if piece.tuned is not None:
            self._has_tuned = True
            self._not_zero = self._not_zero or bool((piece.tuned != 0).any())
        if piece.delta is None or piece.changed is None:
            return
        if piece.start >= self._tensor.old_elements:
            self._add_new_rows(piece, piece.delta)
            return
        self._changed += int(np.count_nonzero(piece.changed.numpy()))
        delta = _finite(piece.delta)
        self._squares["delta"] += _squares(delta)
        largest = max(abs(float(each)) for each in torch.aminmax(delta))
        if largest > self._largest:
            self._largest, self._largest_at = largest, piece.start + int(delta.abs().argmax())
        if piece.base is not None and piece.tuned is not None:
            self._has_base = True
            self._squares["base"] += _squares(_finite(piece.base))
            self._squares["tuned"] += _squares(_finite(piece.tuned))

    def _add_new_rows(self, piece: Piece, delta: torch.Tensor) -> None:
        begin = piece.start - self._tensor.old_elements
        rows = torch.arange(begin, begin + len(delta)) // self._tensor.info.shape[1]
        for sums, values in zip(self._rows, (delta, piece.base, piece.tuned), strict=True):
            if values is not None:
                sums.index_add_(0, rows, values.double().square())

    def result(self, place: Place) -> TensorChange:
        """The figures, after all pieces."""
        info = self._tensor.info
        weights = self._tensor.old_elements if self._tensor.comparable else 0
        norm, base_norm, tuned_norm = (math.sqrt(each) for each in self._squares.values())
        at = np.unravel_index(self._largest_at, info.shape) if self._largest_at >= 0 else None
        return TensorChange(
            name=info.name,
            group=place.group,
            layer=place.layer,
            kind=place.kind,
            shape=info.shape,
            dtype=self._tensor.dtype,
            weights=weights,
            changed=self._changed,
            share_changed=_share(self._changed, weights),
            norm=norm,
            rms=norm / math.sqrt(max(1, weights)),
            base_norm=base_norm if self._has_base else None,
            tuned_norm=tuned_norm if self._has_base else None,
            relative_norm=_relative(norm, base_norm if self._has_base else None),
            largest=self._largest,
            largest_at=tuple(map(int, at)) if at is not None else None,
            nan=self._nan,
            infinite=self._infinite,
            all_zero=not self._not_zero if self._has_tuned else None,
            frozen=weights > 0 and self._changed == 0,
            grown_rows=self._tensor.grown_rows,
            rows_at_mean=self._count_rows_at_mean(info.dtype),
            rows_zero=int((self._rows[2] == 0).sum()) if self._has_tuned else None,
        )

    def _count_rows_at_mean(self, dtype: str) -> int:
        """Rows no farther from the mean than rounding to the type takes them."""
        tolerance = max(1e-5, torch.finfo(torch_dtype(dtype)).eps) if dtype in FLOATING and self._has_tuned else 0.0
        return int((self._rows[0] <= tolerance**2 * self._rows[1]).sum())


def add_up(group: str, layer: int | None, tensors: Sequence[TensorChange]) -> GroupChange:
    """The figures of several tensors together."""
    worst = max(tensors, key=lambda each: each.largest, default=None)
    norm = _together(tensors, lambda each: each.norm)
    with_base = [each for each in tensors if each.base_norm is not None]
    base_norm = _together(with_base, lambda each: each.base_norm or 0.0) if with_base else None
    weights, changed = sum(each.weights for each in tensors), sum(each.changed for each in tensors)
    return GroupChange(
        group=group,
        layer=layer,
        tensors=len(tensors),
        frozen_tensors=sum(each.frozen for each in tensors),
        weights=weights,
        changed=changed,
        share_changed=_share(changed, weights),
        norm=norm,
        rms=norm / math.sqrt(max(1, weights)),
        base_norm=base_norm,
        relative_norm=_relative(norm, base_norm),
        largest=worst.largest if worst is not None else 0.0,
        largest_in=worst.name if worst is not None and worst.largest else None,
        largest_at=worst.largest_at if worst is not None else None,
        nan=sum(each.nan for each in tensors),
        infinite=sum(each.infinite for each in tensors),
        grown_rows=max((each.grown_rows for each in tensors), default=0),
    )


def groups_of(tensors: Sequence[TensorChange]) -> list[GroupChange]:
    """The figures of every layer and other group, in the order of the tensors."""
    members: dict[str, list[TensorChange]] = {}
    for tensor in tensors:
        members.setdefault(tensor.group, []).append(tensor)
    return [add_up(group, each[0].layer, each) for group, each in members.items()]


def _together(tensors: Iterable[TensorChange], norm: Callable[[TensorChange], float]) -> float:
    return math.sqrt(math.fsum(norm(each) ** 2 for each in tensors))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _relative(norm: float, base_norm: float | None) -> float | None:
    return norm / base_norm if base_norm else None


def _finite(values: torch.Tensor) -> torch.Tensor:
    return values if all_finite(values) else values.nan_to_num(0.0, 0.0, 0.0)


def _squares(values: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(values, dtype=torch.float64)) ** 2
