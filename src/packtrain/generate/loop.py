"""The loop: ask for tasks, keep what is good and new, until there are enough.

Self-Instruct in the form of Alpaca: each request shows a few seed tasks and asks for a list that goes
on from them. What a run makes follows from its settings and from the answers alone, so a run that
was interrupted and resumed ends with the same files as one that was not.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from packtrain.core.atomic import OutputFolder, atomic_file
from packtrain.core.conversation import write_conversations
from packtrain.core.errors import UserError
from packtrain.core.manifest import Manifest, digest, hashes
from packtrain.core.progress import Advance, progress, say
from packtrain.generate.filters import load_filters
from packtrain.generate.journal import Answer, Journal
from packtrain.generate.parse import parse_answer
from packtrain.generate.prompt import OWN_PROMPT, encode_prompt, load_prompt
from packtrain.generate.seeds import OWN_SEEDS, SeedTask, load_seeds, sample_seeds
from packtrain.generate.sieve import Sieve
from packtrain.models.base import Completion, LanguageModel, Sampling

SAMPLING = Sampling(max_new_tokens=3072, temperature=1.0, top_p=1.0)
"""Decoding of the original; stop texts and seed are set for each request."""


@runtime_checkable
class AnswersOneByOne(Protocol):
    """A model that hands over each answer as soon as it has arrived."""

    def generate_each(self, prompts: Sequence[str], sampling: Sampling) -> Iterator[tuple[int, Completion]]:
        """Index of a prompt and its answer, in order of arrival."""
        ...


@dataclass(frozen=True, slots=True)
class GenerateReport:
    """What came out of a run."""

    folder: Path
    kept: int
    requests: int
    """Answers that were used; those of an interrupted first attempt included."""
    dropped: dict[str, int]
    """By reason, the commonest first."""
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class _Request:
    """One prompt; its number decides which seed tasks it shows."""

    number: int
    parents: tuple[str, ...]
    prompt: str
    prompt_sha256: str


def generate(
    model: LanguageModel,
    count: int,
    out: Path,
    *,
    seeds: Path = OWN_SEEDS,
    prompt_template: Path = OWN_PROMPT,
    novelty: float = 0.7,
    tasks_per_prompt: int = 20,
    prompts_per_request: int = 5,
    examples_per_prompt: int = 3,
    sampling: Sampling = SAMPLING,
    kept_filters: Sequence[str] | None = None,
    seed: int = 42,
    patience: int = 20,
    resume: bool = False,
    overwrite: bool = False,
) -> GenerateReport:
    """Make exactly `count` tasks with `model` and publish them in the folder `out`.

    `novelty`: a task is dropped when its ROUGE-L with an earlier one or a seed is above this (0.7 in
    the original; from 1.0 on only exact duplicates are dropped). `tasks_per_prompt`: length of the
    list that the prompt asks for, its examples included. `prompts_per_request`: at most so many
    prompts are given to the model at a time. `kept_filters`: names of the filters to apply, all by
    default. `patience`: give up when so many answers in a row bring nothing.

    `out` holds instructions.json (Alpaca's form), conversations.jsonl, dropped.jsonl, journal.jsonl
    and run.json. A run that ends early leaves `out` + ".partial" with every answer it got; `resume`
    goes on from there and asks for none of them again.

    Raises UserError for unusable settings or seeds, when patience is at an end, and whatever the
    model raises.
    """
    wording, seed_tasks, filters = load_prompt(prompt_template), load_seeds(seeds), load_filters(kept_filters)
    _check(count, tasks_per_prompt, examples_per_prompt, prompts_per_request, seed_tasks, seeds)
    sampling = replace(sampling, stop=(f"\n{tasks_per_prompt + 1}. Instruction:",), seed=seed)
    inputs = {"prompt": hashes(prompt_template), "seeds": hashes(seeds)}
    asked: dict[str, Any] = {
        "model": model.name,
        "prompt": inputs["prompt"][prompt_template.name],
        "seeds": inputs["seeds"][seeds.name],
        "seed": seed,
        "tasks_per_prompt": tasks_per_prompt,
        "examples_per_prompt": examples_per_prompt,
        "sampling": {**asdict(sampling), "stop": list(sampling.stop)},
    }
    folder = OutputFolder(out, "generate", inputs=[seeds, prompt_template], overwrite=overwrite, resume=resume)
    sieve = Sieve(count, (seed_task.task.instruction for seed_task in seed_tasks), filters, novelty)
    used: list[Answer] = []
    with _open_journal(folder, asked) as journal, progress("tasks", count) as advance:
        try:
            while sieve.missing > 0:
                wanted = math.ceil(sieve.missing / (tasks_per_prompt - examples_per_prompt))
                numbers = range(len(used), len(used) + min(wanted, prompts_per_request))
                batch = [_request(n, wording, seed_tasks, examples_per_prompt, tasks_per_prompt, seed) for n in numbers]
                _ask(model, batch, journal, sampling)
                used += _take(batch, journal, sieve, model.name, examples_per_prompt, advance)
                _give_up_without_progress(sieve, len(used), patience, folder)
        except BaseException:
            _keep_or_discard(folder, journal)
            raise
    report = _report(out, sieve, used)
    _write(folder.partial, sieve)
    chosen = {"count": count, "novelty": novelty, "filters": list(filters), "prompts_per_request": prompts_per_request}
    figures = {key: value for key, value in asdict(report).items() if key != "folder"}
    Manifest("generate", {**asked, **chosen}, inputs, hashes(folder.partial), figures, seed).write(folder.partial)
    folder.publish()
    return report


def _check(count: int, tasks: int, examples: int, at_a_time: int, seed_tasks: Sequence[SeedTask], seeds: Path) -> None:
    if count < 1 or examples < 1 or at_a_time < 1:
        raise UserError("counts of tasks, examples and prompts must be at least 1", "for example --count 100")
    if tasks <= examples:
        raise UserError(
            f"a list of {tasks} tasks has no room beside {examples} examples", f"ask for {examples + 1} tasks or more"
        )
    if len(seed_tasks) < examples:
        raise UserError(
            f"{seeds} has {len(seed_tasks)} seed tasks, a prompt shows {examples}", "add seed tasks, or show fewer"
        )


def _open_journal(folder: OutputFolder, asked: dict[str, Any]) -> Journal:
    journal = Journal(folder.partial, asked)
    if folder.resumed:
        say(f"resuming {folder.partial}: {len(journal.answers)} answers are there")
    return journal


def _request(number: int, wording: str, seeds: Sequence[SeedTask], examples: int, tasks: int, seed: int) -> _Request:
    shown = sample_seeds(seeds, examples, seed, number)
    prompt = encode_prompt(wording, [seed_task.task for seed_task in shown], tasks)
    return _Request(number, tuple(seed_task.id for seed_task in shown), prompt, digest(prompt))


def _ask(model: LanguageModel, batch: Sequence[_Request], journal: Journal, sampling: Sampling) -> None:
    """Bring the answers that are not in the journal yet into it, each as soon as it is there."""
    missing = [request for request in batch if journal.find(request.number, request.prompt_sha256) is None]
    if not missing:
        return
    sampling = replace(sampling, seed=int(digest([sampling.seed, missing[0].number])[:7], 16))
    for index, completion in _answers(model, [request.prompt for request in missing], sampling):
        request = missing[index]
        journal.add(Answer(request=request.number, prompt_sha256=request.prompt_sha256, **asdict(completion)))


def _answers(model: LanguageModel, prompts: list[str], sampling: Sampling) -> Iterable[tuple[int, Completion]]:
    if isinstance(model, AnswersOneByOne):
        return model.generate_each(prompts, sampling)
    return enumerate(model.generate(prompts, sampling))


def _take(
    batch: Sequence[_Request], journal: Journal, sieve: Sieve, model: str, examples: int, advance: Advance
) -> list[Answer]:
    """Sift the answers of a batch in order of the requests, whatever the order of their arrival."""
    answers = [journal.answers[request.number] for request in batch]
    for request, answer in zip(batch, answers, strict=True):
        provenance = {
            "model": model,
            "prompt_sha256": request.prompt_sha256,
            "parents": list(request.parents),
            "request": request.number,
        }
        kept = sieve.take(parse_answer(answer.text, answer.finish_reason, examples), request.number, provenance)
        advance(kept, note=f"{request.number + 1} answers, {len(sieve.dropped)} dropped")
    return answers


def _give_up_without_progress(sieve: Sieve, requests: int, patience: int, folder: OutputFolder) -> None:
    last = sieve.kept[-1].request + 1 if sieve.kept else 0
    if sieve.missing <= 0 or requests - last < patience:
        return
    _write_dropped(folder.partial, sieve)
    counts = ", ".join(f"{reason} {count}" for reason, count in sieve.reasons().items()) or "the answers were empty"
    raise UserError(
        f"{requests - last} answers in a row brought no new task, after {len(sieve.kept)} kept (dropped: {counts})",
        f"see {folder.partial / 'dropped.jsonl'}; then --resume with a higher novelty threshold, fewer filters "
        "or a smaller count, or start again with more varied seeds or another model",
    )


def _keep_or_discard(folder: OutputFolder, journal: Journal) -> None:
    if journal.answers:
        say(f"{len(journal.answers)} answers are kept in {folder.partial}; --resume goes on with them")
        folder.keep()
    else:
        folder.discard()


def _report(out: Path, sieve: Sieve, used: Sequence[Answer]) -> GenerateReport:
    return GenerateReport(
        folder=out,
        kept=len(sieve.kept),
        requests=len(used),
        dropped=sieve.reasons(),
        prompt_tokens=sum(answer.prompt_tokens for answer in used),
        completion_tokens=sum(answer.completion_tokens for answer in used),
    )


def _write(folder: Path, sieve: Sieve) -> None:
    with atomic_file(folder / "instructions.json") as file:
        json.dump([kept.task.as_json() for kept in sieve.kept], file, ensure_ascii=False, indent=4)
        file.write("\n")
    write_conversations(folder / "conversations.jsonl", (kept.as_conversation() for kept in sieve.kept))
    _write_dropped(folder, sieve)


def _write_dropped(folder: Path, sieve: Sieve) -> None:
    with atomic_file(folder / "dropped.jsonl") as file:
        for dropped in sieve.dropped:
            file.write(json.dumps(dropped.as_json(), ensure_ascii=False) + "\n")
