"""Telling a model from a diff of older scripts, which has no manifest to say so, by its small tensors."""

from pathlib import Path

from packtrain.diff.families import BACKBONE
from packtrain.diff.pairing import open_model
from packtrain.diff.preflight import NORM_OF_A_MODEL, norm_size


def is_model_of(folder: Path, base: Path) -> bool:
    """Whether what has no manifest is a model and no diff: its vectors are nearer to the base's than to zero.

    True where no vector of the two can be compared.
    """
    model, base_model = open_model(folder, as_stored=True), open_model(base, as_stored=True)
    product = squares = 0.0
    for name in model.own_names():
        found, shape = base_model.find(name.removeprefix(BACKBONE)), model.store.info(name).shape
        if found is not None and len(shape) == 1 and shape == base_model.store.info(found).shape:
            theirs = base_model.store[found].double().nan_to_num()
            product += float(model.store[name].double().nan_to_num() @ theirs)
            squares += float(theirs @ theirs)
    return 2 * product > squares or not squares


def looks_like_diff(folder: Path) -> bool:
    """Whether, with no base to compare with, a folder holds differences: its norms' weights are next to nothing."""
    size = norm_size(open_model(folder, as_stored=True))
    return size is not None and size < NORM_OF_A_MODEL
