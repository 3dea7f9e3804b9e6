"""Asking a model the items of benchmark columns, and writing answers and scores.

Answers go to `answers.jsonl` as they come, so an interrupted evaluation loses at most the batch
that was running and a second one with `resume` asks only what is missing.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from packtrain.core.atomic import OutputFolder
from packtrain.core.conversation import read_json_lines
from packtrain.core.errors import UserError
from packtrain.core.manifest import Manifest, digest, hashes
from packtrain.core.progress import progress, say
from packtrain.core.score import Score, write_scores
from packtrain.evaluate.benchmark import Benchmark, Item, Request, benchmark_of
from packtrain.models.base import Completion, LanguageModel, Sampling
from packtrain.prompts.template import PromptTemplate

BATCH = 64
Key = tuple[str, str, str]
"""Column, item, digest of what was asked."""


def evaluate(
    model: LanguageModel,
    template: PromptTemplate,
    eos_token: str,
    columns: Sequence[str],
    data: Path,
    out: Path,
    *,
    limit: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> list[Score]:
    """Scores of `model` on `columns`; writes `scores.json`, `answers.jsonl`, `grades.jsonl` and `run.json` into `out`.

    `limit` takes the first items of each column only. UserError for unknown columns, missing data
    files, or an output folder in the way.
    """
    benchmarks = {column: benchmark_of(column) for column in columns}
    items = {column: benchmark.items(data, column)[:limit] for column, benchmark in benchmarks.items()}
    for column, found in items.items():
        if not found:
            raise UserError(f"{column} has no items in {data}", "check the data folder")
    folder = OutputFolder(out, "evaluate", inputs=[data], overwrite=overwrite, resume=resume)
    log = folder.partial / "answers.jsonl"
    scores, graded = [], []
    for column, benchmark in benchmarks.items():
        try:
            answers = _answers(model, template, eos_token, benchmark, column, items[column], log)
        except BaseException:
            folder.keep()
            raise
        grades = [benchmark.grade(item, [answer], column) for item, answer in zip(items[column], answers, strict=True)]
        scores.append(benchmark.total(grades, column))
        graded += [{"column": column, **asdict(grade)} for grade in grades]
    (folder.partial / "grades.jsonl").write_text(
        "".join(json.dumps(grade, ensure_ascii=False) + "\n" for grade in graded), encoding="utf-8"
    )
    write_scores(folder.partial / "scores.json", model.name, scores)
    settings = {
        "model": model.name,
        "model_identity": model.identity,
        "template": template.source,
        "columns": list(columns),
        "limit": limit,
    }
    figures = {score.column: score.value for score in scores}
    Manifest("evaluate", settings, {"data": hashes(data)}, hashes(folder.partial), figures).write(folder.partial)
    folder.publish()
    return scores


def _answers(
    model: LanguageModel,
    template: PromptTemplate,
    eos_token: str,
    benchmark: Benchmark,
    column: str,
    items: Sequence[Item],
    log: Path,
) -> list[Completion]:
    """The answer to each item: from the log where it was asked before, else from the model."""
    requests = [benchmark.request(item, column) for item in items]
    prompts = [
        template.render(request.messages, eos_token, for_answer=True, answer_prefix=request.answer_prefix).text
        for request in requests
    ]
    keys: list[Key] = [
        (column, item.id, digest([model.identity, prompt, request.max_new_tokens, list(request.stop)]))
        for item, prompt, request in zip(items, prompts, requests, strict=True)
    ]
    known = _logged(log)
    missing = [index for index, key in enumerate(keys) if key not in known]
    if len(missing) < len(keys):
        say(f"{column}: {len(keys) - len(missing)} of {len(keys)} answers are there already")
    batches = _batches(missing, requests, prompts)
    with progress(f"asking {column}", len(items)) as advance, open(log, "a", encoding="utf-8") as file:
        advance(len(items) - len(missing))
        for rows in batches:
            first = requests[rows[0]]
            sampling = Sampling(first.max_new_tokens, stop=first.stop)
            completions = model.generate([prompts[row] for row in rows], sampling)
            for row, completion in zip(rows, completions, strict=True):
                record = dict(zip(("column", "item", "request"), keys[row], strict=True)) | asdict(completion)
                known[keys[row]] = completion
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
            file.flush()
            advance(len(rows))
    return [known[key] for key in keys]


def _batches(rows: Sequence[int], requests: Sequence[Request], prompts: Sequence[str]) -> list[list[int]]:
    """`rows` in batches that are asked alike (same limit, same stops), prompts of like length together."""

    def alike(row: int) -> tuple[int, tuple[str, ...]]:
        return requests[row].max_new_tokens, requests[row].stop

    ordered = sorted(rows, key=lambda row: (alike(row), len(prompts[row])))
    groups = [list(group) for _, group in groupby(ordered, key=alike)]
    return [group[start : start + BATCH] for group in groups for start in range(0, len(group), BATCH)]


def _logged(log: Path) -> dict[Key, Completion]:
    """Answers in the log by key; a last line that a kill cut short is taken off."""
    if not log.exists():
        return {}
    with open(log, "r+b") as file:
        file.truncate(file.read().rfind(b"\n") + 1)
    records = (record for _, record in read_json_lines(log))
    return {
        tuple(record.pop(part) for part in ("column", "item", "request")): Completion(**record) for record in records
    }
