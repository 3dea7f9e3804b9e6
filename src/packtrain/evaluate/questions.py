"""What a model is asked: the items of a column as finished prompts."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from packtrain.core.conversation import Message
from packtrain.core.errors import UserError
from packtrain.core.json_text import NOT_UNICODE, is_unicode
from packtrain.core.manifest import digest
from packtrain.evaluate.benchmark import Benchmark, Item, Request, Setting
from packtrain.models.base import Sampling
from packtrain.prompts.template import PromptTemplate
from packtrain.prompts.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Question:
    """One item, with all that decides what the model answers."""

    item: Item
    request: Request
    prompt: str

    @property
    def sampling(self) -> Sampling:
        """How its answers are drawn; a prompt that is too long for the model loses its beginning."""
        asked = self.request
        return Sampling(
            asked.max_new_tokens, asked.temperature, asked.top_p, asked.stop, 0, asked.first_token, too_long="cut"
        )

    @property
    def asked(self) -> dict[str, Any]:
        """Everything that is given to the model, as JSON: two questions with the same are the same question."""
        decoding = {name: value for name, value in asdict(self.sampling).items() if name != "seed"}
        options = asdict(self.request.options) if self.request.options else None
        return {"prompt": self.prompt, "options": options, "samples": self.request.samples, **decoding}


def questions_of(
    benchmark: Benchmark,
    setting: Setting,
    data: Path,
    template: PromptTemplate | None,
    eos_token: str,
    limit: int | None = None,
) -> list[Question]:
    """The questions of a column in the benchmark's order; `limit` takes so many, of all groups alike.

    UserError when data are missing, hold nothing or half a character, or when `template` cannot show a question.
    """
    items = benchmark.items(data, setting)
    if not items:
        raise UserError(f"{setting.column} has no items in {data}", "check the data folder")
    doubled = [name for name, count in Counter(item.id for item in items).items() if count > 1]
    if doubled:
        raise UserError(f"{setting.column}: {len(doubled)} items are there twice, {doubled[0]} first", "mend the data")
    asked = ((item, benchmark.request(item, setting)) for item in spread(items, limit))
    questions = [Question(item, request, _prompt(request, setting, template, eos_token)) for item, request in asked]
    for question in questions:
        if not is_unicode(question.prompt):
            raise UserError(f"{setting.column}: the prompt of {question.item.id}: {NOT_UNICODE}", "mend the data")
    return questions


def whole_n_of(
    benchmark: Benchmark, setting: Setting, data: Path, asked: Sequence[Question], limit: int | None
) -> int | None:
    """Items of the whole column when `limit` left some of them out; None when all of them are asked."""
    if limit is None:
        return None
    count = len(benchmark.items(data, setting))
    return count if count > len(asked) else None


def _prompt(request: Request, setting: Setting, template: PromptTemplate | None, eos_token: str) -> str:
    if not request.messages:
        return request.text
    if template is None:
        if setting.endpoint:  # which would take the marks of a format for words of the user
            raise UserError(
                f"{setting.column} needs a prompt format, and an endpoint is sent bare text",
                "leave the column out, or evaluate the model's folder",
            )
        raise UserError("this column needs a prompt format, and the model has none", "name one: --template tulu")
    rendered = template.render(request.messages, eos_token, for_answer=True, answer_prefix=request.text)
    return rendered.text


def spread(items: Sequence[Item], limit: int | None) -> list[Item]:
    """At most `limit` items, the first ones of each group in turn, in their own order."""
    if limit is None or limit >= len(items):
        return list(items)
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(item.group, []).append(item)
    in_turn = (item for row in zip_longest(*groups.values()) for item in row if item is not None)
    chosen = {item.id for item, _ in zip(in_turn, range(limit), strict=False)}
    return [item for item in items if item.id in chosen]


def format_tokens(template: PromptTemplate | None, tokenizer: Tokenizer | None) -> int:
    """Tokens that a prompt format puts around a question; 0 where there is no format or nobody can count."""
    if template is None or tokenizer is None:
        return 0
    empty = template.render([Message("user", "")], tokenizer.eos_token, for_answer=True).text
    return len(tokenizer.backend.encode(empty, add_special_tokens=False).ids)


def prompts_digest(questions: Sequence[Question]) -> str:
    """Hex digest of all that is asked: equal for equal questions, whoever answers."""
    return digest([[question.item.id, question.asked] for question in questions])


def alike(questions: Sequence[Question]) -> Iterator[list[int]]:
    """Indices of questions that differ in prompt and options only, so that they can be asked together."""
    groups: dict[tuple[Sampling, bool], list[int]] = {}
    for index, question in enumerate(questions):
        groups.setdefault((question.sampling, question.request.options is None), []).append(index)
    yield from groups.values()
