"""How raw records become conversations: what every data format is told beside the record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from packtrain.core.recipe import Wording


@dataclass(frozen=True, slots=True)
class Conversion:
    """The settings of one conversion; the same for all records of a source."""

    dataset: str
    """Name of the set in the conversations and in their ids."""
    seed: int = 42
    """Decides, with each record's own identity, everything that is drawn."""
    wording: Wording = "apart"
    """How an instruction and its input are laid out: `apart` leaves that to the prompt template, `plain` puts a blank
    line between them, `random` draws one of Open-Instruct's 28 wordings."""
    compat: bool = False
    """Repeat the original converter, its bugs included, wherever it differs from ours."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The format's own options, checked by its `Options`."""
