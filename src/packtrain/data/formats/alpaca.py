"""Stanford Alpaca and every file of its shape: `instruction`, `input` (may be ""), `output`.

About 40 % of the rows have an input, a few dozen an empty output.
"""

from collections.abc import Iterator

from packtrain.core.conversation import Conversation
from packtrain.data.about import About
from packtrain.data.conversion import Conversion
from packtrain.data.records import Dropped, Record
from packtrain.data.wording import single_rounds

ABOUT = About(
    dataset="stanford_alpaca",
    title="Stanford Alpaca",
    source="https://github.com/tatsu-lab/stanford_alpaca",
    license="cc-by-nc-4.0",
    common_shape=True,
    citation="taori2023alpaca",
    files=("alpaca_data.json",),
    elsewhere=("https://huggingface.co/datasets/tatsu-lab/alpaca",),
    rows=52_002,
    rounds=1.0,
    prompt_tokens=27.8,
    completion_tokens=64.6,
)
FIELDS = ("instruction", "output")


def convert(record: Record, conversion: Conversion) -> Iterator[Conversation | Dropped]:
    """One round; `input` is what the instruction is about."""
    return single_rounds(record, conversion, question="instruction", answer="output", context="input")
