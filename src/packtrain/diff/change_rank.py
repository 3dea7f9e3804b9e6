"""How many directions a matrix's change has: its singular values, and whether they are those of a merged LoRA."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from packtrain.diff.change_figures import TensorChange
from packtrain.diff.changes import ChangedTensor, Changes
from packtrain.diff.ulp import LAYOUTS
from packtrain.weights.info import FLOATING
from packtrain.weights.vocabulary import is_token_table

MAX_ELEMENTS = 1 << 26
"""Of a larger matrix evenly spaced rows are taken."""
MAX_LORA_RANK = 256
SPECTRUM_POINTS = 200
_COLUMNS = 2048
"""Columns that are held in float64 at a time."""


@dataclass(frozen=True, slots=True)
class ChangeRank:
    """Singular values s of one matrix's change."""

    name: str
    group: str
    kind: str
    shape: tuple[int, int]
    rows: int
    """Rows that were used; fewer than there are in a very large matrix."""
    stable_rank: float
    """Sum of s^2 over the largest s^2."""
    entropy_rank: float
    """exp of the entropy of s^2 over their sum: the number of equal directions with as even a spread."""
    rank_90: int
    """Singular values, largest first, that hold 90 % of the sum of s^2."""
    rank_99: int
    full_rank: int
    """How many there are."""
    lora_rank: int | None
    """Rank of the LoRA that seems to have been merged; None where it does not look like one."""
    spectrum: tuple[tuple[int, float], ...]
    """Number (from 1) and value of singular values, at most 200 of them, evenly spaced in the logarithm."""


def choose(tensors: Sequence[TensorChange], count: int) -> list[TensorChange]:
    """At most `count` of the matrices that changed, evenly over kinds and layers, always the same ones.

    Matrices of layers, if there are any; then others, token tables last.
    """
    matrices = [each for each in tensors if _is_matrix(each) and each.norm > 0]
    layered = [each for each in matrices if each.layer is not None]
    chosen_from = layered or [each for each in matrices if not is_token_table(each.name)] or matrices
    order = {each.name: number for number, each in enumerate(tensors)}
    layers = [each.layer or 0 for each in chosen_from]
    pools: dict[str, list[TensorChange]] = {}
    for each in chosen_from:
        pools.setdefault(each.kind, []).append(each)
    chosen: list[TensorChange] = []
    wanted = min(count, len(chosen_from))
    kinds = list(pools)
    while len(chosen) < wanted:
        kind = kinds[len(chosen) % len(kinds)]
        target = min(layers) + (max(layers) - min(layers)) * len(chosen) / max(1, wanted - 1)
        nearest = min(pools[kind], key=lambda each: (abs((each.layer or 0) - target), order[each.name]))
        pools[kind].remove(nearest)
        chosen.append(nearest)
        kinds = [kind for kind in kinds if pools[kind]]
    return sorted(chosen, key=lambda each: order[each.name])


def _is_matrix(tensor: TensorChange) -> bool:
    return len(tensor.shape) == 2 and min(tensor.shape) > 1 and tensor.dtype in (None, *FLOATING)


def change_rank(changes: Changes, tensor: ChangedTensor, change: TensorChange) -> ChangeRank:
    """The singular values of one matrix's change, from its Gram matrix in float64."""
    matrix, rounding = _read(changes, tensor)
    energies = _energies(matrix)
    total = float(energies.sum())
    shares = energies / total
    held = np.cumsum(shares)
    values = np.sqrt(energies)
    numbers = np.unique(np.geomspace(1, len(values), SPECTRUM_POINTS).round().astype(int))
    positive = shares[shares > 0]
    return ChangeRank(
        name=change.name,
        group=change.group,
        kind=change.kind,
        shape=(tensor.info.shape[0], tensor.info.shape[1]),
        rows=matrix.shape[0],
        stable_rank=1 / float(shares[0]),
        entropy_rank=math.exp(-float((positive * np.log(positive)).sum())),
        rank_90=int((held < 0.9).sum()) + 1,
        rank_99=int((held < 0.99).sum()) + 1,
        full_rank=len(values),
        lora_rank=lora_rank(values, max(matrix.shape), rounding),
        spectrum=tuple((int(number), float(values[number - 1])) for number in numbers),
    )


def lora_rank(values: "np.ndarray[tuple[int], np.dtype[np.float64]]", longer_side: int, rounding: float) -> int | None:
    """The rank of the product that singular values `[n]` (descending) seem to come from; None: not of a low rank.

    A merged product of low rank leaves r large singular values, and the flat ones of what rounding the sum
    added. Those above the noise are counted as Gavish and Donoho (arXiv 1305.5870, section IV) separate
    them, by the median. What is left must be no more than three times the squares that `rounding` explains,
    or a tenth of all behind a gap: the smooth spectra of full fine-tuning have neither.
    """
    n = len(values)
    beta, energies = n / longer_side, values**2
    threshold = (0.56 * beta**3 - 0.95 * beta**2 + 1.82 * beta + 1.43) * values[n // 2] * 1.2
    rank = int((values > max(threshold, 1e-6 * values[0])).sum())
    if not 1 <= rank <= min(MAX_LORA_RANK, n // 4):
        return None
    rest, total = float(energies[rank:].sum()), float(energies.sum())
    explained = rest <= 3 * rounding and rest <= total / 2
    behind_a_gap = rest <= total / 10 and values[rank - 1] >= 1.5 * values[rank]
    return rank if explained or behind_a_gap else None


def _energies(matrix: torch.Tensor) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Squares of the singular values of `[m, n]`, descending, `[min(m, n)]`."""
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    gram = torch.zeros(matrix.shape[0], matrix.shape[0], dtype=torch.float64)
    for start in range(0, matrix.shape[1], _COLUMNS):
        part = matrix[:, start : start + _COLUMNS].double()
        gram.addmm_(part, part.T)
    energies: np.ndarray[tuple[int], np.dtype[np.float64]] = torch.linalg.eigvalsh(gram).flip(0).clamp(min=0.0).numpy()
    return energies


def _read(changes: Changes, tensor: ChangedTensor) -> tuple[torch.Tensor, float]:
    """The change `[rows, columns]` without new rows, and the sum of squares that rounding alone explains."""
    columns = tensor.info.shape[1]
    rows = tensor.old_elements // columns
    wanted = (
        torch.arange(min(rows, max(1, MAX_ELEMENTS // columns))) * rows // max(1, min(rows, MAX_ELEMENTS // columns))
    )
    places = torch.full((rows,), -1).index_copy_(0, wanted, torch.arange(len(wanted)))
    matrix = torch.zeros(len(wanted), columns)
    flat, rounding = matrix.view(-1), 0.0
    for piece in changes.pieces(tensor):
        if piece.start >= tensor.old_elements or piece.delta is None:
            continue
        delta = piece.delta.nan_to_num(0.0, 0.0, 0.0)
        at = torch.arange(piece.start, piece.start + len(delta))
        row = places[at // columns]
        taken = row >= 0
        flat[(row * columns + at % columns)[taken]] = delta[taken]
        if piece.tuned is not None:
            rounding += _rounding(piece.tuned[taken], tensor.info.dtype)
    return matrix, rounding


def _rounding(values: torch.Tensor, dtype: str) -> float:
    """Sum of squares that rounding `values` to their type brings: a twelfth of the spacing's square for each."""
    if dtype not in LAYOUTS:
        return 0.0
    exponents = torch.frexp(values.nan_to_num(0.0, 0.0, 0.0))[1] - 1 - LAYOUTS[dtype].mantissa_bits
    return float(torch.where(values == 0, 0.0, torch.exp2(2.0 * exponents.double())).sum()) / 12
