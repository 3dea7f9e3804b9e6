"""Conversations in the common chat form: `messages[{role, content}]`, with `dataset` and `id` where there are any.

Your own data, packtrain's own conversation files, or Open-Instruct's converted files.
"""

from collections.abc import Iterator
from typing import Any

from packtrain.core.conversation import Conversation, parse_conversation
from packtrain.core.errors import UserError
from packtrain.data.about import About
from packtrain.data.conversion import Conversion
from packtrain.data.reading.json_kind import kind_of
from packtrain.data.records import Dropped, Record

ABOUT = About(dataset="messages", title="Conversations in the common chat form", source="your own data", license="")
FIELDS = ("messages",)


def convert(record: Record, conversion: Conversion) -> Iterator[Conversation | Dropped]:
    """The record's conversation; its id is its own text or number, else `<dataset>_<record number>`.

    A `dataset` that the record names itself is kept in the provenance. Raises UserError for unknown
    roles and for contents that are no text.
    """
    record.require(*FIELDS)
    fields = record.fields
    own = fields.get("id")
    named = isinstance(own, str | int | float) and own != ""
    identity = str(own) if named else f"{conversion.dataset}_{record.number}"
    if fields["messages"] == []:
        yield Dropped(identity, "no messages")
        return
    _check_shape(fields["messages"], record.where)
    provenance = fields.get("provenance") or {}
    if fields.get("dataset", conversion.dataset) != conversion.dataset and isinstance(provenance, dict):
        provenance = {**provenance, "dataset": fields["dataset"]}
    complete = {"messages": fields["messages"], "dataset": conversion.dataset, "id": identity, "provenance": provenance}
    yield parse_conversation(complete, record.where)


def _check_shape(messages: Any, where: str) -> None:
    """Raise UserError, naming the fields found and expected, for what is no list of messages."""
    hint = 'each record must have "messages": [{"role": "user", "content": "..."}, ...]'
    if not isinstance(messages, list):
        raise UserError(f"{where}: `messages` is no list but {kind_of(messages)}", hint)
    other = next((each for each in messages if isinstance(each, dict) and not {"role", "content"} <= each.keys()), None)
    if other is not None:
        named_otherwise = {"from", "value"} <= other.keys()
        raise UserError(
            f"{where}: a message without role and content (found: {', '.join(list(other)[:12]) or 'none'}; "
            "expected: role, content)",
            "rename `messages` to `conversations` and give the format sharegpt" if named_otherwise else hint,
        )
