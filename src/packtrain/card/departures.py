"""What a recipe changes of the shipped one of its name."""

from collections.abc import Mapping
from typing import Any

from packtrain.card import known
from packtrain.core.recipe import Recipe, Source
from packtrain.core.recipe_file import load_recipe, recipe_names


def departures(recipe: Recipe, language: str = "en") -> list[str]:
    """`key: shipped value -> value` wherever the recipe differs from the shipped one of its name.

    Paths count by their last part: where somebody keeps a file changes nothing and is nobody's business.
    """
    if recipe.name not in recipe_names():
        return []
    words = known.read("words", language)
    shipped, used = (flat(each.resolved()) for each in (load_recipe(recipe.name), recipe))
    ignored = ("evaluate.", "release.gate")
    keys = [key for key in dict.fromkeys([*shipped, *used]) if not key.startswith(ignored)]
    defaults = {name: field.default for name, field in Source.model_fields.items()}
    new_defaults = {key for key in used.keys() - shipped.keys() if used[key] == defaults.get(key.rpartition(".")[2])}
    changed = [key for key in keys if (shipped.get(key) or "") != (used.get(key) or "") and key not in new_defaults]
    absent = words["absent"]
    return [
        words["departure"].format(key=key, shipped=shipped.get(key, absent), used=used.get(key, absent))
        for key in changed
    ]


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value of nested sections, paths by their last part."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = known.last_part(str(value)) if key == "path" else value
    return found
