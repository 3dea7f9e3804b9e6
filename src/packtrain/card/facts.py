"""What a run found out about its model, for the card."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packtrain.core.hub_id import HubId
from packtrain.core.manifest import read_manifest
from packtrain.prompts.template import PromptTemplate


@dataclass(frozen=True)
class CardFacts:
    """Figures of a run, all optional: what is absent is left out of the card, never guessed."""

    repository: str | None = None
    """Hub id under which the files are published."""
    date: str | None = None
    """When the model was finished, as the card is to print it."""
    conversations: Mapping[str, int] = field(default_factory=dict)
    """Source -> conversations learnt from."""
    data_hashes: Mapping[str, str] = field(default_factory=dict)
    """Source -> SHA-256 of its raw file, or the first of them."""
    data_files: Mapping[str, str] = field(default_factory=dict)
    """Source -> name of its raw file, where it is one."""
    data_on_hub: Mapping[str, HubId] = field(default_factory=dict)
    """Source -> the data set of the Hub that it is, at its commit."""
    models: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Source -> language models that wrote its conversations, by their provenance."""
    licences: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Source -> licences that the provenance of its conversations names."""
    file_of_unknown_origin: str | None = None
    """The file that was learnt from, where no record says how it was made."""
    data_recorded: bool = True
    """Whether the training recorded what it learnt from."""
    template: PromptTemplate | None = None
    """The format that lies beside the model, else the shipped one that it was trained on; for recipes that leave it to
    the base."""
    held_out: int | None = None
    """Conversations kept out of training."""
    parameters: int | None = None
    hardware: str | None = None
    precision: str | None = None
    """What the trainer used where the recipe says `auto`."""
    steps: int | None = None
    learnt_tokens: int | None = None
    training_s: float | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    """Library -> version that trained the model."""
    scores_date: str | None = None
    """When the scores were measured: ISO 8601."""
    final_loss: float | None = None
    """Nats per learnt token, of the last optimizer step."""
    held_out_loss_before: float | None = None
    held_out_loss_after: float | None = None
    diff_equal_share: float | None = None
    """Share of recovered weights, 0 to 1, that equal the trained ones to the bit."""
    diff_largest_difference: float | None = None
    """Largest absolute difference of a recovered weight from the trained one."""


def measured_on(scores: Path) -> str | None:
    """The date, ISO 8601, at which a `scores.json` was finished, from the record beside it; None without one."""
    manifest = read_manifest(scores.parent)
    return manifest.finished[:10] if manifest is not None and manifest.stage == "evaluate" else None
