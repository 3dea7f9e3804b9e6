"""Finds a disk without room for all that packtrain run makes: model, checkpoints, diff, recovered model."""

import shutil
from collections.abc import Iterator

from packtrain.core.errors import UserError
from packtrain.pipeline.doctor.wanted import Wanted
from packtrain.train.doctor_checks import Finding, error, fine, warning

STAGES = ("train", "diff", "recover")
_MEND = "free some space, or choose a folder on another disk"


def check(wanted: Wanted) -> Iterator[Finding]:
    """One finding when base and work folder are known; what is made already is counted as there.

    A diff is counted as large as the model: it is smaller when the models are alike, which nobody knows before.
    """
    if wanted.base is None or wanted.work is None:
        return
    from packtrain.train.doctor_checks.disk_space import CHECKPOINT_BYTES, CHECKPOINTS
    from packtrain.weights.info import torch_dtype
    from packtrain.weights.store import open_store
    from packtrain.weights.writer import amount

    try:
        weights = sum(info.numel for info in open_store(wanted.base).infos().values())
    except UserError as problem:
        yield error(problem.message, str(wanted.base), problem.hint)
        return
    recipe, work = wanted.recipe, wanted.work.absolute()
    place = next(folder for folder in (work, *work.parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    model = weights * torch_dtype(recipe.release.dtype).itemsize
    made = ("tuned",) if recipe.release.form == "full" else ("tuned", "diff", "recovered")
    models = model * sum(not (work / name).exists() for name in made)
    trains = recipe.train.adapter == "none" and not (work / "tuned").exists()
    checkpoints = weights * CHECKPOINT_BYTES * CHECKPOINTS if trains else 0
    told = f"{', '.join(made)} take up to {amount(models)}"
    if free < models:
        yield error(f"{told}, the disk has {amount(free)} free", str(place), _MEND)
    elif free < models + checkpoints:
        what = f"{told}, two checkpoints {amount(checkpoints)} in between, the disk has {amount(free)} free"
        yield warning(what, str(place), _MEND)
    else:
        yield fine(f"{told}, checkpoints {amount(checkpoints)}, the disk has {amount(free)} free")
