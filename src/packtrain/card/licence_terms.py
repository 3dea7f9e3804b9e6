"""Licences by name: what `licences.yaml` and the Hub's list (`hub_licences.yaml`) say of each.

A licence of the Hub's list alone, and one that a record names in words of its own, is said to be unclear: that one has
to be read.
"""

import re
from functools import cache
from typing import Any

from packtrain.card import known
from packtrain.core.errors import UserError
from packtrain.core.folder import unknown

HUB_LIST = "https://huggingface.co/docs/hub/repositories-licenses"
_SHOWN = 80
"""Characters of a licence that a record names in words of its own."""


def identifier(said: str) -> str | None:
    """The identifier that is meant by one in whatever case, or by a licence's name; None for an unknown one."""
    return _identifiers().get(_plain(said))


def check_licence(said: str) -> None:
    """Raise UserError for what is neither an identifier of `licences.yaml` nor one of the Hub's list."""
    if identifier(said) is None:
        raise _unknown(said)


def terms(licence: str, language: str = "en") -> dict[str, Any]:
    """What is known of a licence, as `licences.yaml` has it, with its `id`; `link` is "" where there is no text."""
    found = identifier(licence)
    words = known.read("words", language)["licence"]
    if found is None:
        title = " ".join(licence.split())
        title = title if len(title) <= _SHOWN else f"{title[:_SHOWN]}..."
        return {"id": title, "title": title, "hub": "other", "link": "", "commercial": None, "text": words["as_stated"]}
    own: dict[str, dict[str, Any]] = known.read("licences", language)
    if found in own:
        return own[found] | {"id": found}
    listed = known.read("hub_licences")[found]
    said = listed if isinstance(listed, dict) else {"title": listed}
    return {"id": found, "hub": found, "link": HUB_LIST, "commercial": None, "text": words["of_the_hub"], **said}


def terms_on_output(model: str) -> list[str]:
    """Identifiers of the terms that apply to what the language model of this name (`openai:NAME`) writes."""
    found = known.read("licences").items()
    return [licence for licence, said in found if "models" in said and re.search(said["models"], model)]


def _unknown(said: str) -> UserError:
    return unknown("licence", _plain(said), [*known.read("licences"), *known.read("hub_licences")])


def _plain(said: str) -> str:
    return " ".join(said.casefold().split())


@cache
def _identifiers() -> dict[str, str]:
    """Identifier by itself and by the name of its licence."""
    own, listed = known.read("licences"), known.read("hub_licences")
    titles = {each: said["title"] if isinstance(said, dict) else said for each, said in (*own.items(), *listed.items())}
    return {_plain(title): each for each, title in titles.items()} | {_plain(each): each for each in titles}
