"""Whether a card would state another training than the one that was recorded."""

from collections.abc import Mapping
from typing import Any

from packtrain.card import known
from packtrain.card.departures import flat
from packtrain.core.recipe import Recipe

FREE = ("title", "release.", "evaluate.", "generate.")
"""What a recipe says of publishing, measuring and making data: it may be said anew when the card is written."""
_LICENCE = ".license"


def contradictions(recorded: Mapping[str, Any], stated: Recipe) -> list[str]:
    """`train.lr: trained with 2e-05, the card would say 0.0002` for each recorded setting that `stated` has otherwise.

    Paths count by their last part, sources by their names too. Licences and `FREE` may be as they like, and what the
    record does not hold is not compared.
    """
    was, says = _statements(recorded), _statements(stated.resolved())
    return [
        contradiction(key, value, says[key])
        for key, value in was.items()
        if key in says and (value or "") != (says[key] or "")
    ]


def contradiction(key: str, recorded: object, stated: object) -> str:
    """One line of them."""
    return f"{key}: trained with {_shown(recorded)}, the card would say {_shown(stated)}"


def _statements(values: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: each for key, each in flat(values).items() if not key.startswith(FREE) and not key.endswith(_LICENCE)}
    if isinstance(template := found.get("template"), str):
        found["template"] = known.last_part(template)
    data = values.get("data")
    if isinstance(data, dict) and isinstance(sources := data.get("sources"), dict):
        found["data.sources"] = ", ".join(sources)
    return found


def _shown(value: object) -> str:
    return "nothing" if value is None or value == "" else str(value)
