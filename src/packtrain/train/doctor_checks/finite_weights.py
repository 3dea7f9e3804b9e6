"""Finds weights that are not finite, and tensors of nothing but zeros.

Both are what a failed save or conversion leaves (stanford_alpaca#51, #81): the file is there, whole and worthless. Each
tensor is looked at in some places, not read from end to end.
"""

from collections.abc import Iterator

import torch

from packtrain.core.progress import progress
from packtrain.train.doctor_checks import Finding, error, warning
from packtrain.train.examined import Examined
from packtrain.weights.store import TensorStore
from packtrain.weights.vocabulary import is_token_table

NEEDS = ("store",)
BEFORE_TRAINING = False
FINE = "the weights that were looked at are finite, and no matrix is zero"
PLACES, PLACE_ELEMENTS = 16, 4096
"""Looked at in each tensor: its beginning, its end, and places between them, evenly spread."""
_MEND = "fetch the folder again, or make it again from the checkpoint"


def check(examined: Examined) -> Iterator[Finding]:
    """At most one finding of each kind, with the first tensor and how many there are."""
    store = examined.store
    if store is None:
        return
    broken, zero, matrices = [], [], 0
    with progress("looking at the weights", len(store)) as advance:
        for name, info in store.infos().items():
            pieces = list(_pieces(store, name))
            broken += [name] if any(not bool(torch.isfinite(piece).all()) for piece in pieces) else []
            if len(info.shape) > 1 and info.numel:
                matrices += 1
                # vectors may well be zero: biases that were never trained are
                zero += [name] if not any(map(_has_value, pieces)) and _is_zero(store, name) else []
            advance(1)
    where = str(examined.folder)
    if broken:
        yield error(f"{_several(broken)} not finite (NaN or infinite)", where, _MEND)
    if zero:
        # new blocks of a grown model begin with zero matrices, but not with most of them or a zero token table
        worthless = len(zero) > matrices / 2 or any(map(is_token_table, zero))
        yield (error if worthless else warning)(f"{_several(zero)} all zero", where, _MEND)


def _pieces(store: TensorStore, name: str) -> Iterator[torch.Tensor]:
    """Flat float32 pieces of a tensor."""
    elements = store.info(name).numel
    if elements <= PLACES * PLACE_ELEMENTS:
        yield store.flat(name, 0, elements).float()
        return
    for place in range(PLACES):
        start = place * (elements - PLACE_ELEMENTS) // (PLACES - 1)
        yield store.flat(name, start, start + PLACE_ELEMENTS).float()


def _is_zero(store: TensorStore, name: str) -> bool:
    return not any(_has_value(piece.float()) for piece in store.chunks(name, 1 << 22))


def _has_value(piece: torch.Tensor) -> bool:
    return bool(piece.count_nonzero())


def _several(names: list[str]) -> str:
    return f"{names[0]} and {len(names) - 1} more tensors are" if len(names) > 1 else f"{names[0]} is"
