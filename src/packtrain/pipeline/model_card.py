"""A model card that states what was trained: recipe and figures from the record of the training, checked against it."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from packtrain.card.card import write_card
from packtrain.card.contradictions import contradiction, contradictions
from packtrain.card.facts import CardFacts, measured_on
from packtrain.card.known import check_language
from packtrain.card.learnt_data import data_claims
from packtrain.card.licences import Verdict, judge_recipe
from packtrain.card.shipping import ship_licences
from packtrain.core.atomic import check_output_file
from packtrain.core.errors import UserError
from packtrain.core.hub_results import FOLDER, kept_from_the_hub
from packtrain.core.manifest import NAME, read_manifest
from packtrain.core.progress import say
from packtrain.core.recipe import Recipe
from packtrain.core.recipe_file import apply_override, load_recipe, validate_recipe
from packtrain.core.score import read_scores
from packtrain.core.training_record import TrainingRecord, handed_on, read_training
from packtrain.pipeline.facts import data_of, facts_of_model, recorded_in
from packtrain.pipeline.learnt_data import data_section, named_on_the_hub

_FORMS = {"exact": "diff", "float": "float-diff"}
"""What `release.form` calls the forms of diffs."""
_FULL = "full"
_WHOLE_WEIGHTS = ("diff recover", "convert merge-lora")
"""Stages whose folders hold a model whatever the recipe publishes; so does `train`, whose diff is yet to be made."""


def make_model_card(
    recipe: str,
    overrides: Sequence[str],
    out: Path,
    *,
    model: Path | None = None,
    scores: Path | None = None,
    licences: Path | None = None,
    repo: str | None = None,
    language: str = "en",
    overwrite: bool = False,
) -> list[Path]:
    """Write the model card to `out` and what goes with it; returns the files.

    `model` is a folder of `packtrain train`, `diff make`, `diff recover`, `convert merge-lora` or `run`: settings, data
    and figures are those of the training. Without it the settings are those of `recipe`. Overrides may say anew what
    `card.contradictions.FREE` names, and licences. Raises UserError, before anything is written, for a card that would
    contradict the record of a training in `model` or in the folder that `out` lies in, and as `write_card` and
    `ship_licences` do.
    """
    if model is None:
        resolved, facts = load_recipe(recipe, overrides), CardFacts()
    else:
        resolved, facts = recorded_recipe(recipe, overrides, model, out.parent), facts_of_model(model)
    _check_folder(out.parent, resolved, model)
    if model is None or not facts.data_recorded:
        facts = replace(facts, data_on_hub=named_on_the_hub(resolved))
    facts = replace(facts, repository=repo, scores_date=measured_on(scores) if scores else facts.scores_date)
    measured = read_scores(scores) if scores else []
    verdict = _verdict(resolved, facts, out.parent if _records_training(out.parent) else model)
    check_language(language)
    check_output_file(out, overwrite)
    shipped = ship_licences(verdict, licences, out.parent, overwrite=overwrite) if licences else []
    written = write_card(resolved, out, scores=measured, facts=facts, language=language, overwrite=overwrite)
    if verdict.files and not licences:
        say(f"note: {', '.join(verdict.files)} must lie beside the model; --licences DIR copies what is needed")
    if left_out := kept_from_the_hub(measured):
        say(f"note: {left_out}")
    if any(path.parent.name == FOLDER for path in written):
        say(f"note: {out.parent / FOLDER}, a hidden folder, has the scores as the Hub reads them: publish it as well")
    return [*shipped, *written]


def _verdict(stated: Recipe, facts: CardFacts, files: Path | None) -> Verdict:
    """The verdict on what is published; UserError as `judge_recipe`, and of the way out for whole weights."""
    claims = data_claims(stated, facts)
    try:
        return judge_recipe(stated, claims)
    except UserError as error:
        if files is None or stated.release.form != _FULL:
            raise
        judge_recipe(stated.model_copy(update={"release": stated.release.model_copy(update={"form": "diff"})}), claims)
        raise UserError(
            f"the files of {files} are whole weights: {error.message}",
            "publish a diff of them (packtrain diff make), and give --model its folder",
        ) from error


def recorded_recipe(name: str, overrides: Sequence[str], folder: Path, beside: Path | None = None) -> Recipe:
    """The recipe that the model in `folder` was trained by, with what overrides say anew of publishing it.

    Licence and gate of the recipe `name` stand in for those that the record lacks. The form is that of the files in
    `beside`, where the card will lie, or else in `folder`: a diff's own, or whole weights. The data are those that were
    learnt from. UserError where no training is recorded, and naming each setting in which `name` or an override
    contradicts the record.
    """
    asked, place = load_recipe(name), recorded_in(folder)
    record = read_training(place)
    if record is None:
        raise UserError(
            f"{folder} has no record of a training",
            "give a folder of packtrain train, diff make, diff recover, convert merge-lora (of an adapter as it was "
            "trained) or run; without --model the recipe is stated",
        )
    where, form = f"recorded in {place / NAME}", _form_of(place, beside)
    values = validate_recipe(dict(record.settings), where).resolved()
    values["release"] = _release(values["release"], asked, form)
    values["data"] = data_section(values["data"], data_of(folder))
    recorded = validate_recipe(values, where)
    for override in overrides:
        apply_override(values, override)
    stated = validate_recipe(values, where)
    found = [contradiction("name", recorded.name, asked.name)] if asked.name != recorded.name else []
    found += contradictions(recorded.resolved(), stated)
    if form and stated.release.form != form:
        held = "whole weights" if form == _FULL else f"a {form}"
        found.append(f"release.form: the folder holds {held}, the card would say {stated.release.form}")
    _refuse(place, found, "leave these overrides out, and name the recipe that was trained: the rest is in the record")
    return stated


def _release(recorded: dict[str, Any], asked: Recipe, form: str | None) -> dict[str, Any]:
    """How it is published: what a licence and a gate of a recipe edited since the training say, where it had none."""
    offered = asked.resolved()["release"]
    filled = {key: recorded[key] or offered[key] for key in ("license", "gate")}
    return recorded | filled | ({"form": form} if form else {})


def _form_of(place: Path, beside: Path | None) -> str | None:
    """`release.form` of the files that the card is about; None for a tuned model whose card lies elsewhere."""
    lying = read_manifest(beside) if beside and _records_training(beside) else None
    made = read_manifest(place)
    if lying is not None and lying.stage == "train":
        return _FULL
    for manifest in (lying, made):
        if manifest and manifest.stage == "diff make":
            return _FORMS.get(manifest.settings.get("form", ""))
        if manifest and manifest.stage in _WHOLE_WEIGHTS:
            return _FULL
    return None


def _records_training(folder: Path) -> bool:
    with suppress(UserError):
        return read_training(folder) is not None
    return False


def _check_folder(folder: Path, stated: Recipe, model: Path | None) -> None:
    """Raise UserError when a folder that the card is written into records another training than the card states."""
    try:
        record = read_training(folder)
    except UserError as error:
        say(f"warning: the card was not compared with the folder it lies in: {error.message}")
        return
    same = model is not None and handed_on(folder) == handed_on(recorded_in(model))
    found = contradictions(_learnt(record, folder), stated) if record and not same else []
    _refuse(folder, found, f"leave such overrides out, and give --model {folder}: then nothing has to be typed")


def _learnt(record: TrainingRecord, folder: Path) -> dict[str, Any]:
    """The recorded settings, with the data that were learnt from."""
    recorded = dict(record.settings)
    known = isinstance(data := recorded.get("data"), dict) and isinstance(data.get("sources"), dict)
    return recorded | {"data": data_section(recorded["data"], data_of(folder))} if known else recorded


def _refuse(folder: Path, found: Sequence[str], hint: str) -> None:
    if found:
        raise UserError(f"{folder / NAME} records another training: {'; '.join(found)}", hint)
