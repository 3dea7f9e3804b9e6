"""TensorBoard: event files in the folder `tensorboard` of the run, shown by `tensorboard --logdir OUT`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packtrain.train.metrics import tracker_module

FOLDER = "tensorboard"


def require() -> Any:
    """The module that writes event files; UserError when the package tensorboard is not installed."""
    return tracker_module("torch.utils.tensorboard", "tensorboard")


def open_run(folder: Path, config: Mapping[str, Any], done: int) -> "Events":
    """The event file of a run in `folder`; of an earlier one the steps behind `done` are no longer shown.

    UserError when the package tensorboard is not installed.
    """
    writer = require().SummaryWriter(str(folder / FOLDER), purge_step=done + 1 if done else None)
    text = json.dumps(config, indent=2, ensure_ascii=False)
    writer.add_text("recipe", "".join(f"    {line}\n" for line in text.splitlines()), done)
    return Events(writer)


class Events:
    """An open event file."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add the figures of a step; they are on disk within two minutes."""
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write out what is waiting."""
        self._writer.close()
