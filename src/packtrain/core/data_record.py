"""What a conversation file says of its origin: the data sets in it, who wrote them, and the record beside it.

A training keeps it in its `run.json`, so a card can state what was learnt from when the file is gone.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from packtrain.core.conversation import read_conversations
from packtrain.core.errors import UserError
from packtrain.core.manifest import NAME, Manifest, read_manifest
from packtrain.core.progress import progress, say

KEY = "learnt_from"
"""Of the figures of a training's `run.json`."""
COMMIT = "commit "
"""Before the revision that stands in place of a SHA-256 where raw data are a data set of the Hub."""
_KEPT = {"settings": ("data", "model"), "figures": ("train", "held_out", "sources")}
"""What a card needs of the record beside the file."""
MOST_SETS = 200
"""Data sets that a training records apart."""
_ADVANCE_EVERY = 1000


@dataclass(frozen=True, slots=True)
class DataSet:
    """One `dataset` of a conversation file."""

    conversations: int
    models: tuple[str, ...] = ()
    """That wrote its conversations, by their provenance."""
    licenses: tuple[str, ...] = ()
    """That their provenance names; "" among them: some conversations name none. Empty when none does."""


@dataclass(frozen=True)
class DataRecord:
    """What was learnt from."""

    file: str
    """Its name, without the folder."""
    sha256: str
    sets: Mapping[str, DataSet]
    made: Mapping[str, Any] = field(default_factory=dict)
    """`stage`, `settings`, `inputs` and `figures` of the `run.json` beside the file; empty where none was about it."""


def data_sets(path: Path) -> dict[str, DataSet]:
    """The data sets of a conversation file by name, in their order; UserError naming a line that is no conversation."""
    counts: dict[str, int] = {}
    said: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    with progress(f"reading {path.name}", None) as advance:
        for number, conversation in enumerate(read_conversations(path), start=1):
            name = conversation.dataset
            counts[name] = counts.get(name, 0) + 1
            for key, told in zip(("model", "license"), said.setdefault(name, ({}, {})), strict=True):
                value = conversation.provenance.get(key)
                told[value if isinstance(value, str) else ""] = None
            if number % _ADVANCE_EVERY == 0:
                advance(_ADVANCE_EVERY)
    return {
        name: DataSet(counts[name], tuple(filter(None, models)), tuple(licenses) if any(licenses) else ())
        for name, (models, licenses) in said.items()
    }


def data_record(path: Path, sha256: str) -> dict[str, Any]:
    """`{"learnt_from": record}` of a conversation file, as plain JSON types; `sha256` is the file's.

    A record beside it that cannot be read is told and left out. UserError naming a line that is no conversation.
    """
    try:
        manifest = run_beside(path, sha256)
        made = _made(manifest) if manifest else {}
    except (UserError, KeyError, TypeError, AttributeError) as error:
        told = error.message if isinstance(error, UserError) else f"the record beside {path} cannot be read ({error})"
        say(f"warning: {told}; the model's record will not say how its data were made")
        made = {}
    record = asdict(DataRecord(path.name, sha256, _few(data_sets(path), path.stem), made))
    return {KEY: json.loads(json.dumps(record, ensure_ascii=False).encode("utf-8", "replace"))}


def _few(sets: dict[str, DataSet], name: str) -> dict[str, DataSet]:
    """The data sets; as one of the file's name where there are so many that the rows, not the sets, have names."""
    if len(sets) <= MOST_SETS:
        return sets
    models = tuple(dict.fromkeys(model for each in sets.values() for model in each.models))
    licenses = tuple(dict.fromkeys(said for each in sets.values() for said in each.licenses or ("",)))
    count = sum(each.conversations for each in sets.values())
    return {name: DataSet(count, models, licenses if any(licenses) else ())}


def _made(manifest: Manifest) -> dict[str, Any]:
    """What is kept of the record beside the file; raw files by their names, data sets of the Hub as they were named."""
    made: dict[str, Any] = {"stage": manifest.stage, "inputs": manifest.inputs}
    for part, names in _KEPT.items():
        given: Mapping[str, Any] = getattr(manifest, part)
        made[part] = {name: given[name] for name in names if name in given}
    made = json.loads(json.dumps(made))
    for name, source in made["settings"].get("data", {}).get("sources", {}).items():
        if not any(sha256.startswith(COMMIT) for sha256 in made["inputs"].get(name, {}).values()):
            source["path"] = Path(source["path"]).name or source["path"]
    return made


def read_data_record(figures: Mapping[str, Any], where: str) -> DataRecord | None:
    """The record among the figures of a training; None for one that kept none; UserError, naming `where`, if broken."""
    given = figures.get(KEY)
    if given is None:
        return None
    try:
        sets = {
            name: DataSet(int(each["conversations"]), tuple(each["models"]), tuple(each["licenses"]))
            for name, each in given["sets"].items()
        }
        return DataRecord(str(given["file"]), str(given["sha256"]), sets, dict(given["made"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{where}: {KEY} is no record of data ({error})", "get the folder again, or make it again"
        ) from error


def beside(path: Path, name: str) -> tuple[Path, ...]:
    """Where the record of that name of a data file may be: beside `OUT.jsonl`, or as a file of its folder."""
    return path.with_name(f"{path.stem}.{name}"), path.with_name(name)


def run_beside(path: Path, sha256: str) -> Manifest | None:
    """The `run.json` of a data file, if it names the file's SHA-256; UserError for one that cannot be read."""
    own, folders = beside(path, NAME)
    manifest = _manifest(own) if own.is_file() else read_manifest(folders.parent)
    return manifest if manifest is not None and sha256 in manifest.outputs.values() else None


def _manifest(path: Path) -> Manifest:
    try:
        return Manifest(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} is not a manifest ({error})", "remove it, or make the data again") from error
