"""Stanford Alpaca and every file of its shape: `instruction`, `input` (may be ""), `output`.

Source: alpaca_data.json of github.com/tatsu-lab/stanford_alpaca. Licence: CC BY-NC 4.0. Expected: 52,002 rows,
about 40 % with an input, a few dozen with an empty output. A JSON list or JSON Lines.
"""

from collections.abc import Iterator
from pathlib import Path

from packtrain.core.conversation import Conversation
from packtrain.data.records import Dropped, read_single_rounds


def read(path: Path, dataset: str = "stanford_alpaca") -> Iterator[Conversation | Dropped]:
    """One round per row; `input` is the user message's context unless it is absent or "".

    An input of white space stays: the original `train.py` tests `input != ""`.
    """
    return read_single_rounds(path, dataset, "instruction", "output", context="input")
