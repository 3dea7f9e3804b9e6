"""FLAN V2: `inputs`, `targets`, already resampled over its submixes.

Source: flan_v2_resampled_100k.jsonl of Open-Instruct, drawn from the FLAN Collection (arXiv 2301.13688).
Licence: Apache-2.0. Expected: 100,000 rows.
"""

from collections.abc import Iterator
from pathlib import Path

from packtrain.core.conversation import Conversation
from packtrain.data.formats import cot
from packtrain.data.records import Dropped


def read(path: Path, dataset: str = "flan_v2") -> Iterator[Conversation | Dropped]:
    """One round per row, as in `cot`."""
    return cot.read(path, dataset)
