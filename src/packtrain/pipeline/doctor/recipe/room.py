"""Finds a disk without room for all that packtrain run makes: model, checkpoints, diff, recovered model."""

from collections.abc import Iterator

from packtrain.core.disk import bytes_in, free_bytes, nearest_existing
from packtrain.core.errors import UserError
from packtrain.pipeline.doctor.wanted import Wanted
from packtrain.train.doctor_checks import Finding, error, fine, warning

STAGES = ("train", "diff", "recover")
_MEND = "free some space, or choose a folder on another disk"


def check(wanted: Wanted) -> Iterator[Finding]:
    """One finding when base and work folder are known.

    What is made already, wholly or in a `.partial` folder, is counted as there. How large an exact diff will be is an
    estimate (`diff/size_plan.py`).
    """
    if wanted.base is None or wanted.work is None:
        return
    from packtrain.diff.size_plan import plan_sizes
    from packtrain.train.doctor_checks.disk_space import CHECKPOINT_BYTES, CHECKPOINTS
    from packtrain.train.stage import CHECKPOINTS as CHECKPOINT_FOLDER
    from packtrain.weights.store import open_store
    from packtrain.weights.writer import amount

    try:
        weights = sum(info.numel for info in open_store(wanted.base).infos().values())
    except UserError as problem:
        yield error(problem.message, str(wanted.base), problem.hint)
        return
    recipe, work = wanted.recipe, wanted.work
    sizes = plan_sizes(weights, bytes_in(wanted.base), recipe.release.dtype, recipe.release.diff_form)
    takes = {"tuned": sizes.tuned_bytes}
    if recipe.release.form != "full":
        takes |= {"diff": sizes.diff_bytes, "recovered": sizes.tuned_bytes}
    there = {name: bytes_in(work / f"{name}.partial") for name in takes}
    saved = bytes_in(work / "tuned.partial" / CHECKPOINT_FOLDER)
    there["tuned"] -= saved
    models = sum(max(0, size - there[name]) for name, size in takes.items() if not (work / name).exists())
    trains = recipe.train.adapter == "none" and not (work / "tuned").exists()
    checkpoints = max(0, weights * CHECKPOINT_BYTES * CHECKPOINTS - saved) if trains else 0
    place, free = str(nearest_existing(work)), free_bytes(work)
    told = f"{', '.join(takes)}: about {amount(models)} to be written"
    if free < models:
        yield error(f"{told}, the disk has {amount(free)} free", place, _MEND)
    elif free < models + checkpoints:
        what = f"{told}, two checkpoints {amount(checkpoints)} in between, the disk has {amount(free)} free"
        yield warning(what, place, _MEND)
    else:
        yield fine(f"{told}, checkpoints {amount(checkpoints)}, the disk has {amount(free)} free")
