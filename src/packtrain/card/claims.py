"""Claims: which licence is said to cover what of a model or a data set."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from packtrain.card import known
from packtrain.card.licence_terms import terms, terms_on_output
from packtrain.core.recipe import Recipe

Part = Literal["result", "base", "data"]


@dataclass(frozen=True, slots=True)
class Claim:
    """One licence and what it covers."""

    licence: str
    """An identifier of `licences.yaml` or of the Hub; "" names the part alone: perhaps another claim says it."""
    part: Part
    name: str = ""
    """Of the base or the data set; "" for the result itself."""
    recorded: bool = field(default=False, compare=False)
    """Whether the data's own records say so, in whatever words; "" then is silence, whatever others say."""

    @property
    def terms(self) -> dict[str, Any]:
        """What is known of the licence."""
        return terms(self.licence)


def claims_of(recipe: Recipe) -> list[Claim]:
    """The claims of a recipe: of the result, the base, and each source, with the terms known to bear on its data.

    Each part is named by a claim without a licence as well. Where the recipe is silent on a source, the publishers of a
    known data set speak.
    """
    base = known.base_title(recipe)
    claims = [Claim("", "result"), Claim(recipe.release.license, "result")]
    claims += [Claim("", "base", base), Claim(recipe.base.license, "base", base)]
    for name, source in recipe.data.sources.items():
        licence = licence_of(name, source.format, source.license)
        claims += [Claim("", "data", name), Claim(licence, "data", name), *terms_on_data(name, source.format)]
    return claims


def recorded_claims(name: str, licences: Iterable[str]) -> list[Claim]:
    """The claims of a data set's own records; "" among the licences: some of its conversations name none."""
    return [Claim(each, "data", name, recorded=True) for each in licences]


def terms_on_data(name: str, format: str, models: Iterable[str] = ()) -> list[Claim]:
    """The terms on the output of the models that wrote a data set: that are known, and of those `models`."""
    known_terms = known.dataset(name, format).get("terms", ())
    written = [each for model in models for each in terms_on_output(model)]
    return [Claim(each, "data", name) for each in (*known_terms, *written)]


def licence_of(name: str, format: str, stated: str) -> str:
    """The licence of a source: the one that is stated, else that of the known data set; "" when nobody said."""
    return stated or str(known.dataset(name, format).get("license", ""))
