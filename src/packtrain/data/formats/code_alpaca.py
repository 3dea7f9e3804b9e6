"""Code-Alpaca: the shape of Alpaca.

Source: code_alpaca_20k.json of github.com/sahil280114/codealpaca. Licence: CC BY-NC 4.0. Expected: 20,022 rows.
"""

from collections.abc import Iterator
from pathlib import Path

from packtrain.core.conversation import Conversation
from packtrain.data.formats import alpaca
from packtrain.data.records import Dropped


def read(path: Path, dataset: str = "code_alpaca") -> Iterator[Conversation | Dropped]:
    """One round per row, as in `alpaca`."""
    return alpaca.read(path, dataset)
