"""GPT4-Alpaca: Alpaca's instructions answered by GPT-4, in the shape of Alpaca.

Source: alpaca_gpt4_data.json of "Instruction Tuning with GPT-4" (arXiv 2304.03277). Licence: CC BY-NC 4.0.
Expected: 52,002 rows; the Chinese file of the same publication reads the same way.
"""

from collections.abc import Iterator
from pathlib import Path

from packtrain.core.conversation import Conversation
from packtrain.data.formats import alpaca
from packtrain.data.records import Dropped


def read(path: Path, dataset: str = "gpt4_alpaca") -> Iterator[Conversation | Dropped]:
    """One round per row, as in `alpaca`."""
    return alpaca.read(path, dataset)
