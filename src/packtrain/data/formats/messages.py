"""Conversations in the common chat form: `messages[{role, content}]`, with `dataset` and `id` where there are any.

Your own data, packtrain's own conversation files, or Open-Instruct's converted files.
"""

from collections.abc import Iterator

from packtrain.core.conversation import Conversation, parse_conversation
from packtrain.data.about import About
from packtrain.data.conversion import Conversion
from packtrain.data.records import Dropped, Record

ABOUT = About(dataset="messages", title="Conversations in the common chat form", source="your own data", license="")
FIELDS = ("messages",)


def convert(record: Record, conversion: Conversion) -> Iterator[Conversation | Dropped]:
    """The record's conversation; its id is its own, else `<dataset>_<record number>`.

    A `dataset` that the record names itself is kept in the provenance. Raises UserError for unknown
    roles and for contents that are no text.
    """
    record.require(*FIELDS)
    fields = record.fields
    unnamed = fields.get("id") in (None, "")
    identity = f"{conversion.dataset}_{record.number}" if unnamed else str(fields["id"])
    if fields["messages"] == []:
        yield Dropped(identity, "no messages")
        return
    provenance = fields.get("provenance") or {}
    if fields.get("dataset", conversion.dataset) != conversion.dataset and isinstance(provenance, dict):
        provenance = {**provenance, "dataset": fields["dataset"]}
    complete = {"messages": fields["messages"], "dataset": conversion.dataset, "id": identity, "provenance": provenance}
    yield parse_conversation(complete, record.where)
