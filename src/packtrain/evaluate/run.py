"""Benchmark columns of a model: asked, graded, and scored, in one folder.

Answers go to a log as they come, so an interrupted evaluation asks only what is missing when it is resumed. What came
of the answers (programs that ran, verdicts of a judge) has a log of its own, and is a step of its own.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import zstandard

from packtrain.core.atomic import OutputFolder, atomic_file
from packtrain.core.json_text import json_text
from packtrain.core.manifest import Manifest, hashes
from packtrain.core.score import Score, write_scores
from packtrain.evaluate.answers import LOG, TOO_LONG, AnswerLog, Given, answer_records, ask
from packtrain.evaluate.benchmark import Answer, Benchmark, Grade, Profile, Setting, benchmark_of
from packtrain.evaluate.earlier import ANSWERS, QUESTIONS, SCORES, earlier_answers
from packtrain.evaluate.outcomes import Outcomes, outcomes_of, prepare_outcomes
from packtrain.evaluate.questions import Question, format_tokens, prompts_digest, questions_of, whole_n_of
from packtrain.models.base import LanguageModel
from packtrain.prompts.template import PromptTemplate

GRADES = "grades.jsonl"
ENDPOINT = "asked and read as an endpoint's answers are"
"""Noted, because some columns are another thing then: docs/divergences.md, columns of an endpoint."""


@dataclass(frozen=True, slots=True)
class Course:
    """How columns are asked and judged, beside what they are."""

    profile: Profile = "paper-2023"
    full: bool = False
    """Every item, not the protocol's own draw."""
    limit: int | None = None
    """So many items of each column, of all its groups alike."""
    outcomes: Outcomes = field(default_factory=Outcomes)

    def setting(self, column: str, model: LanguageModel, template: PromptTemplate | None) -> Setting:
        """The same for one column of one model."""
        around = format_tokens(template, model.tokenizer)
        endpoint = template is None and model.tokenizer is None
        return Setting(column, self.profile, model.tokenizer, template is not None, self.full, around, endpoint)


def evaluate(
    model: LanguageModel,
    template: PromptTemplate | None,
    columns: Sequence[str],
    data: Path,
    out: Path,
    course: Course | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> list[Score]:
    """Scores of `model` on `columns`; writes questions, answers, grades, `scores.json` and `run.json` into `out`.

    What `course.outcomes.earlier` has answers to, the folder of another evaluation or `out` itself, is not asked again.
    UserError for unknown columns, missing data, a sandbox or judge that is needed and not there (all before anything is
    asked), or an output folder in the way.
    """
    course = course or Course()
    earlier = course.outcomes.earlier
    settings = {column: course.setting(column, model, template) for column in columns}
    benchmarks = {column: benchmark_of(column) for column in columns}
    prepare_outcomes(benchmarks, course.outcomes)
    eos_token = model.tokenizer.eos_token if model.tokenizer else ""
    questions = {
        column: questions_of(benchmarks[column], settings[column], data, template, eos_token, course.limit)
        for column in columns
    }
    computed = (f"computed in {model.precision}",) if model.precision else ()
    folder = OutputFolder(out, "evaluate", inputs=[data], overwrite=overwrite, resume=resume)
    try:
        log = AnswerLog(folder.partial, earlier_answers(earlier) if earlier else None)
        scores: list[Score] = []
        grades: dict[str, list[Grade]] = {}
        answers: dict[str, list[list[Given]]] = {}
        for column, asked in questions.items():
            benchmark, setting = benchmarks[column], settings[column]
            given = ask(model, asked, setting, benchmark.version, log)
            found, score = graded(benchmark, setting, asked, given, folder.partial, course.outcomes)
            whole_n = whole_n_of(benchmark, setting, data, asked, course.limit)
            notes = (*notes_of(asked, given), *score.notes, *computed)
            scores.append(replace(score, notes=notes, whole_n=whole_n))
            grades[column], answers[column] = found, given
    except BaseException:
        folder.keep()
        raise
    write_results(folder.partial, model.name, questions, answers, grades, scores)
    (folder.partial / LOG).unlink()
    _manifest(model, template, course, questions, scores, folder.partial).write(folder.partial)
    folder.publish()
    return scores


def graded(
    benchmark: Benchmark,
    setting: Setting,
    questions: Sequence[Question],
    given: Sequence[Sequence[Given]],
    folder: Path,
    outcomes: Outcomes,
) -> tuple[list[Grade], Score]:
    """The grades of given answers and the column's score; programs are run and judges asked here.

    Logs of both are kept in `folder`: what is there already is not done again.
    """
    answers: list[list[Answer]] = outcomes_of(benchmark, setting, questions, given, folder, outcomes)
    grades = [benchmark.grade(question.item, own, setting) for question, own in zip(questions, answers, strict=True)]
    score = benchmark.total(grades, setting)
    endpoint = [ENDPOINT] if setting.endpoint else []
    notes = (*endpoint, *score.notes, *outcomes.notes(benchmark, setting.profile))
    return grades, replace(score, prompts=prompts_digest(questions), notes=notes)


def notes_of(questions: Sequence[Question], given: Sequence[Sequence[Given]]) -> list[str]:
    """What had to be done to ask, and what answers could not be read, counted over the questions."""
    asked = Counter(note for question in questions for note in question.request.notes)
    too_long = [any(one.finish_reason == TOO_LONG for one in own) for own in given]
    chosen = [question.request.options is not None for question in questions]
    nameless = [not own[0].text and not long for own, long in zip(given, too_long, strict=True)]
    counts = {
        **dict(sorted(asked.items())),
        "prompts longer than the model's context, beginning left out": sum(
            any(one.cut_tokens for one in own) for own in given
        ),
        "prompts longer than the endpoint's context, taken as answered by nothing": sum(too_long),
        "answers that name none of the options": sum(map(all, zip(chosen, nameless, strict=True))),
        "choices that rounding may decide": sum(one.close for own in given for one in own),
    }
    return [f"{note}: {count} of {len(questions)}" for note, count in counts.items() if count]


def write_results(
    folder: Path,
    model: str,
    questions: Mapping[str, Sequence[Question]],
    answers: Mapping[str, Sequence[Sequence[Given]]],
    grades: Mapping[str, Sequence[Grade]],
    scores: Sequence[Score],
) -> None:
    """Write all that was asked (compressed), answered, graded and scored into `folder`, columns in their order."""
    asked = (
        {"column": column, "item": question.item.id, "group": question.item.group, **question.asked}
        for column, own in questions.items()
        for question in own
    )
    with (
        atomic_file(folder / QUESTIONS, "wb") as file,
        zstandard.ZstdCompressor(level=3).stream_writer(file, closefd=False) as packed,
    ):
        for record in asked:
            packed.write(json_text(record).encode() + b"\n")
    given = (record for column, own in answers.items() for record in answer_records(column, questions[column], own))
    _write_lines(folder / ANSWERS, given)
    found = ({"column": column, **asdict(grade)} for column, own in grades.items() for grade in own)
    _write_lines(folder / GRADES, found)
    write_scores(folder / SCORES, model, scores)


def _write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    with atomic_file(path) as file:
        file.writelines(json_text(record) + "\n" for record in records)


def _manifest(
    model: LanguageModel,
    template: PromptTemplate | None,
    course: Course,
    questions: Mapping[str, Sequence[Question]],
    scores: Sequence[Score],
    folder: Path,
) -> Manifest:
    settings = {
        "model": model.name,
        "model_identity": model.identity,
        "precision": model.precision,
        "template": template.source if template else None,
        "columns": list(questions),
        "profile": course.profile,
        "chat": template is not None,
        "full": course.full,
        "limit": course.limit,
        **course.outcomes.settings(),
    }
    asked = {column: prompts_digest(own) for column, own in questions.items()}
    figures = {score.column: score.value for score in scores}
    return Manifest("evaluate", settings, {"questions": asked}, hashes(folder), figures)
