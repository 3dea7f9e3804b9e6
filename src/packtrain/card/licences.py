"""Licences: from those of base, data and result, what the result may be used for and what must go with it.

`licences.yaml` says of each licence what it allows and asks for. Nothing here is legal advice: the texts decide, and
what nobody can say in one word is called unclear.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from packtrain.card import known
from packtrain.card.claims import Claim, claims_of
from packtrain.card.licence_conflicts import refuse_contradictions, refuse_relabelling
from packtrain.card.licence_terms import identifier, terms
from packtrain.card.markdown import one_line
from packtrain.core.recipe import Recipe

Use = Literal["any", "unclear", "unknown", "research"]


@dataclass(frozen=True)
class Verdict:
    """What follows from all claims together."""

    claims: tuple[Claim, ...]
    """Those that name a licence, by its identifier."""
    use: Use
    """`research`: a licence forbids commerce; `unknown`: of a part nobody said one; `unclear`: one does not settle it;
    `any`: all allow it."""
    silent: tuple[Claim, ...]
    """Of which, or of a portion of which, nobody said a licence."""
    non_commercial: tuple[Claim, ...]
    unclear: tuple[Claim, ...]
    """Without a plain word on commerce; terms on a model's output are counted apart."""
    output_terms: tuple[Claim, ...]
    """Data to which somebody's terms on the output of their model apply, such as OpenAI's."""
    share_alike: tuple[Claim, ...]
    attribution: tuple[Claim, ...]
    """What is to be named: bases and data sets."""
    files: dict[str, tuple[str, ...]]
    """Licence text that must lie beside the result -> the names under which people have it."""
    notices: tuple[str, ...]
    """Lines that licences want beside the result, word for word."""


def judge_recipe(recipe: Recipe, also: Sequence[Claim] = ()) -> Verdict:
    """The verdict on a recipe's result; `also`: claims of the data that were learnt from.

    UserError as `judge`, and for a published data set under a wider licence than its publishers'.
    """
    refuse_relabelling(recipe)
    return judge([*claims_of(recipe), *also], whole_weights=recipe.release.form == "full")


def judge(claims: Iterable[Claim], *, whole_weights: bool = False, of_data: bool = False) -> Verdict:
    """What follows from the claims; `whole_weights`: the model itself is published, no difference from its base.

    `of_data`: the result is a data set, made of its sources. Raises UserError for an unknown licence that no record
    brought, and for claims that contradict each other: a result that allows the commerce which base or data forbid,
    whole weights of a base that may not be passed on, or not under the licence of the result, a data set that drops
    the share-alike of a source, and what is no licence for the part that it is claimed for.
    """
    said: dict[Claim, Claim] = {}
    for each in claims:
        claim = replace(each, licence=identifier(each.licence) or each.licence)
        said[claim] = replace(claim, recorded=True) if not claim.licence and claim.recorded else said.get(claim, claim)
    refuse_contradictions(list(said.values()), whole_weights=whole_weights, of_data=of_data)
    claims = tuple(claim for claim in said.values() if claim.licence)
    plain = tuple(claim for claim in claims if not claim.terms.get("output_terms"))
    licensed = {(claim.part, claim.name) for claim in plain}
    silent = tuple(
        claim
        for claim in said.values()
        if not claim.licence and (claim.recorded or (claim.part, claim.name) not in licensed)
    )
    forbidding = tuple(claim for claim in claims if claim.terms["commercial"] is False)
    unclear = tuple(claim for claim in plain if claim.terms["commercial"] is None)
    result = next((claim.licence for claim in claims if claim.part == "result"), "")
    shipped = [
        claim for claim in claims if claim.part == "result" or (claim.part == "base" and claim.licence != result)
    ]
    return Verdict(
        claims=claims,
        use="research" if forbidding else "unknown" if silent or not plain else "unclear" if unclear else "any",
        silent=silent,
        non_commercial=forbidding,
        unclear=unclear,
        output_terms=tuple(claim for claim in claims if claim.terms.get("output_terms")),
        share_alike=tuple(claim for claim in claims if claim.part != "result" and claim.terms.get("share_alike")),
        attribution=tuple(claim for claim in claims if claim.part != "result" and claim.terms.get("attribution")),
        files={name: tuple(names) for claim in shipped for name, names in _files(claim).items()},
        notices=tuple(dict.fromkeys(claim.terms["notice"] for claim in claims if "notice" in claim.terms)),
    )


def statements(verdict: Verdict, subject: Literal["model", "data"] = "model", language: str = "en") -> list[str]:
    """What the verdict says, a sentence or two each: the use, output terms, share-alike, names, files to ship."""
    words = known.read("words", language)["licence"]

    def told(claims: Sequence[Claim]) -> str:
        return known.enumeration([_named(claim, language) for claim in claims], language)

    def named(claims: Sequence[Claim]) -> str:
        return known.enumeration(list(dict.fromkeys(_covered(claim, language) for claim in claims)), language)

    result = [_title(claim, language) for claim in verdict.claims if claim.part == "result"]
    said = [words["under"].format(result=result[0]) if result else words["no_licence"]] if subject == "model" else []
    if verdict.use != "unknown":
        use = words[verdict.use]
        said.append(use.format(**words[subject], forbidding=told(verdict.non_commercial), open=told(verdict.unclear)))
    silent = [claim for claim in verdict.silent if claim.part != "result"]
    if silent and subject == "model":
        said.append(words["silent"].format(**words[subject], silent=named(silent)))
    if verdict.use in ("research", "unknown") and verdict.unclear:
        said.append(words["also_read"].format(open=told(verdict.unclear)))
    if verdict.output_terms:
        said.append(words["output_terms"].format(sources=told(verdict.output_terms)))
    if verdict.share_alike:
        said.append(words["share_alike"].format(sources=told(verdict.share_alike)))
    if verdict.attribution:
        said.append(words["attribution"].format(sources=named(verdict.attribution)))
    if verdict.files and subject == "model":
        said.append(words["files"].format(files=known.enumeration([f"`{file}`" for file in verdict.files], language)))
    return [*said, *verdict.notices]


def applying(verdict: Verdict, language: str = "en") -> list[dict[str, Any]]:
    """Every licence of the verdict, each once, as `terms` has it, with `of`: to what it applies.

    `shown` is its name, as a link where there is one.
    """
    words = known.read("words", language)["licence"]
    covered: dict[str, list[str]] = {}
    for claim in verdict.claims:
        covered.setdefault(claim.licence, []).append(_covered(claim, language))
    found = [(terms(licence, language), words["between"].join(what)) for licence, what in covered.items()]
    return [
        each | {"of": of, "shown": f"[{each['title']}]({each['link']})" if each["link"] else each["title"]}
        for each, of in found
    ]


def _named(claim: Claim, language: str) -> str:
    form = known.read("words", language)["licence"]["claim"]
    return str(form.format(covered=_covered(claim, language), title=_title(claim, language)))


def _title(claim: Claim, language: str) -> str:
    return str(terms(claim.licence, language)["title"])


def _covered(claim: Claim, language: str) -> str:
    """What the claim is about, in words."""
    words = known.read("words", language)["licence"]
    return str(words["data_set" if claim.part == "data" else claim.part].format(name=one_line(claim.name)))


def _files(claim: Claim) -> dict[str, list[str]]:
    """The licence's files; a base's, whose name the result's own would take, has the base's licence in its name."""
    files: dict[str, list[str]] = claim.terms.get("files", {})
    if claim.part != "base":
        return files
    renamed = {file: _name_for_base(file, claim.licence) for file in files}
    return {renamed[file]: names if renamed[file] == file else [renamed[file]] for file, names in files.items()}


def _name_for_base(file: str, licence: str) -> str:
    stem, dot, suffix = file.partition(".")
    return f"{stem}-{licence}{dot}{suffix}" if stem == "LICENSE" else file
