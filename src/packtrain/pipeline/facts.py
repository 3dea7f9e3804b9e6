"""What a run measured, gathered from the records of its stages for the card."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from packtrain.card.facts import CardFacts, measured_on
from packtrain.core.errors import UserError
from packtrain.core.manifest import Manifest, read_manifest
from packtrain.core.training_record import TrainingRecord, read_training
from packtrain.pipeline.stages import RECORDS

_SOFTWARE = ("packtrain", "torch", "transformers")


def facts_of_run(work: Path) -> CardFacts:
    """The figures of data, training and recovery in a work folder; what no stage measured stays absent.

    UserError when `work` is no work folder.
    """
    check_work_folder(work)
    recovered = _stage_figures(work, "recover")
    return replace(
        _facts(read_training(work / "tuned"), read_manifest(work / "data")),
        scores_date=measured_on(work / "scores" / "scores.json"),
        diff_equal_share=recovered.get("share_equal"),
        diff_largest_difference=recovered.get("max_abs_difference"),
    )


def facts_of_model(folder: Path) -> CardFacts:
    """The figures of the training behind a tuned model, a diff or a recovered model, as far as they were recorded.

    Counts of data are those of the prepared data, where they lie beside the folder; else, of one source alone, how many
    conversations were learnt from. A work folder of `packtrain run` has those of all its stages.
    """
    if is_work_folder(folder):
        return facts_of_run(folder)
    record, manifest = read_training(folder), read_manifest(folder)
    facts = _facts(record, data_beside(folder))
    if manifest and manifest.stage != "train":
        facts = replace(facts, parameters=manifest.figures.get("parameters"))
    sources = record.settings.get("data", {}).get("sources", {}) if record else {}
    if record and len(sources) == 1 and not facts.conversations and "examples" in record.figures:
        [name] = sources
        facts = replace(facts, conversations={name: record.figures["examples"]})
    return facts


def is_work_folder(folder: Path) -> bool:
    """Whether `packtrain run` works in this folder."""
    return (folder / RECORDS).is_dir()


def check_work_folder(folder: Path) -> None:
    """Raise UserError for a folder that `packtrain run` has not worked in."""
    if not is_work_folder(folder):
        raise UserError(f"{folder} is not the work folder of a run", "give the --work folder of packtrain run")


def recorded_in(folder: Path) -> Path:
    """Where the training of a folder is recorded: in itself, or in a work folder's tuned model."""
    return folder / "tuned" if is_work_folder(folder) else folder


def data_beside(folder: Path) -> Manifest | None:
    """The record of the prepared data that a model was trained on, if they lie in a folder beside the model's.

    They are known by their SHA-256, so where they are called otherwise they are found as well.
    """
    model = read_manifest(recorded_in(folder))
    learnt = dict(model.inputs.get("data", {})) if model and model.stage == "train" else {}
    for path in sorted(recorded_in(folder).resolve().parent.glob("*/run.json")) if learnt else ():
        with suppress(UserError):  # somebody else's run.json
            made = read_manifest(path.parent)
            if made and made.stage == "data" and learnt.items() <= dict(made.outputs).items():
                return made
    return None


def _facts(record: TrainingRecord | None, data: Manifest | None) -> CardFacts:
    trained = record.figures if record else {}
    prepared: Mapping[str, Any] = data.figures if data else {}
    return CardFacts(
        date=record.finished[:10] if record else None,
        versions={name: record.versions[name] for name in _SOFTWARE if name in record.versions} if record else {},
        conversations={name: source["train"] for name, source in prepared.get("sources", {}).items()},
        data_hashes={name: next(iter(files.values())) for name, files in data.inputs.items() if files} if data else {},
        held_out=prepared.get("held_out"),
        hardware=trained.get("hardware"),
        steps=trained.get("steps"),
        learnt_tokens=trained.get("learnt_tokens"),
        training_s=trained.get("seconds"),
        final_loss=trained.get("final_loss"),
        held_out_loss_before=trained.get("held_out_before"),
        held_out_loss_after=trained.get("held_out_after"),
    )


def _stage_figures(work: Path, stage: str) -> dict[str, Any]:
    record = work / RECORDS / f"{stage}.json"
    return dict(json.loads(record.read_text())["figures"]) if record.exists() else {}
