"""Answers that were made elsewhere: by an API, another tool, or an earlier evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from packtrain.core.atomic import OutputFolder
from packtrain.core.conversation import read_json_lines
from packtrain.core.errors import UserError
from packtrain.core.manifest import Manifest, hashes
from packtrain.core.progress import say
from packtrain.core.score import Score
from packtrain.evaluate.answers import Given
from packtrain.evaluate.benchmark import Setting, benchmark_of
from packtrain.evaluate.outcomes import Outcomes, judged_in, prepare_outcomes
from packtrain.evaluate.questions import Question
from packtrain.evaluate.run import graded, notes_of, write_results
from packtrain.models.base import cut_at_stop
from packtrain.models.named_option import named_option

ITEM = ("item", "id", "task_id")
TEXT = ("text", "answer", "output", "completion")
"""Names that the item and the answer go by, in the order in which they are looked for."""


def read_answers(path: Path, column: str, questions: Sequence[Question]) -> list[list[Given]]:
    """The answers in a JSONL file to each question, samples in their order in the file.

    They are read as a model's own are: up to the first stop text, and of a choice the option that they name.

    A line is `{"item": ID, "text": ANSWER}`, perhaps with `finish_reason` (`length` for an answer that was cut off) and
    `column` (lines of other columns are left out). UserError naming file and line for what is no answer, and naming the
    items that lack answers, that have too many, or that nobody asked for.
    """
    found: dict[str, list[Given]] = {question.item.id: [] for question in questions}
    asked = {question.item.id: question for question in questions}
    strangers: list[str] = []
    for number, record in read_json_lines(path):
        where = f"{path}, line {number}"
        if not isinstance(record, dict):
            raise UserError(f"{where} is not an object", 'a line looks like {"item": "ID", "text": "ANSWER"}')
        if record.get("column", column) != column:
            continue
        name, text = _field(record, ITEM, where), _field(record, TEXT, where)
        if name in found:
            found[name].append(_read(text, str(record.get("finish_reason", "stop")), asked[name]))
        else:
            strangers.append(name)
    _check(path, column, questions, found, strangers)
    return [found[question.item.id] for question in questions]


def _read(text: str, finish_reason: str, question: Question) -> Given:
    """The answer as it would be if it had been asked for here."""
    options = question.request.options
    if options is not None:
        index = named_option(text, options.texts, question.prompt)
        return Given(options.texts[index] if index >= 0 else "", finish_reason)
    text, stopped = cut_at_stop(text, question.request.stop)
    return Given(text, "stop" if stopped else finish_reason)


def _field(record: Mapping[str, Any], names: Sequence[str], where: str) -> str:
    value = next((record[name] for name in names if name in record), None)
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise UserError(
            f"{where} has no text under {' or '.join(names)}", "see docs/evaluation.md, answers made elsewhere"
        )
    return str(value)


def _check(
    path: Path,
    column: str,
    questions: Sequence[Question],
    found: Mapping[str, Sequence[Given]],
    strangers: Sequence[str],
) -> None:
    if strangers:
        raise UserError(
            f"{path}: {len(strangers)} answers are to no item of {column}, {strangers[0]!r} first",
            f"the items are named as in: packtrain evaluate prompts {column}",
        )
    wanted = {question.item.id: question.request.samples for question in questions}
    lacking = [name for name, count in wanted.items() if len(found[name]) < count]
    if lacking:
        raise UserError(
            f"{path}: {len(lacking)} of {len(wanted)} items of {column} lack answers, {lacking[0]!r} first "
            f"({wanted[lacking[0]]} wanted, {len(found[lacking[0]])} there)",
            "a score without all answers is not the column; for a part of the items give --limit as they were asked",
        )
    doubled = [name for name, count in wanted.items() if len(found[name]) > count]
    if doubled:
        raise UserError(
            f"{path}: {doubled[0]!r} of {column} is answered {len(found[doubled[0]])} times, "
            f"{wanted[doubled[0]]} wanted",
            "leave one answer for each sample",
        )


def score_answers(
    setting: Setting,
    questions: Sequence[Question],
    answers: Path,
    out: Path,
    outcomes: Outcomes,
    *,
    whole_n: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Score:
    """The column's score for the answers in a JSONL file; writes what an evaluation writes into `out`.

    `whole_n`: items of the whole column, where `questions` are a part of them. What the log of a judge beside the
    answers holds, as in the folder of an evaluation, is not asked again.
    UserError as of `read_answers`, and for a sandbox or judge that is needed and not there.
    """
    benchmark = benchmark_of(setting.column)
    prepare_outcomes({setting.column: benchmark}, outcomes)
    given = read_answers(answers, setting.column, questions)
    if benchmark.outcome == "judged" and not isinstance(outcomes.judge, str) and judged_in(answers.parent).is_file():
        say(f"what the judge said in {judged_in(answers.parent)} is not asked again")
        outcomes = replace(outcomes, earlier=answers.parent)
    folder = OutputFolder(out, "evaluate", inputs=[answers], overwrite=overwrite, resume=resume)
    try:
        grades, score = graded(benchmark, setting, questions, given, folder.partial, outcomes)
    except BaseException:
        folder.keep()
        raise
    score = replace(score, notes=(*notes_of(questions, given), *score.notes), whole_n=whole_n)
    asked = {setting.column: questions}
    write_results(folder.partial, answers.name, asked, {setting.column: given}, {setting.column: grades}, [score])
    settings = {"answers": answers.name, "column": setting.column, "profile": setting.profile, **outcomes.settings()}
    figures = {score.column: score.value}
    Manifest("evaluate", settings, {"answers": hashes(answers)}, hashes(folder.partial), figures).write(folder.partial)
    folder.publish()
    return score
