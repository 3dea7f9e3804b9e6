"""Databricks Dolly 15k: `instruction`, `context` (may be ""), `response`, `category`, written by people.

Source: databricks-dolly-15k.jsonl of huggingface.co/datasets/databricks/databricks-dolly-15k. Licence: CC BY-SA 3.0.
Expected: 15,011 rows.
"""

from collections.abc import Iterator
from pathlib import Path

from packtrain.core.conversation import Conversation
from packtrain.data.records import Dropped, read_single_rounds


def read(path: Path, dataset: str = "dolly") -> Iterator[Conversation | Dropped]:
    """One round per row; `context` is the user message's context unless it is absent or ""."""
    return read_single_rounds(path, dataset, "instruction", "response", context="context")
