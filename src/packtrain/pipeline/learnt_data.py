"""What a model was trained on, as far as anything recorded it: by the training itself, or by the data beside the model.

The training's own record is the surest. Prepared data in a folder beside the model's are known by their SHA-256, so
they are found for models without such a record, too.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from packtrain.card.known import last_part
from packtrain.core.data_record import COMMIT, DataRecord, read_data_record
from packtrain.core.errors import UserError
from packtrain.core.hub_id import HubId, hub_id
from packtrain.core.manifest import NAME, Manifest, read_manifest
from packtrain.core.recipe import Data, Recipe
from packtrain.core.training_record import read_training
from packtrain.data.format import AUTO
from packtrain.data.output import STAGE
from packtrain.data.reading.hub import hub_reference
from packtrain.data.sources import on_the_hub
from packtrain.pipeline.doctor.wanted import GENERATED

CONVERSATIONS = "messages"
"""The format of a file that was learnt from as it was given."""


def learnt_from(place: Path) -> DataRecord | None:
    """What the model in the folder of a training, a diff or a recovered model learnt from; None where nobody recorded.

    UserError for a record that cannot be read.
    """
    record = read_training(place)
    found = read_data_record(record.figures, str(place / NAME)) if record else None
    if found is not None and found.made:
        return found
    made = _prepared_beside(place, {found.file: found.sha256} if found else _file_learnt_from(place))
    if made is None:
        return found
    return replace(found or DataRecord("", "", {}), made=described(made))


def described(made: Manifest) -> dict[str, Any]:
    """What a `DataRecord` has of the `run.json` of its data."""
    return {"stage": made.stage, "settings": made.settings, "inputs": made.inputs, "figures": made.figures}


def prepared(learnt: DataRecord | None) -> Mapping[str, Any]:
    """The record of the preparation of what was learnt from; empty for a file that nobody prepared."""
    return learnt.made if learnt is not None and learnt.made.get("stage") == STAGE else {}


def data_section(recorded: Mapping[str, Any], learnt: DataRecord | None) -> dict[str, Any]:
    """The `data` section that a card states: the recipe's, or of what was learnt from where that is something else.

    A licence that the recipe states of a source counts for the source of that name.
    """
    if learnt is None:
        return dict(recorded)
    made: Mapping[str, Any] = prepared(learnt).get("settings", {}).get("data", {})
    section = {key: each for key, each in made.items() if key in Data.model_fields}
    plain = {name: {"format": CONVERSATIONS, "path": learnt.file} for name in learnt.sets}
    found = section.get("sources") or plain
    if not found or (made and _same_sources(recorded["sources"], found)):
        return dict(recorded)
    stated = {name: source.get("license", "") for name, source in recorded["sources"].items()}
    sources = {
        name: {**source, "license": source.get("license") or stated.get(name, "")} for name, source in found.items()
    }
    return {**section, "sources": sources}


def files_of(inputs: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Source -> name of its raw file, where it is one file here."""
    return {
        name: next(iter(files))
        for name, files in inputs.items()
        if len(files) == 1 and not next(iter(files.values())).startswith(COMMIT)
    }


def hashes_of(inputs: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Source -> SHA-256 of its raw file, or the first of them."""
    first = {name: next(iter(files.values())) for name, files in inputs.items() if files}
    return {name: sha256 for name, sha256 in first.items() if not sha256.startswith(COMMIT)}


def read_from_the_hub(inputs: Mapping[str, Mapping[str, str]]) -> dict[str, HubId]:
    """Source -> the data set of the Hub that it is, at the commit that was read."""
    found = {}
    for name, files in inputs.items():
        for file, commit in files.items():
            data = hub_id(file.partition("@")[0].partition(":")[0])
            if data and commit.startswith(COMMIT):
                found[name] = HubId(data.repository, commit.removeprefix(COMMIT))
    return found


def named_on_the_hub(recipe: Recipe) -> dict[str, HubId]:
    """Source -> the data set of the Hub that its path names, as long as nothing of that name is here."""
    named = {name: hub_reference(source.path) for name, source in recipe.data.sources.items() if on_the_hub(source)}
    return {name: HubId(data.id, data.revision) for name, data in named.items() if data}


def _file_learnt_from(place: Path) -> dict[str, str]:
    """Name and SHA-256 of the training file, as a training without a record of it has them among its inputs."""
    model = read_manifest(place)
    return dict(model.inputs.get("data", {})) if model and model.stage == "train" else {}


def _prepared_beside(place: Path, learnt: Mapping[str, str]) -> Manifest | None:
    """The record of the prepared data, in a folder beside the model's, that hold the file learnt from."""
    for path in sorted(place.resolve().parent.glob(f"*/{NAME}")) if learnt else ():
        with suppress(UserError):  # somebody else's run.json
            made = read_manifest(path.parent)
            if made and made.stage == STAGE and set(learnt.values()) <= set(made.outputs.values()):
                return made
    return None


def _same_sources(recorded: Mapping[str, Any], made: Mapping[str, Any]) -> bool:
    """Whether prepared data are what the recipe names: paths by their last part, a format that was told is `auto`."""
    if recorded.keys() != made.keys():
        return False
    return all(_same_source(source, made[name]) for name, source in recorded.items())


def _same_source(recorded: Mapping[str, Any], made: Mapping[str, Any]) -> bool:
    path, form = str(made.get("path", "")), str(made.get("format", ""))
    same_path = recorded["path"] == GENERATED or last_part(recorded["path"]) == last_part(path)
    same_form = recorded["format"] == form or (recorded["format"] == AUTO and form.startswith(AUTO))
    others = (recorded.keys() & made.keys()) - {"path", "format", "license"}
    return same_path and same_form and all(recorded[key] == made[key] for key in others)
