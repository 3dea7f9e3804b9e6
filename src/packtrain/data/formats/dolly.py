"""Databricks Dolly 15k: `instruction`, `context` (may be ""), `response`, `category`."""

from collections.abc import Iterator

from packtrain.core.conversation import Conversation
from packtrain.data.about import About
from packtrain.data.conversion import Conversion
from packtrain.data.records import Dropped, Record
from packtrain.data.wording import single_rounds

ABOUT = About(
    dataset="dolly",
    title="Databricks Dolly 15k",
    source="https://huggingface.co/datasets/databricks/databricks-dolly-15k",
    license="cc-by-sa-3.0",
    citation="databricks2023dolly",
    files=("databricks-dolly-15k.jsonl",),
    rows=15_011,
    rounds=1.0,
    prompt_tokens=118.1,
    completion_tokens=91.3,
)
FIELDS = ("instruction", "response")


def convert(record: Record, conversion: Conversion) -> Iterator[Conversation | Dropped]:
    """One round; `context` is what the instruction is about."""
    return single_rounds(record, conversion, question="instruction", answer="response", context="context")
