"""Open Assistant 1: conversation trees, one per line, written by volunteers in many languages.

Source: 2023-04-12_oasst_ready.trees.jsonl of huggingface.co/datasets/OpenAssistant/oasst1. Licence: Apache-2.0.
Expected: about 34,000 paths (arXiv 2306.04751 counts 34,795; the published Tulu mix leaves room for 33,919).

A tree gives one conversation per path from the root; three rules say where paths end:

- `leaf`: at an answer without replies (Open-Instruct since 8 August 2023). The default.
- `leaf_last_assistant`: at an answer below which nobody answers again: a last, unanswered question is left out.
- `all_assistant`: at every answer (July 2023). The first rounds of a tree then appear many times over, so only the last
  answer of each conversation is learnt (in `compat` all of them are, as then).
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from packtrain.core.conversation import Conversation, Message, Role
from packtrain.core.errors import UserError
from packtrain.data.about import About
from packtrain.data.conversion import Conversion
from packtrain.data.reading.json_kind import kind_of
from packtrain.data.records import Dropped, Record

FIELDS = ("message_tree_id", "prompt")
ABOUT = About(
    dataset="oasst1",
    title="Open Assistant 1",
    source="https://huggingface.co/datasets/OpenAssistant/oasst1",
    license="apache-2.0",
    citation="kopf2023openassistant",
    files=("2023-04-12_oasst_ready.trees.jsonl",),
    rows=34_795,
    rounds=1.6,
    prompt_tokens=34.8,
    completion_tokens=212.5,
)

_ROLES: dict[str, Role] = {"prompter": "user", "assistant": "assistant"}
_NOT_TEXT = "text is not text"
_DEEPEST = 10_000
"""Messages on one path, far beyond what people write: only replies that go in a circle come here."""


class Options(BaseModel):
    """What `--option` sets."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    paths: Literal["leaf", "leaf_last_assistant", "all_assistant"] = "leaf"
    """Where paths end."""
    skip_deleted: bool = True
    """Take out deleted messages with everything below them; what remains decides which messages have no replies."""
    top_k: int | None = Field(default=None, ge=1)
    """Replies kept below each message, answers and questions alike, best first by `labels.quality.value` (0 where
    there is none), in file order where equal. Tulu 2 took 1 and had 7,708 rows."""
    languages: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Keep messages in these languages only (`en,pt` or `pt-BR`), judged by each message's own `lang`; the others are
    taken out with everything below them. None keeps all."""

    @field_validator("languages", mode="before")
    @classmethod
    def _separated(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


RULES = {
    "paths=all_assistant skip_deleted=false": Options(paths="all_assistant", skip_deleted=False),
    "paths=all_assistant": Options(paths="all_assistant"),
    "paths=leaf": Options(),
    "paths=leaf skip_deleted=false": Options(skip_deleted=False),
    "paths=leaf_last_assistant": Options(paths="leaf_last_assistant"),
    "paths=leaf top_k=1": Options(top_k=1),
}
"""The rules that published sets were made with, and their neighbours, by how they are asked for; the first is that of
July 2023."""
_PUBLISHED = next(iter(RULES.values()))


def convert(record: Record, conversion: Conversion) -> Iterator[Conversation | Dropped]:
    """One conversation per path of a tree, depth first, replies in file order, without ids; and what was left out.

    Raises UserError for a message of unknown shape, and for options that `compat` would have to overrule.
    """
    options = Options.model_validate(conversion.options)
    if conversion.compat:
        if options not in (Options(), _PUBLISHED):
            raise UserError("oasst1: compat takes no options", "leave out either the options or compat")
        options = _PUBLISHED
    for item in list(_messages(record, options)):
        if isinstance(item, Dropped):
            yield item
        elif item.ends_a_path(options):
            path = item.path()
            if options.paths == "all_assistant" and not conversion.compat:
                path = (*(replace(message, learnt=message.role != "assistant") for message in path[:-1]), path[-1])
            yield Conversation(conversion.dataset, "", path)
        elif item.message.role == "user" and not item.replied:
            yield Dropped(item.identity, "path ends in a question", item.path())


def count_paths(records: Iterable[Record]) -> dict[str, int]:
    """Conversations that each of `RULES` finds in `records`, before any check of what they say."""
    counts = dict.fromkeys(RULES, 0)
    for record in records:
        for name, options in RULES.items():
            messages = list(_messages(record, options))
            counts[name] += sum(not isinstance(item, Dropped) and item.ends_a_path(options) for item in messages)
    return counts


@dataclass(slots=True, eq=False)
class _Node:
    """A message in its tree; what is said below it is known once the whole tree was walked."""

    message: Message
    identity: str
    above: "_Node | None"
    depth: int
    """Messages above."""
    replied: bool = False
    """Has a reply that was kept."""
    answered: bool = False
    """The assistant speaks again somewhere below."""

    def tell_those_above(self) -> None:
        """Let the messages above know that this one was kept."""
        above = self.above
        if above is not None:
            above.replied = True
        while above is not None and self.message.role == "assistant" and not above.answered:
            above.answered = True
            above = above.above

    def ends_a_path(self, options: Options) -> bool:
        """Whether a conversation ends here."""
        goes_on = {"leaf": self.replied, "leaf_last_assistant": self.answered, "all_assistant": False}
        return self.message.role == "assistant" and not goes_on[options.paths]

    def path(self) -> tuple[Message, ...]:
        """The messages from the root to this one."""
        found, node = [self.message], self.above
        while node is not None:
            found.append(node.message)
            node = node.above
        return tuple(reversed(found))


def _messages(tree: Record, options: Options) -> Iterator[_Node | Dropped]:
    """The messages of a tree that are kept, and those that are taken out with all below them, depth first."""
    _require_tree(tree)
    pending: list[tuple[dict[str, Any], str | None, _Node | None]]
    pending = [(value, reason, None) for value, reason in _judged([tree.fields["prompt"]], options, tree)]
    while pending:
        value, reason, above = pending.pop()
        identity, message = _identity(value, tree), _message(value)
        if reason is not None or message is None:
            path = above.path() if above else ()
            yield Dropped(identity, reason or _NOT_TEXT, path if message is None else (*path, message))
            continue
        node = _Node(message, identity, above, above.depth + 1 if above else 0)
        if node.depth >= _DEEPEST:
            raise UserError(f"{tree.where}: more than {_DEEPEST:,} replies deep", "do replies go in a circle?")
        node.tell_those_above()
        yield node
        pending.extend((reply, why, node) for reply, why in reversed(_judged(_replies(value, tree), options, tree)))


def _require_tree(record: Record) -> None:
    """Raise UserError for a record without `prompt`; the other file of the release holds one message per record."""
    if "prompt" not in record.fields and {"message_id", "text", "role"} <= record.fields.keys():
        raise UserError(
            f"{record.where}: a single message, not a tree (found: {', '.join(list(record.fields)[:12])}; "
            f"expected: {', '.join(FIELDS)})",
            f"oasst1 reads the file of trees, {ABOUT.files[0]}, not that of messages: {ABOUT.source}",
        )
    record.require("prompt")


def _message(value: dict[str, Any]) -> Message | None:
    """What somebody said; None when that is not text or nobody knows who."""
    known = isinstance(value["text"], str) and isinstance(value["role"], str) and value["role"] in _ROLES
    return Message(_ROLES[value["role"]], value["text"]) if known else None


def _judged(values: list[Any], options: Options, tree: Record) -> list[tuple[dict[str, Any], str | None]]:
    """Messages beside one another, each with the reason for taking it out or None; with `top_k`, best first."""
    judged = [(value, _reason(value, options, tree)) for value in values]
    if options.top_k is None:
        return judged
    judged.sort(key=lambda pair: (pair[1] is not None, -_quality(pair[0])))
    beyond = [(value, reason or "reply beyond top_k, with all below it") for value, reason in judged[options.top_k :]]
    return judged[: options.top_k] + beyond


def _reason(value: Any, options: Options, tree: Record) -> str | None:
    """Why a message is taken out with all below it, or None; UserError when it is no message."""
    if not isinstance(value, dict) or not {"text", "role"} <= value.keys():
        found = ", ".join(list(value)[:12]) if isinstance(value, dict) else kind_of(value)
        raise UserError(
            f"{tree.where}: a message without text and role (found: {found}; expected: text, role, replies)",
            "oasst1 reads the file of trees, whose name ends in trees.jsonl",
        )
    if options.skip_deleted and value.get("deleted"):
        return "deleted message, with all below it"
    role = value["role"]
    if not isinstance(role, str) or role not in _ROLES:
        found = f"{role[:40]!r}" if isinstance(role, str) else f"({kind_of(role)})"
        raise UserError(f"{tree.where}: unknown role {found}", f"roles are {', '.join(_ROLES)}")
    if options.languages is not None and not _spoken(value.get("lang"), options.languages):
        return "message in another language, with all below it"
    return None if isinstance(value["text"], str) else _NOT_TEXT


def _spoken(language: Any, wanted: tuple[str, ...]) -> bool:
    """Whether a language tag is one of those wanted or a variety of it: `pt-BR` is `pt`."""
    tag = language.lower() if isinstance(language, str) else ""
    return any(tag == each.lower() or tag.startswith(each.lower() + "-") for each in wanted)


def _quality(value: dict[str, Any]) -> float:
    """What people gave a message for quality, 0 to 1; 0.0 where nobody was asked."""
    found: Any = value
    for key in ("labels", "quality", "value"):
        found = found.get(key) if isinstance(found, dict) else None
    number = isinstance(found, int | float) and not isinstance(found, bool)
    return found if number and abs(found) < math.inf else 0.0


def _replies(value: dict[str, Any], tree: Record) -> list[Any]:
    replies = value.get("replies")
    if replies is not None and not isinstance(replies, list):
        raise UserError(
            f"{tree.where}: `replies` is no list but {kind_of(replies)}", "check that the file is one of trees"
        )
    return replies or []


def _identity(value: dict[str, Any], tree: Record) -> str:
    """The message's id, else the tree's, else the tree's number."""
    ids = (value.get("message_id"), tree.fields.get("message_tree_id"))
    return next((found for found in ids if found and isinstance(found, str)), f"tree {tree.number}")
