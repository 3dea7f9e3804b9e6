"""The YAML in front of a card: what the Hub makes of it, and what a publisher should know before it does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packtrain.core.errors import UserError

_MARK = "---"
GATE_KEYS = ("extra_gated_prompt", "extra_gated_fields", "extra_gated_heading", "extra_gated_button_content")
FIELD_TYPES = ("text", "checkbox", "date_picker", "country", "select")
"""Types of the fields of a gate's form (hub-docs, models-gated.md)."""


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """What a card says to the Hub; empty for no card, and for a card without it."""

    text: str = ""
    """As it stands in the file, without the marks."""
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_form(self) -> bool:
        """Whether it brings a form that readers fill in before they get the files."""
        return any(self.values.get(key) for key in GATE_KEYS)

    @property
    def licence(self) -> str:
        """The licence by its name, or its identifier on the Hub; empty without one."""
        name = self.values.get("license_name") or self.values.get("license") or ""
        return ", ".join(map(str, name)) if isinstance(name, list) else str(name)


def read_front_matter(card: Path, *, dataset: bool) -> FrontMatter:
    """The front matter of a card; UserError where the Hub would refuse it: bad YAML, a bad `model-index` or form."""
    import yaml

    try:
        content = card.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{card}: not valid UTF-8 (byte {error.start})", "convert the file to UTF-8") from error
    lines = content.lstrip().splitlines()
    if not lines or lines[0].rstrip() != _MARK:
        return FrontMatter()
    end = next((number for number, line in enumerate(lines[1:], 1) if line.rstrip() == _MARK), None)
    if end is None:
        raise UserError(f"{card}: the front matter does not end", f"put a line {_MARK} behind it")
    text = "\n".join(lines[1:end]) + "\n"
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{card}: the front matter is not YAML ({reason})", "correct the lines between the marks"
        ) from error
    if values is None:
        return FrontMatter(text)
    if not isinstance(values, dict):
        raise UserError(f"{card}: the front matter is no mapping", "its lines are KEY: VALUE")
    _check_form(card, values)
    _check_with_hub(card, content, dataset)
    return FrontMatter(text, values)


def _check_form(card: Path, values: Mapping[str, Any]) -> None:
    fields = values.get("extra_gated_fields", {})
    if not isinstance(fields, dict):
        raise UserError(f"{card}: extra_gated_fields is no mapping", "it maps a question to the type of its answer")
    for name, kind in fields.items():
        kind = kind.get("type") if isinstance(kind, dict) else kind
        if kind not in FIELD_TYPES:
            raise UserError(
                f"{card}: the field {name} of the form has the type {kind}", f"types are {', '.join(FIELD_TYPES)}"
            )


def _check_with_hub(card: Path, content: str, dataset: bool) -> None:
    """Raise UserError when huggingface_hub cannot read the card as it is: it tells more than the Hub does."""
    from huggingface_hub import DatasetCard, ModelCard

    try:
        (DatasetCard if dataset else ModelCard)(content, ignore_metadata_errors=False)
    except Exception as error:  # of several kinds, by what is wrong
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{card}: the Hub would not take the front matter ({reason})", "correct it") from error
