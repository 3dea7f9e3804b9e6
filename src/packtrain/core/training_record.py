"""What a training recorded of itself: in the `run.json` of its model, and in those of a diff and of what it gives back.

A diff names the tuned model by hashes alone, so it takes the record along: a card of either is written from it and
compared with it.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from packtrain.core.errors import UserError
from packtrain.core.hub_id import hub_id, on_hub
from packtrain.core.manifest import NAME, read_manifest
from packtrain.core.progress import say

KEY = "training"
"""Of the settings of a `run.json` that hands a record on."""
_PLACES = ("path", "data")
"""Settings that name folders and files: `base.path`, `data.sources.NAME.path`, `evaluate.data`."""
_KINDS = {"settings": dict, "figures": dict, "versions": dict, "finished": str}


@dataclass(frozen=True)
class TrainingRecord:
    """How a model was trained, as its training wrote it down."""

    settings: Mapping[str, Any]
    """The resolved recipe, as `with_places_told`; without the engine, which changes nothing in the model."""
    figures: Mapping[str, Any]
    versions: Mapping[str, str]
    finished: str
    """UTC."""


def with_places_told(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings for a `run.json`: `./models/llama` for a place here whose path could be an id of the Hub.

    So one can tell afterwards, and elsewhere, where the base and the data came from.
    """
    told: dict[str, Any] = _with_texts(settings, _told)
    return told


def read_training(folder: Path) -> TrainingRecord | None:
    """The record of the training behind a model, or behind the model of a diff; None where there is none.

    UserError for a `run.json` that cannot be read.
    """
    manifest = read_manifest(folder)
    if manifest is None or not isinstance(manifest.settings, dict):
        return None
    if manifest.stage == "train":
        settings = {name: value for name, value in manifest.settings.items() if name != "engine"}
        return TrainingRecord(settings, manifest.figures, manifest.versions, manifest.finished)
    given = manifest.settings.get(KEY)
    if given is None:
        return None
    if not isinstance(given, dict) or not all(isinstance(given.get(name), kind) for name, kind in _KINDS.items()):
        raise UserError(f"{folder / NAME}: {KEY} is no record of a training", "get the folder again, or make it again")
    return TrainingRecord(**{name: given[name] for name in _KINDS})


def handed_on(folder: Path) -> dict[str, Any]:
    """`{"training": record}` for the settings of what is made from `folder`; empty where nothing was recorded.

    Places on this machine are cut to their last part, because a diff is published; ids of the Hub stay. A record that
    cannot be read is told, and left out: weights can be had without it.
    """
    try:
        record = read_training(folder)
    except UserError as error:
        say(f"warning: {error.message}; what is made from it will not say how it was trained")
        return {}
    return {} if record is None else {KEY: _with_texts(asdict(record), _cut)}


def _with_texts(value: Any, change: Callable[[str, str], str], key: str = "") -> Any:
    """`value` with `change(key, text)` for each text in it."""
    if isinstance(value, Mapping):
        return {name: _with_texts(each, change, name) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_with_texts(each, change, key) for each in value]
    return change(key, value) if isinstance(value, str) else value


def _told(key: str, text: str) -> str:
    return f"./{text}" if key in _PLACES and hub_id(text) and not on_hub(text) else text


def _cut(key: str, text: str) -> str:
    place = text.startswith(("/", "~")) and "\n" not in text
    if key in _PLACES and "/" in text:
        place = on_hub(text.partition(":")[0]) is None  # of data it may go on: owner/name:config:split
    return Path(text).name or text if place else text
