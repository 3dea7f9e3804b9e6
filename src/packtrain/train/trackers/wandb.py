"""Weights & Biases; `WANDB_MODE=offline` keeps a run on disk for `wandb sync`, `WANDB_DIR` says where.

Who, where and to what project is wandb's own affair (`wandb login`, `WANDB_PROJECT`, `WANDB_ENTITY`): packtrain
neither sees a key nor stores one. The terminal's output, the source code and the state of git stay here.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from packtrain.core.atomic import atomic_file
from packtrain.core.errors import UserError
from packtrain.train.metrics import tracker_module

PROJECT = "packtrain"
RUN_ID = ".wandb_run"
"""Hidden file of the run's folder: a resumed run goes on under its id."""


def require() -> Any:
    """The module wandb; UserError when the package is not installed."""
    return tracker_module("wandb", "wandb")


def open_run(folder: Path, config: Mapping[str, Any], done: int) -> "Run":
    """A run named like the output folder; with `done` steps done it goes on with the one that was begun.

    wandb takes no step twice: those that are done again after a resume are the same as they were. UserError when
    the package wandb is not installed or the run cannot be opened.
    """
    wandb = require()
    settings = wandb.Settings(console="off", disable_git=True, disable_code=True)
    try:
        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=os.environ.get("WANDB_NAME") or folder.name.removesuffix(".partial"),
            id=_run_id(folder, resumed=done > 0),
            resume="allow",
            config=dict(config),
            settings=settings,
        )
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"wandb cannot open a run ({reason})", "wandb login, or set WANDB_MODE=offline and wandb sync later"
        ) from error
    return Run(run)


def _run_id(folder: Path, *, resumed: bool) -> str:
    file = folder / RUN_ID
    if resumed and file.exists():
        return file.read_text(encoding="utf-8")
    made = uuid4().hex[:12]
    with atomic_file(file) as handle:
        handle.write(made)
    return made


class Run:
    """An open run."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Send the figures of a step."""
        self._run.log(dict(scalars), step=step)

    def close(self) -> None:
        """Wait until all is sent."""
        self._run.finish()
