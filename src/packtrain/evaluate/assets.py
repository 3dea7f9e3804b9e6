"""Strings of the protocols that are data: from the data folder, or else the project's own, and then it is said."""

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from packtrain.core.errors import UserError
from packtrain.core.progress import say

FOLDER = "prompt_assets"
OWN = "packtrain.evaluate.own_assets"


def asset(data: Path, name: str) -> Any:
    """The content of `DATA/prompt_assets/NAME.json`, else of the project's own file of that name.

    Both have the same form. With the project's own the prompts are not the cards', which is said once; `asset_notes`
    has it for the scores. UserError when the file is not JSON.
    """
    path = data / FOLDER / f"{name}.json"
    if not path.is_file():
        _say_own(str(path))
        return json.loads((files(OWN) / f"{name}.json").read_text(encoding="utf-8"))
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error})", "fetch it again: packtrain evaluate fetch") from error


def asset_notes(data: Path, name: str) -> tuple[str, ...]:
    """What a request that shows it has to note: that the project's own was taken; nothing otherwise."""
    path = Path(FOLDER, f"{name}.json")
    return () if (data / path).is_file() else (f"own wording for lack of {path}, not the cards'",)


@cache
def _say_own(path: str) -> None:
    say(f"note: {path} is not there; using own wording instead, so prompts differ from those of the cards")


def needed(path: Path, what: str) -> Path:
    """`path` if it is there; UserError that says what is missing and how to get it."""
    if not path.exists():
        raise UserError(f"{path} is missing ({what})", "fetch it: packtrain evaluate fetch --data DIR")
    return path
