"""Finds an output disk that has no room for the tuned model and its checkpoints.

The save is the last step of a run, and the one for which the disk is too small.
"""

from collections.abc import Iterator

from packtrain.core.disk import free_bytes, nearest_existing
from packtrain.train.doctor_checks import Finding, error, warning
from packtrain.train.examined import Examined
from packtrain.weights.info import torch_dtype
from packtrain.weights.writer import amount

NEEDS = ("recipe", "store", "out")
BEFORE_TRAINING = True
FINE = "the disk has room for the tuned model and two checkpoints"
CHECKPOINT_BYTES = 12
"""Of each tuned weight: itself and two moments of AdamW, in float32."""
CHECKPOINTS = 2
"""The newest, and the one that is being written."""


def check(examined: Examined) -> Iterator[Finding]:
    """An error when the model alone does not fit, a warning when the checkpoints of a full fine-tune do not."""
    recipe, store, out = examined.recipe, examined.store, examined.out
    if recipe is None or store is None or out is None:
        return
    place, free = str(nearest_existing(out)), free_bytes(out)
    weights = sum(info.numel for info in store.infos().values())
    model = weights * torch_dtype(recipe.release.dtype).itemsize
    checkpoints = weights * CHECKPOINT_BYTES * CHECKPOINTS if recipe.train.adapter == "none" else 0
    mend = "free some space, or choose an --out on another disk"
    if free < model:
        yield error(f"the tuned model takes {amount(model)}, the disk has {amount(free)} free", place, mend)
    elif free < model + checkpoints:
        what = f"model and checkpoints take {amount(model + checkpoints)}, the disk has {amount(free)} free"
        yield warning(what, place, mend)
