"""What a recipe changes of the shipped one of its name."""

from collections.abc import Mapping
from typing import Any

from packtrain.card import known
from packtrain.core.recipe import Recipe, Source
from packtrain.core.recipe_file import load_recipe, recipe_names

_SOURCES = "data.sources"


def departures(recipe: Recipe, language: str = "en") -> list[str]:
    """`key: shipped value -> value` wherever the recipe differs from the shipped one of its name.

    Paths count by their last part: where somebody keeps a file changes nothing and is nobody's business. What the
    shipped recipe leaves for everyone to fill in is none, and of sources that only one of the two has the names are
    given.
    """
    if recipe.name not in recipe_names():
        return []
    words = known.read("words", language)
    original = load_recipe(recipe.name)
    shipped, used = (_named(each) | flat(each.resolved()) for each in (original, recipe))
    lone = original.data.sources.keys() ^ recipe.data.sources.keys()
    ignored = ["evaluate.", "release.gate", *(f"{_SOURCES}.{name}." for name in lone)]
    keys = [key for key in dict.fromkeys([*shipped, *used]) if not key.startswith(tuple(ignored))]
    left_open = [key for key, value in shipped.items() if is_left_open(key, value)]
    keys = [key for key in keys if key not in left_open]
    if any(key.startswith(_SOURCES) for key in left_open):
        keys.remove(_SOURCES)
    defaults = {name: field.default for name, field in Source.model_fields.items()}
    new_defaults = {key for key in used.keys() - shipped.keys() if used[key] == defaults.get(key.rpartition(".")[2])}
    changed = [key for key in keys if (shipped.get(key) or "") != (used.get(key) or "") and key not in new_defaults]
    absent = words["absent"]
    return [
        words["departure"].format(key=key, shipped=shipped.get(key, absent), used=used.get(key, absent))
        for key in changed
    ]


def is_left_open(key: str, value: object) -> bool:
    """Whether a value of a recipe stands for what everyone has to give: `name-a-base-by-base.path`."""
    return isinstance(value, str) and value.endswith(f"-by-{key}")


def _named(recipe: Recipe) -> dict[str, Any]:
    """The names of the sources as one setting."""
    return {_SOURCES: ", ".join(recipe.data.sources)}


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value of nested sections, paths by their last part."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = known.last_part(str(value)) if key == "path" else value
    return found
