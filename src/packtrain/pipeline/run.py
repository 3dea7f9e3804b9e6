"""A whole recipe, stage by stage: generate, data, train, diff, recover, evaluate, card."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from packtrain.card.known import last_part
from packtrain.core.atomic import output_folder
from packtrain.core.conversation_digest import conversations_digest
from packtrain.core.engine import Engine
from packtrain.core.errors import UserError
from packtrain.core.manifest import Manifest, hashes
from packtrain.core.progress import say
from packtrain.core.recipe import Recipe, Source
from packtrain.core.score import Score, read_scores
from packtrain.models.base import LanguageModel
from packtrain.pipeline.columns import columns_of_recipe
from packtrain.pipeline.doctor.checks import recipe_findings, refuse
from packtrain.pipeline.doctor.model import errors_before_training
from packtrain.pipeline.doctor.wanted import GENERATED, Wanted, here
from packtrain.pipeline.evaluation_record import EVALUATE, files_of, judge_before, missing_judge, versions_of
from packtrain.pipeline.judge import NOBODY, Judge
from packtrain.pipeline.run_report import RunReport
from packtrain.pipeline.stage_outlook import Reads, Stage
from packtrain.pipeline.stage_progress import last_step, lines_left
from packtrain.pipeline.stages import RECORDS, dry_run_stages, run_stages
from packtrain.train.doctor_checks import Finding, in_order

JOURNAL, ANSWERS = "journal.jsonl", "asked.jsonl"
"""What an interrupted generation and evaluation leave (`generate/journal.py`, `evaluate/answers.py`)."""


def run_recipe(
    recipe: Recipe,
    work: Path,
    *,
    dry_run: bool = False,
    teacher: LanguageModel | None = None,
    engine: Engine | None = None,
    launch: Sequence[str] = (),
    judge: Judge = NOBODY,
) -> RunReport:
    """Run every stage of `recipe` whose settings, inputs or output changed; outputs lie in folders of `work`.

    `teacher` answers the generation prompts in place of `generate.model`; `engine` says how training computes, and
    `launch`, the words of a launcher such as torchrun, on how many processes; a change of either makes nothing anew.
    `judge` compares answers for columns that need it; what another run had judged here is kept without one.
    With `dry_run` nothing is made or fetched: the report says what would be done, why, and what is missing. UserError
    for anything that the user can mend, all that is missing at once and before the first stage; what earlier stages
    finished stays.
    """
    engine = engine or Engine()
    before = None if judge.name else judge_before(recipe, work)
    wanted = Wanted(recipe, here(recipe.base.path), engine, work, teacher is not None, before or judge)
    told: set[str] = set()

    def check(todo: Sequence[str]) -> list[Finding]:
        found = [finding for finding in recipe_findings(wanted, todo) if finding.what not in told]
        found += [missing_judge(recipe, before)] if before and EVALUATE in todo else []
        known = {finding.what for finding in found}
        more = errors_before_training(wanted) if "train" in todo else []
        return in_order([*found, *(finding for finding in more if finding.what not in known)])

    def made() -> list[Stage]:
        return stages_of(recipe, work, teacher, engine, launch, before or judge)

    if dry_run:
        planned, findings = dry_run_stages(made(), work, recipe.name, check)
        return RunReport(work, planned, findings)
    if wanted.base is None:
        from packtrain.weights.source import model_folder

        found = recipe_findings(wanted)
        refuse(found)
        told.update(finding.what for finding in found)
        wanted = replace(wanted, base=model_folder(recipe.base.path))  # an id of the Hub, when all else is there
    stages = made()
    work.mkdir(parents=True, exist_ok=True)
    return RunReport(work, run_stages(stages, work, recipe.name, check))


def stages_of(
    recipe: Recipe,
    work: Path,
    teacher: LanguageModel | None = None,
    engine: Engine | None = None,
    launch: Sequence[str] = (),
    judge: Judge = NOBODY,
) -> list[Stage]:
    """The stages that `recipe` asks for, in order; whether they have what they need is for the doctor's checks."""
    base = here(recipe.base.path) or Path(recipe.base.path).expanduser()
    stages = [_generate(recipe, work, teacher)] if recipe.generate else []
    stages += [_data(recipe, work), _train(recipe, work, base, engine or Engine(), launch)]
    published = work / "tuned"
    if recipe.release.form != "full":
        stages += [_diff(recipe, work, base), _recover(recipe, work, base)]
        published = work / "recovered"
    if recipe.evaluate.columns and recipe.evaluate.data:
        stages.append(evaluation(EVALUATE, recipe, published, work / "scores", judge))
    elif recipe.evaluate.columns:
        say("evaluate: left out, evaluate.data names no folder with the benchmark files")
    return [*stages, _card(recipe, work, has_scores=stages[-1].name == EVALUATE)]


def _generate(recipe: Recipe, work: Path, teacher: LanguageModel | None) -> Stage:
    settings = recipe.generate
    if settings is None:
        raise ValueError("the recipe has no generate section")
    out = work / "generated"

    def make(resume: bool) -> Mapping[str, Any]:
        from packtrain.generate.journal import keep_answers
        from packtrain.generate.loop import generate
        from packtrain.models.open import open_model

        model = teacher or open_model(settings.model)
        kept = keep_answers(out, model.name, recipe.seed)
        report = generate(
            model,
            settings.count,
            out,
            novelty=settings.novelty,
            seed=recipe.seed,
            resume=kept,
            overwrite=True,
        )
        return {**asdict(report), "folder": str(out)}

    dump = {**settings.model_dump(mode="json"), "seed": recipe.seed}
    what = f"{settings.count:,} instructions by {settings.model}"
    return Stage("generate", out, dump, {}, make, resumable=True, what=what, left=lambda: lines_left(out, JOURNAL))


def _data(recipe: Recipe, work: Path) -> Stage:
    from packtrain.data.sources import on_the_hub

    out = work / "data"
    sources = {name: _located(source, work) for name, source in recipe.data.sources.items()}

    def make(resume: bool) -> Mapping[str, Any]:
        from packtrain.data.prepare import prepare

        data = recipe.data.model_copy(update={"sources": sources})
        report = prepare(data, out, seed=recipe.seed, overwrite=True, resume=resume, provenance=True)
        return report.figures()

    dump = {**recipe.data.model_dump(mode="json"), "seed": recipe.seed}
    raw = {name: source.file for name, source in sources.items() if not on_the_hub(source)}
    what = f"conversations from {', '.join(sources)}"
    return Stage("data", out, dump, raw, make, resumable=True, adoptable=True, what=what)


def _located(source: Source, work: Path) -> Source:
    if source.path != GENERATED:
        return source
    return source.model_copy(update={"path": str(work / "generated" / "conversations.jsonl")})


def _train(recipe: Recipe, work: Path, base: Path, engine: Engine, launch: Sequence[str]) -> Stage:
    out, data = work / "tuned", work / "data"

    def make(resume: bool) -> Mapping[str, Any]:
        if launch:
            from packtrain.pipeline.launch import train_launched

            recipe_file = work / RECORDS / "train.yaml"
            return train_launched(launch, recipe, recipe_file, data, out, resume=resume, engine=engine)
        from packtrain.train.stage import train

        return asdict(train(recipe, data, out, resume=resume, overwrite=True, engine=engine))

    settings = {
        **recipe.train.model_dump(mode="json"),
        "template": _fingerprint(base, recipe),
        "family": recipe.family,
        "seed": recipe.seed,
        "dtype": recipe.release.dtype,
    }
    what = f"{last_part(recipe.base.path)} tuned on them: {recipe.train.epochs} epochs at {recipe.train.lr:g}"
    inputs = {"base": base, "data": data}
    reads = {"data": Reads({"train.jsonl", "held_out.jsonl"}.__contains__, conversations_digest)}
    left = partial(last_step, out)
    return Stage("train", out, settings, inputs, make, True, True, reads=reads, what=what, left=left)


def _fingerprint(base: Path, recipe: Recipe) -> str:
    """Of the prompt format; "" for one that cannot be had, of which the doctor's checks tell."""
    from packtrain.prompts.template import template_for

    try:
        return template_for(base, recipe.template).fingerprint
    except UserError:
        return ""


def _diff(recipe: Recipe, work: Path, base: Path) -> Stage:
    tuned, out = work / "tuned", work / "diff"
    form = recipe.release.diff_form

    def make(resume: bool) -> Mapping[str, Any]:
        from packtrain.diff.make import make_diff

        report = make_diff(base, tuned, out, form=form, overwrite=True, resume=resume)
        return {"tensors": report.tensors, "bytes": report.bytes_written}

    inputs, what = {"base": base, "tuned": tuned}, f"the {form} difference from the base"
    return Stage("diff", out, {"form": form}, inputs, make, resumable=True, what=what)


def _recover(recipe: Recipe, work: Path, base: Path) -> Stage:
    diff, out, tuned = work / "diff", work / "recovered", work / "tuned"

    def make(resume: bool) -> Mapping[str, Any]:
        from packtrain.diff.check import compare
        from packtrain.diff.recover import recover

        recover(base, diff, out, dtype=recipe.release.dtype, overwrite=True, resume=resume)
        comparison = compare(tuned, out)
        return {
            "share_equal": comparison.share_equal,
            "max_abs_difference": comparison.max_abs_difference,
        }

    inputs, what = {"base": base, "diff": diff}, "the model from base and difference, compared with the tuned one"
    return Stage("recover", out, {"dtype": recipe.release.dtype}, inputs, make, resumable=True, what=what)


def evaluation(name: str, recipe: Recipe, model: Path, out: Path, judge: Judge = NOBODY) -> Stage:
    """The stage that asks `model` the recipe's columns, and `judge` about those that need one.

    What a run before has asked and was told, in `out` or its unfinished folder, is not asked again.
    """
    from packtrain.evaluate.run import Course, evaluate

    columns, data = columns_of_recipe(recipe).with_judge(judge.name), recipe.evaluate.folder
    base = here(recipe.base.path) or Path(recipe.base.path)

    def make(resume: bool) -> Mapping[str, Any]:
        from packtrain.evaluate.outcomes import Outcomes, judged_by
        from packtrain.models.local import LocalModel
        from packtrain.models.precision import dtype_named
        from packtrain.prompts.template import template_for

        template = template_for(base, recipe.template)
        local = LocalModel(model, dtype=dtype_named(recipe.evaluate.dtype))
        outcomes = Outcomes(price_in=judge.price_in, price_out=judge.price_out, budget_usd=judge.budget_usd)
        outcomes = judged_by(judge.name, outcomes) if judge.name else outcomes
        course = Course(profile, outcomes=replace(outcomes, earlier=out if out.exists() else None))
        begun = out.with_name(f"{out.name}.partial").exists()  # whatever it asked: answers are kept by question
        scores = evaluate(local, template, columns, data, out, course, resume=begun, overwrite=True)
        return {score.column: score.value for score in scores}

    profile = Course().profile
    settings = {
        "columns": list(columns),
        "versions": versions_of(columns),
        "profile": profile,
        "template": _fingerprint(base, recipe),
        "dtype": recipe.evaluate.dtype,
        **({"judge": judge.name} if judge.name else {}),
    }
    inputs, what = {"model": model, "data": data}, f"{', '.join(columns)} of {model.name}"
    reads, left = {"data": files_of(columns)}, partial(lines_left, out, ANSWERS)
    return Stage(name, out, settings, inputs, make, True, True, reads=reads, what=what, left=left)


def _card(recipe: Recipe, work: Path, has_scores: bool) -> Stage:
    out, scores_file = work / "card", work / "scores" / "scores.json"

    def make(resume: bool) -> Mapping[str, Any]:
        from packtrain.card.card import write_card
        from packtrain.pipeline.facts import facts_of_run

        scores: list[Score] = read_scores(scores_file) if has_scores else []
        with output_folder(out, "card", overwrite=True) as folder:
            write_card(recipe, folder / "README.md", scores=scores, facts=facts_of_run(work))
            Manifest("card", recipe.resolved(), {}, hashes(folder)).write(folder)
        return {"card": str(out / "README.md")}

    inputs = {"train": work / "tuned" / "run.json", "data": work / "data" / "run.json"}
    if has_scores:
        inputs["scores"] = scores_file
    return Stage("card", out, recipe.resolved(), inputs, make, edited_by_hand=True, what="the model card")
