"""Conversations in the common chat form: `messages[{role, content}]`, with `dataset` and `id` where there are any.

Source: your own data, packtrain's own conversation files, or Open-Instruct's converted files. Licence and count: the
data's own.
"""

from collections.abc import Iterator
from pathlib import Path

from packtrain.core.conversation import Conversation, parse_conversation
from packtrain.data.records import Dropped, read_records


def read(path: Path, dataset: str = "messages") -> Iterator[Conversation | Dropped]:
    """One conversation per record; the id is the record's own, else `<dataset>_<running number>`.

    A `dataset` that the record names itself is kept in the provenance. Raises UserError for unknown
    roles and for contents that are no text.
    """
    for record in read_records(path):
        record.require("messages")
        fields = record.fields
        unnamed = fields.get("id") in (None, "")
        identity = f"{dataset}_{record.number}" if unnamed else str(fields["id"])
        if fields["messages"] == []:
            yield Dropped(identity, "no messages")
            continue
        provenance = fields.get("provenance") or {}
        if fields.get("dataset", dataset) != dataset and isinstance(provenance, dict):
            provenance = {**provenance, "dataset": fields["dataset"]}
        complete = {"messages": fields["messages"], "dataset": dataset, "id": identity, "provenance": provenance}
        yield parse_conversation(complete, record.where)
