"""Prepared data that are there already: whether they are what their sources would give now."""

from pathlib import Path

from packtrain.core.manifest import hashes, read_manifest, versions
from packtrain.core.recipe import Data
from packtrain.data.output import STAGE
from packtrain.data.recognition import with_formats
from packtrain.data.sources import locate


def is_prepared(folder: Path) -> bool:
    """Whether `folder` is one that `prepare` made."""
    manifest = read_manifest(folder)
    return manifest is not None and manifest.stage == STAGE


def changes(folder: Path, data: Data, seed: int) -> list[str]:
    """What differs between a prepared folder and what `prepare` would make of `data` now, in words; empty when nothing.

    Inputs and outputs are read once, to compare their SHA-256. UserError when a source cannot be read.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        return ["its run.json is gone"]
    section = with_formats(data)
    if (manifest.settings, manifest.seed) != ({"data": section.model_dump(mode="json"), "compat": False}, seed):
        return ["the data section or the seed of the recipe"]
    if manifest.versions.get("packtrain") != versions()["packtrain"]:
        return ["the version of packtrain"]
    found = [name for name, source in section.sources.items() if locate(source).hashes() != manifest.inputs.get(name)]
    return found or (["its own files"] if hashes(folder) != manifest.outputs else [])
