"""Unnatural Instructions: `instruction`, `instances` of `input`, `constraints`, `output`; one round per instance."""

from collections.abc import Iterator
from typing import Any

from packtrain.core.conversation import Conversation
from packtrain.core.errors import UserError
from packtrain.data.about import About
from packtrain.data.conversion import Conversion
from packtrain.data.records import Dropped, Record, not_text
from packtrain.data.wording import single_round

ABOUT = About(
    dataset="unnatural_instructions",
    title="Unnatural Instructions",
    source="https://github.com/orhonovich/unnatural-instructions (core_data.zip)",
    license="mit",
    citation="honovich2022unnatural",
    files=("core_data.jsonl",),
    rows=68_478,
    rounds=1.0,
    prompt_tokens=107.8,
    completion_tokens=23.6,
)
FIELDS = ("instruction", "instances")
_NO_CONSTRAINTS = ("", "none", "none.")


def convert(record: Record, conversion: Conversion) -> Iterator[Conversation | Dropped]:
    """One round per instance, without an id; constraints that say something stand on a line behind the instruction.

    Raises UserError for an instance without an output, or that is no object.
    """
    record.require(*FIELDS)
    instruction, instances = (record.fields[name] for name in FIELDS)
    if not isinstance(instances, list) or not instances:
        yield Dropped(f"{conversion.dataset} record {record.number}", "no instances")
        return
    for place, instance in enumerate(instances):
        if not isinstance(instance, dict) or "output" not in instance:
            raise UserError(
                f"{record.where}: instance {place} has no output",
                "unnatural_instructions reads core_data.jsonl: instances of input, constraints and output",
            )
        yield _round(record, place, instruction, instance, conversion)


def _round(
    record: Record, place: int, instruction: Any, instance: dict[str, Any], conversion: Conversion
) -> Conversation | Dropped:
    output = instance["output"]
    given, constraints = ("" if instance.get(name) is None else instance[name] for name in ("input", "constraints"))
    named = (("instruction", instruction), ("output", output), ("input", given), ("constraints", constraints))
    wrong = not_text(*named)
    if wrong:
        return Dropped(f"{conversion.dataset} record {record.number} instance {place}", wrong)
    asked = instruction if constraints.strip().lower() in _NO_CONSTRAINTS else f"{instruction}\n{constraints}"
    return Conversation(conversion.dataset, "", single_round(asked, given, output, conversion))
