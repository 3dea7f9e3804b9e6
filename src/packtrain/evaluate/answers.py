"""Asking, and keeping every answer: an append-only log, so that nothing is asked twice.

A line holds what was answered and a key: a digest of everything that decides the answer (the model's files, the
prompt, the decoding, profile and version of the protocol, the number of the sample). An interrupted run loses at most
the answers that were being made. When a column is complete the log's lines become `answers.jsonl`, in the order of the
questions, whatever order they came in.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from packtrain.core.json_text import json_text
from packtrain.core.manifest import digest
from packtrain.core.progress import progress, say
from packtrain.evaluate.benchmark import Setting
from packtrain.evaluate.questions import Question, alike
from packtrain.models.base import Choice, Completion, LanguageModel

LOG = "asked.jsonl"
TOO_LONG = "too long"
"""Why an answer is empty: its prompt did not fit into the context, and the model could not cut it."""
CLOSE = 0.01
"""Nats between the two likeliest options, below which rounding may decide."""


@dataclass(frozen=True, slots=True)
class Given:
    """An answer as it was given."""

    text: str
    finish_reason: str
    """stop | length | too long."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cut_tokens: int = 0
    close: bool = False
    """Whether the two likeliest options were less than CLOSE apart."""


def given_of(record: Mapping[str, Any]) -> Given:
    """The answer with those fields; TypeError when it has others, or one of them is of another type."""
    given = Given(**record)
    texts = given.text, given.finish_reason
    counts = given.prompt_tokens, given.completion_tokens, given.cut_tokens
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(count, int) for count in counts):
        raise TypeError(f"no answer: {dict(record)!r}")
    return given


class AnswerLog:
    """The answers in a folder, by key; lines that cannot be read are dropped, counted and asked again.

    `earlier`: answers that are known from elsewhere, by key; they are not written into the log.
    """

    def __init__(self, folder: Path, earlier: Mapping[str, Given] | None = None) -> None:
        self.path = folder / LOG
        self._known: dict[str, Given] = dict(earlier or {})
        bad = 0
        if self.path.exists():
            for line in self.path.read_bytes().split(b"\n"):
                if line:
                    bad += not self._read(line)
            if bad:
                say(f"note: {bad} lines of {self.path} cannot be read (an interrupted write?); asking these again")
                with open(self.path, "ab") as file:  # what comes next begins on a line of its own
                    file.write(b"\n")

    def _read(self, line: bytes) -> bool:
        try:
            record = json.loads(line)
            key = record.pop("key")
            self._known[key] = given_of(record)
        except (ValueError, KeyError, TypeError, AttributeError):
            return False
        return True

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __getitem__(self, key: str) -> Given:
        return self._known[key]

    def writer(self) -> "_Writer":
        """A context in which answers are added, each on the disk's way as soon as it is there."""
        return _Writer(self.path, self._known)


class _Writer:
    def __init__(self, path: Path, known: dict[str, Given]) -> None:
        self._path, self._known = path, known

    def __enter__(self) -> "_Writer":
        self._file = open(self._path, "a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, key: str, given: Given) -> None:
        self._known[key] = given
        self._file.write(json_text({"key": key, **asdict(given)}) + "\n")
        self._file.flush()


def keys_of(question: Question, setting: Setting, version: int, identity: str) -> list[str]:
    """A key for each sample of a question."""
    about = question_digest(identity, setting.column, setting.profile, version, question.item.id, question.asked)
    return [sample_key(about, sample) for sample in range(question.request.samples)]


def question_digest(identity: str, column: str, profile: str, version: int, item: str, asked: Mapping[str, Any]) -> str:
    """Digest of a question to a model; columns of one benchmark that ask the same share its answers."""
    return digest([identity, column.partition(":")[0], profile, version, item, asked])


def sample_key(about: str, sample: int) -> str:
    """The key of one answer to the question of that digest."""
    return digest([about, sample])


def ask(
    model: LanguageModel, questions: Sequence[Question], setting: Setting, version: int, log: AnswerLog
) -> list[list[Given]]:
    """The answers to each question: from the log where it was asked before, else from the model."""
    keys = [keys_of(question, setting, version, model.identity) for question in questions]
    wanted = [(index, sample) for index, own in enumerate(keys) for sample in range(len(own))]
    missing = [(index, sample) for index, sample in wanted if keys[index][sample] not in log]
    if len(missing) < len(wanted):
        say(f"{setting.column}: {len(wanted) - len(missing)} of {len(wanted)} answers are there already")
    with progress(f"asking {setting.column}", len(wanted)) as advance, log.writer() as writer:
        advance(len(wanted) - len(missing))
        for group in alike(questions):
            chosen = set(group)
            rows = [(index, sample) for index, sample in missing if index in chosen]
            for row, given in _answers(model, questions, rows, keys):
                index, sample = rows[row]
                writer.add(keys[index][sample], given)
                advance(1)
    return [[log[key] for key in own] for own in keys]


def _answers(
    model: LanguageModel, questions: Sequence[Question], rows: Sequence[tuple[int, int]], keys: Sequence[Sequence[str]]
) -> Iterator[tuple[int, Given]]:
    """Index into `rows` and the answer; the questions of all rows are alike."""
    if not rows:
        return
    asked = [questions[index] for index, _ in rows]
    prompts, sampling = [question.prompt for question in asked], asked[0].sampling
    options = [question.request.options for question in asked if question.request.options is not None]
    if options:
        for row, choice in model.choose_each(prompts, options, sampling):
            yield row, _chosen(choice, options[row].texts)
        return
    seeds = [int(keys[index][sample][:8], 16) & 0x7FFFFFFF for index, sample in rows]
    for row, completion in model.generate_each(prompts, sampling, seeds):
        yield row, _completed(completion)


def _chosen(choice: Choice, texts: Sequence[str]) -> Given:
    text = texts[choice.index] if choice.index >= 0 else ""
    best = sorted(choice.scores, reverse=True)
    close = len(best) > 1 and best[0] - best[1] < CLOSE
    reason = TOO_LONG if choice.too_long else "stop"
    return Given(text, reason, choice.prompt_tokens, 0, choice.cut_tokens, close)


def _completed(completion: Completion) -> Given:
    return Given(
        completion.text,
        TOO_LONG if completion.too_long else completion.finish_reason,
        completion.prompt_tokens,
        completion.completion_tokens,
        completion.cut_tokens,
    )


def answer_records(
    column: str, questions: Sequence[Question], answers: Sequence[Sequence[Given]]
) -> Iterator[Mapping[str, Any]]:
    """The lines of `answers.jsonl`."""
    for question, own in zip(questions, answers, strict=True):
        for sample, given in enumerate(own):
            yield {"column": column, "item": question.item.id, "sample": sample, **asdict(given)}
