"""What decides the result of a training, kept beside its checkpoints: a resume that would mix two is told apart."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packtrain.core.atomic import atomic_file
from packtrain.core.errors import UserError
from packtrain.core.manifest import digest
from packtrain.train.checkpoint import complete_checkpoints

_FILE = "decided_by.json"


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """Everything but the number of processes and how they compute."""

    recipe: Mapping[str, Any]
    """The recipe's `train` section, without how often checkpoints are written."""
    template: str
    """Fingerprint of the prompt format."""
    inputs: Mapping[str, Mapping[str, str]]
    """`base`, `data`, `held_out`: files and their SHA-256."""
    seed: int

    @property
    def digest(self) -> str:
        """What checkpoints carry of it."""
        return f"{digest({'recipe': self.recipe, 'template': self.template, **self.inputs})}:{self.seed}"

    def keep(self, checkpoints: Path) -> None:
        """Write it into the folder of the checkpoints; UserError naming what differs from what is there."""
        file = checkpoints / _FILE
        if file.exists() and complete_checkpoints(checkpoints):
            changes = list(self._changes(json.loads(file.read_text(encoding="utf-8"))))
            if changes:
                raise UserError(
                    f"{checkpoints.parent} is of a run with another recipe, base or data: {', '.join(changes)}",
                    "give the recipe and data of that run, or --overwrite to start again",
                )
            return
        checkpoints.mkdir(parents=True, exist_ok=True)
        with atomic_file(file) as out:
            json.dump(self._as_json(), out)

    def _as_json(self) -> dict[str, Any]:
        return {"train": self.recipe, "template": self.template, "seed": self.seed, **self.inputs}

    def _changes(self, before: Mapping[str, Any]) -> Iterator[str]:
        now = json.loads(json.dumps(self._as_json()))
        for key in dict.fromkeys([*before["train"], *now["train"]]):
            old, new = before["train"].get(key), now["train"].get(key)
            if old != new:
                yield f"train.{key} {json.dumps(old)} -> {json.dumps(new)}"
        if before["seed"] != now["seed"]:
            yield f"seed {before['seed']} -> {now['seed']}"
        for key in dict.fromkeys([*before, *now]):
            if key not in ("train", "seed") and before.get(key) != now.get(key):
                yield f"another {key}"
