"""What a run measured, gathered from the records of its stages for the card."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from packtrain.card.facts import CardFacts, measured_on
from packtrain.core.data_record import DataRecord, data_sets
from packtrain.core.errors import UserError
from packtrain.core.manifest import read_manifest
from packtrain.core.training_record import TrainingRecord, read_training
from packtrain.pipeline.learnt_data import described, files_of, hashes_of, learnt_from, prepared, read_from_the_hub
from packtrain.pipeline.stages import RECORDS
from packtrain.prompts.template import PromptTemplate, folder_template, load_template, template_names

_SOFTWARE = ("packtrain", "torch", "transformers")


def facts_of_run(work: Path) -> CardFacts:
    """The figures of data, training and recovery in a work folder; what no stage measured stays absent.

    UserError when `work` is no work folder.
    """
    check_work_folder(work)
    recovered = _stage_figures(work, "recover")
    record = read_training(work / "tuned")
    return replace(
        _facts(record, data_of(work)),
        template=_template(work / "tuned", record),
        scores_date=measured_on(work / "scores" / "scores.json"),
        diff_equal_share=recovered.get("share_equal"),
        diff_largest_difference=recovered.get("max_abs_difference"),
    )


def facts_of_model(folder: Path) -> CardFacts:
    """The figures of the training behind a tuned model, a diff or a recovered model, as far as they were recorded.

    A work folder of `packtrain run` has those of all its stages.
    """
    if is_work_folder(folder):
        return facts_of_run(folder)
    record, manifest, data = read_training(folder), read_manifest(folder), data_of(folder)
    facts = replace(_facts(record, data), template=_template(folder, record))
    if manifest and manifest.stage != "train":
        facts = replace(facts, parameters=manifest.figures.get("parameters"))
    sources = record.settings.get("data", {}).get("sources", {}) if record else {}
    if record and data is None and len(sources) == 1 and "examples" in record.figures:
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


def data_of(folder: Path) -> DataRecord | None:
    """What was learnt from; of a work folder, what its `data` stage made; None where nobody recorded it.

    There the data may say something else of their origin than they did when they were learnt from, such as another
    licence (`core/conversation_digest.py`): then it is what they say now.
    """
    learnt = learnt_from(recorded_in(folder))
    made = read_manifest(folder / "data") if is_work_folder(folder) else None
    if made is None:
        return learnt
    if learnt is None:
        return DataRecord("", "", {}, described(made))
    file = folder / "data" / learnt.file
    corrected = learnt.sets and learnt.sha256 not in made.outputs.values() and file.is_file()
    return replace(learnt, sets=data_sets(file) if corrected else learnt.sets, made=described(made))


def _facts(record: TrainingRecord | None, data: DataRecord | None) -> CardFacts:
    trained = record.figures if record else {}
    return replace(
        _facts_of_data(data),
        date=record.finished[:10] if record else None,
        versions={name: record.versions[name] for name in _SOFTWARE if name in record.versions} if record else {},
        hardware=trained.get("hardware"),
        precision=trained.get("precision"),
        steps=trained.get("steps"),
        learnt_tokens=trained.get("learnt_tokens"),
        training_s=trained.get("seconds"),
        final_loss=trained.get("final_loss"),
        held_out_loss_before=trained.get("held_out_before"),
        held_out_loss_after=trained.get("held_out_after"),
    )


def _facts_of_data(data: DataRecord | None) -> CardFacts:
    if data is None:
        return CardFacts(data_recorded=False)
    made = prepared(data)
    figures: Mapping[str, Any] = made.get("figures", {})
    inputs = made.get("inputs") or {name: {data.file: data.sha256} for name in data.sets}
    counts = {name: each.conversations for name, each in data.sets.items()}
    return CardFacts(
        conversations={name: source["train"] for name, source in figures.get("sources", {}).items()} or counts,
        data_hashes=hashes_of(inputs),
        data_files=files_of(inputs),
        data_on_hub=read_from_the_hub(inputs),
        models={name: each.models for name, each in data.sets.items()},
        licences={name: each.licenses for name, each in data.sets.items()},
        held_out=figures.get("held_out"),
        file_of_unknown_origin=None if data.made else data.file,
    )


def _template(folder: Path, record: TrainingRecord | None) -> PromptTemplate | None:
    """The chat template in a model's folder or in a diff's, else the shipped one that was trained on; None without."""
    for place in (folder, folder / "tuned"):
        with suppress(UserError):
            if found := folder_template(place):
                return found
    name = record.figures.get("template") if record else None
    return load_template(name) if name in template_names() else None


def _stage_figures(work: Path, stage: str) -> dict[str, Any]:
    record = work / RECORDS / f"{stage}.json"
    return dict(json.loads(record.read_text())["figures"]) if record.exists() else {}
