"""ShareGPT: conversations of people with ChatGPT, and every file of that shape: `id`, `conversations[{from, value}]`.

Source: sg_90k_part1_html_cleaned.json and part 2, shared by users. Licence: unclear, the text is its users'. Expected:
168,864 conversations of 3.2 rounds after splitting at 2,048 tokens, which the option `tokenizer` does; files that were
split already are read without it.
"""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from packtrain.core.conversation import Conversation, Message, Role
from packtrain.core.errors import UserError
from packtrain.data.about import About
from packtrain.data.conversion import Conversion
from packtrain.data.reading.json_kind import kind_of
from packtrain.data.records import Dropped, Record, not_text
from packtrain.data.split import load_ruler, split
from packtrain.data.split_compat import split_as_published

FIELDS = ("conversations",)
ABOUT = About(
    dataset="sharegpt",
    title="ShareGPT",
    source="https://huggingface.co/datasets/anon8231489123/ShareGPT_Vicuna_unfiltered",
    license="sharegpt",
    common_shape=True,
    citation="chiang2023vicuna",
    files=("sg_90k_part1_html_cleaned.json", "sg_90k_part2_html_cleaned.json"),
    rows=168_864,
    rounds=3.2,
    prompt_tokens=71.0,
    completion_tokens=357.8,
)
TOO_LONG = "one round alone is longer than the limit"

_ROLES: dict[str, Role] = {"human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant"}


class Options(BaseModel):
    """What `--option` sets."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    tokenizer: str | None = Field(default=None, min_length=1)
    """Folder of the tokenizer to measure with; None splits nothing."""
    template: str = "tulu"
    """Prompt format to measure with."""
    max_length_tokens: int = Field(default=2048, ge=1)
    """Longest piece, rendered and with all special tokens: the `max_length_tokens` of the training to come."""

    @field_validator("template", "max_length_tokens")
    @classmethod
    def _measured_with_a_tokenizer(cls, value: Any, info: ValidationInfo) -> Any:
        given = info.field_name is not None and value != cls.model_fields[info.field_name].default
        if given and info.data.get("tokenizer", "") is None:
            raise PydanticCustomError("alone", "needs the option tokenizer, without which nothing is measured or split")
        return value


def convert(record: Record, conversion: Conversion) -> Iterator[Conversation | Dropped]:
    """The conversation `<dataset>_<id>`, or its pieces `<dataset>_<id>_<index of the first turn>`, and what is lost.

    Answers before the first question and questions behind the last answer are left out. Conversations with a sender
    other than human, user, gpt and chatgpt are dropped whole. Without an id, the record's number stands in. Raises
    UserError for a record of another shape.
    """
    options = Options.model_validate(conversion.options)
    record.require("conversations")
    turns = _turns(record)
    own = record.fields.get("id")
    identity = f"{conversion.dataset}_{own if isinstance(own, str | int | float) else record.number}"
    wrong = next((reason for turn in turns if (reason := not_text(*turn.items()))), None)
    if wrong:
        yield Dropped(identity, wrong)
        return
    for place, part, reason in (_as_published if conversion.compat else _whole_rounds)(turns, options):
        name = identity if place is None else f"{identity}_{place}"
        known = _sender_refused(part) is None
        messages = tuple(Message(_ROLES[turn["from"]], turn["value"]) for turn in part) if known else ()
        yield Dropped(name, reason, messages) if reason else Conversation(conversion.dataset, name, messages)


_SHAPE = 'sharegpt reads "conversations": [{"from": "human", "value": "..."}, {"from": "gpt", "value": "..."}]'
_Turn = dict[str, Any]
_Part = tuple[int | None, list[_Turn], str | None]
"""Turns in a row: the index of the first one when it belongs into the id, the turns, and why they are dropped if so."""


def _turns(record: Record) -> list[_Turn]:
    """Sender and text of each turn."""
    turns = record.fields["conversations"]
    if not isinstance(turns, list):
        raise UserError(f"{record.where}: `conversations` is no list of turns but {kind_of(turns)}", _SHAPE)
    other = next((turn for turn in turns if not isinstance(turn, dict) or not {"from", "value"} <= turn.keys()), None)
    if other is not None or None in turns:
        found = ", ".join(list(other)[:12]) if isinstance(other, dict) else kind_of(other)
        named_otherwise = isinstance(other, dict) and {"role", "content"} <= other.keys()
        raise UserError(
            f"{record.where}: a turn without from and value (found: {found}; expected: from, value)",
            "rename `conversations` to `messages` and give the format messages" if named_otherwise else _SHAPE,
        )
    return [{"from": turn["from"], "value": turn["value"]} for turn in turns]


def _whole_rounds(turns: list[_Turn], options: Options) -> Iterator[_Part]:
    """All whole rounds together or, with a tokenizer, in pieces within the limit."""
    refused = _sender_refused(turns)
    roles = [] if refused else [_ROLES[turn["from"]] for turn in turns]
    if "user" not in roles or "assistant" not in roles[roles.index("user") :]:
        yield None, [], refused or "no question with an answer"
        return
    first, behind = roles.index("user"), len(roles) - roles[::-1].index("assistant")
    rounds = turns[first:behind]
    if options.tokenizer is None:
        yield None, rounds, None
    elif any(role != ("user", "assistant")[place % 2] for place, role in enumerate(roles[first:behind])):
        yield None, [], "roles do not alternate"
    else:
        ruler = load_ruler(options.tokenizer, options.template)
        messages = [Message(_ROLES[turn["from"]], turn["value"]) for turn in rounds]
        for piece in split(messages, ruler, options.max_length_tokens):
            part = rounds[2 * piece.start : 2 * piece.stop]
            yield first + 2 * piece.start, part, None if piece.kept else TOO_LONG


def _as_published(turns: list[_Turn], options: Options) -> Iterator[_Part]:
    """As Open-Instruct's converter of July 2023; with a tokenizer, as that behind its splitter and filter of roles."""
    if options.tokenizer is None:
        yield None, turns, _sender_refused(turns) or (None if turns else "no messages")
        return
    if len(turns) < 2:
        yield None, [], "fewer than two turns"
        return
    tokenizer = load_ruler(options.tokenizer, options.template).tokenizer
    for piece in split_as_published([turn["value"] for turn in turns], tokenizer, options.max_length_tokens):
        part = turns[2 * piece.start : 2 * piece.stop]
        in_turn = all(turn["from"] == ("human", "gpt")[place % 2] for place, turn in enumerate(part))
        reason = "lost by the splitter of 2023" if not piece.kept else None if in_turn else "not human and gpt in turn"
        yield 2 * piece.start, part, reason


def _sender_refused(turns: list[_Turn]) -> str | None:
    """The reason for dropping a conversation in which somebody else speaks; None when nobody does."""
    sender = next((turn["from"] for turn in turns if turn["from"] not in _ROLES), None)
    if sender is None:
        return None
    return f"sender {sender}" if sender.isidentifier() and len(sender) <= 20 else "unknown sender"
