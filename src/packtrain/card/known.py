"""What cards know without a run: projects, bases, data sets, licences, citations, and the words of their tables."""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from packtrain.core.errors import UserError
from packtrain.core.folder import unknown
from packtrain.core.hub_id import on_hub
from packtrain.core.recipe import Recipe

_PACKAGE = "packtrain.card"
LANGUAGES = ("en", "zh")
"""Of the cards; English is written into the files themselves, the others stand in `NAME.LANGUAGE.yaml`."""


def check_language(language: str) -> None:
    """Raise UserError for a language that cards are not written in."""
    if language not in LANGUAGES:
        raise unknown("language of cards", language, LANGUAGES)


@cache
def read(name: str, language: str = "en") -> dict[str, Any]:
    """The mapping in one of this folder's YAML files, its words in `language` where they were translated."""
    loaded: dict[str, Any] = yaml.safe_load((files(_PACKAGE) / f"{name}.yaml").read_text(encoding="utf-8"))
    if language == "en":
        return loaded
    words = yaml.safe_load((files(_PACKAGE) / f"{name}.{language}.yaml").read_text(encoding="utf-8"))
    return _over(loaded, words)


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`below` with the values of `above`, mapping by mapping."""
    merged = dict(below)
    for key, value in above.items():
        merged[key] = _over(below.get(key, {}), value) if isinstance(value, dict) else value
    return merged


@cache
def citations() -> dict[str, str]:
    """BibTeX entries by key."""
    text = (files(_PACKAGE) / "citations.bib").read_text(encoding="utf-8")
    return {entry[1]: entry[0] for entry in re.finditer(r"^@\w+\{(\w+),\n.*?^\}", text, re.MULTILINE | re.DOTALL)}


def family(recipe: Recipe, language: str = "en") -> dict[str, Any]:
    """What is known about the project that the recipe reproduces, `published` with that of this very model."""
    facts: dict[str, Any] = read("known", language)["families"][recipe.family]
    own = read("known", language)["models"].get(recipe.name, {})
    return facts | {"published": [*own.get("published", ()), *facts["published"]]}


def last_part(path: str) -> str:
    """The name at the end of a path or Hub id: cards never show the folders of the machine that made them."""
    return Path(path).name or path


def base_title(recipe: Recipe) -> str:
    """What the card calls the base: its name, else its Hub id, else the name of its folder."""
    hub = on_hub(recipe.base.path)
    return recipe.base.name or (hub.repository if hub else last_part(recipe.base.path))


def base(recipe: Recipe, language: str = "en") -> dict[str, Any]:
    """What is known about the base model; empty for one that is not known."""
    title = last_part(base_title(recipe)).lower()
    known = read("known", language)["bases"]
    return next((facts for word, facts in known.items() if re.search(rf"\b{word}", title.replace("_", "-"))), {})


def dataset(name: str, format: str, language: str = "en") -> dict[str, Any]:
    """What is known about a data set, by its name or by its format; empty for the user's own data."""
    known: dict[str, dict[str, Any]] = read("known", language)["datasets"]
    if name in known:
        return known[name]
    return next((facts for facts in known.values() if format and facts.get("format") == format), {})


def bibtex(recipe: Recipe) -> list[str]:
    """BibTeX entries for the project, the base and every known data set, each once."""
    sources = recipe.data.sources.items()
    wanted = [*family(recipe)["citations"], *base(recipe).get("citations", ())]
    wanted += [key for name, source in sources for key in dataset(name, source.format).get("citations", ())]
    return entries(wanted)


def entries(keys: Iterable[str]) -> list[str]:
    """BibTeX entries of these keys, each once; UserError for one that `citations.bib` does not have."""
    there, wanted = citations(), list(dict.fromkeys(keys))
    missing = [key for key in wanted if key not in there]
    if missing:
        raise UserError(f"citations.bib has no {', '.join(missing)}", "add the entry to card/citations.bib")
    return [there[key] for key in wanted]


def enumeration(parts: Sequence[str], language: str = "en") -> str:
    """The parts as in a sentence: `a, b and c`."""
    words: dict[str, str] = read("words", language)["enumeration"]
    return words["last"].join([words["between"].join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
