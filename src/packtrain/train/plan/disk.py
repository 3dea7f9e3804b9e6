"""How much disk training takes: the base, checkpoints, the finished model, and tokens in the cache."""

from dataclasses import dataclass
from pathlib import Path

from packtrain.core.disk import bytes_in, free_bytes
from packtrain.core.recipe import Recipe
from packtrain.train.plan.memory import MASTER, MOMENTS, PUBLISHED, Holding, Terms
from packtrain.train.plan.model_shape import FoundConfig, ModelShape
from packtrain.train.plan.workload import Workload
from packtrain.weights.info import torch_dtype

PER_TOKEN, PER_CONVERSATION = 5, 60
"""Bytes in the token cache: an id and whether it is learnt; places and identity."""


@dataclass(frozen=True, slots=True)
class DiskPlan:
    """Bytes; `beside_output` is what must fit on the disk of the output, `free` what it has (None: not asked)."""

    terms: Terms
    beside_output: int
    free: int | None


def plan_disk(
    shape: ModelShape, found: FoundConfig, holding: Holding, recipe: Recipe, workload: Workload, out: Path | None
) -> DiskPlan:
    """What training writes and reads; a new checkpoint is complete before an older one goes."""
    adapter = MASTER * shape.added
    checkpoints = (holding.engine.keep_last + 1) * (MASTER + MOMENTS) * shape.trained
    export = torch_dtype(recipe.release.dtype).itemsize * shape.weights + adapter
    terms = {
        "base": PUBLISHED * shape.weights if found.folder is None else bytes_in(found.folder),
        f"checkpoints, {holding.engine.keep_last} kept and one being written": checkpoints,
        f"tuned model, {recipe.release.dtype}": export,
        "token cache": round(workload.conversations * (workload.mean_tokens * PER_TOKEN + PER_CONVERSATION)),
    }
    return DiskPlan(terms, checkpoints + export, None if out is None else free_bytes(out.expanduser()))
