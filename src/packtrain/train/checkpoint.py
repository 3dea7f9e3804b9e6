"""Checkpoints: everything that a run needs to go on exactly where it stopped."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from packtrain.core.atomic import atomic_file, fsync_folder
from packtrain.core.errors import UserError

COMPLETE = "COMPLETE"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run is, and of what run it is."""

    step: int
    """Optimizer steps done."""
    run_digest: str
    """Digest of recipe and data: a checkpoint of another run is refused."""
    held_out_before: float | None
    """Measured before step 1; kept so that a resumed run can report it."""
    seconds: float
    """Training time so far."""


def save_checkpoint(folder: Path, model: Any, optimizer: torch.optim.Optimizer, position: Position) -> None:
    """Write `folder/step_N` whole (the mark COMPLETE last), then remove older ones.

    Holds the float32 master weights, the optimizer's state, the position and torch's random state.
    """
    target = folder / f"step_{position.step:06d}"
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "torch_rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    try:
        with atomic_file(partial / "state.pt", "wb") as file:
            torch.save(state, file)
    except RuntimeError as error:  # how torch reports a disk that is full
        raise UserError(
            f"cannot write the checkpoint {target} ({str(error).splitlines()[0]})", "free some disk, then --resume"
        ) from error
    with atomic_file(partial / "position.json") as file:
        json.dump({name: getattr(position, name) for name in Position.__slots__}, file)
    with atomic_file(partial / COMPLETE) as file:
        file.write("")
    if target.exists():
        shutil.rmtree(target)
    os.rename(partial, target)
    fsync_folder(folder)
    for older in complete_checkpoints(folder):
        if older != target:
            shutil.rmtree(older)


def complete_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(path for path in folder.glob("step_*") if (path / COMPLETE).exists())


def load_checkpoint(folder: Path, model: Any, optimizer: torch.optim.Optimizer, run_digest: str) -> Position | None:
    """Put the newest complete checkpoint into `model` and `optimizer`; its position, or None when there is none.

    UserError when it belongs to a run with another recipe or other data.
    """
    found = complete_checkpoints(folder)
    if not found:
        return None
    position = Position(**json.loads((found[-1] / "position.json").read_text()))
    if position.run_digest != run_digest:
        raise UserError(
            f"the checkpoint {found[-1]} is of a run with another recipe, base or data",
            "give the recipe and data of that run, or --overwrite to start again",
        )
    state = torch.load(found[-1] / "state.pt", weights_only=True, map_location="cpu")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["torch_rng"])
    if state["cuda_rng"]:
        torch.cuda.set_rng_state_all(state["cuda_rng"])
    return position
