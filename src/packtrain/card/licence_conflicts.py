"""Claims that cannot both be true: a result that promises more than its parts allow, and licences of the wrong things.

What may become of a work under a licence is in `licences.yaml`: `commercial`, `share_alike`, `kept`, `form`, `covers`.
"""

from collections.abc import Sequence

from packtrain.card import known
from packtrain.card.claims import Claim
from packtrain.card.licence_terms import check_licence, identifier, terms
from packtrain.core.errors import UserError
from packtrain.core.recipe import Recipe


def refuse_contradictions(claims: Sequence[Claim], *, whole_weights: bool, of_data: bool) -> None:
    """Raise UserError for an unknown licence, and for claims that contradict each other, as `licences.judge` says."""
    for claim in claims:
        if claim.licence and not claim.recorded:
            check_licence(claim.licence)
            _refuse_wrong_part(claim)
    spoken = [claim for claim in claims if claim.licence]
    result = next((claim for claim in spoken if claim.part == "result"), None)
    if result is not None:
        _refuse_wider_result(result, spoken)
    if whole_weights:
        _refuse_whole_weights(result, spoken)
    if of_data and result is not None:
        _refuse_dropped_share_alike(result, spoken)


def refuse_relabelling(recipe: Recipe) -> None:
    """Raise UserError for a published set, by its name or a format of its own, under a licence that allows more."""
    for name, source in recipe.data.sources.items():
        stated = known.dataset(name, source.format).get("license", "")
        if not stated or not source.license or identifier(source.license) is None:
            continue
        says, publishers = terms(source.license), terms(stated)
        kept = publishers.get("share_alike", [says["id"]])
        if says["commercial"] is True and (publishers["commercial"] is not True or says["id"] not in kept):
            by_format = name not in known.read("known")["datasets"]
            own = f" and read them with data.sources.{name}.format=auto" if by_format else ""
            raise UserError(
                f"the data set {name} was published under {stated}, and the recipe says {says['id']}",
                f"correct data.sources.{name}.license, or give data of your own another name{own}",
            )


def _refuse_wrong_part(claim: Claim) -> None:
    if claim.part not in claim.terms.get("covers", (claim.part,)):
        raise UserError(
            f"{claim.licence} ({claim.terms['title']}) cannot be the licence of the {claim.part} {claim.name}".rstrip(),
            "it says how certain data or models of others stand; name a licence that the authors have given, or none",
        )


def _refuse_wider_result(result: Claim, claims: Sequence[Claim]) -> None:
    forbidding = [claim for claim in claims if claim.terms["commercial"] is False]
    if result.terms["commercial"] is not True or not forbidding:
        return
    told = ", ".join(f"{claim.licence} of its {claim.part} {claim.name}" for claim in forbidding)
    raise UserError(
        f"the licence {result.licence} of the result allows commercial use, which is forbidden by {told}",
        "give the result (release.license) one without commercial use, such as cc-by-nc-4.0, or leave those out",
    )


def _refuse_whole_weights(result: Claim | None, claims: Sequence[Claim]) -> None:
    for base in (claim for claim in claims if claim.part == "base"):
        if base.terms.get("form") == "diff":
            raise UserError(
                f"release.form=full publishes weights from which the base {base.name} could be had, "
                f"and its licence {base.licence} forbids that",
                "publish the difference: release.form=diff",
            )
        if result is None:
            continue
        alike = base.terms.get("share_alike")
        wider = base.terms.get("kept") and result.terms["commercial"] is True and result.licence != base.licence
        if wider or (alike and result.licence not in alike):
            raise UserError(
                f"whole weights of the base {base.name} are passed on under its licence {base.licence}, "
                f"and the result claims {result.licence}",
                f"give release.license={' or '.join(alike or [base.licence])}, or none, "
                "or publish the difference: release.form=diff",
            )


def _refuse_dropped_share_alike(result: Claim, claims: Sequence[Claim]) -> None:
    kept = [claim for claim in claims if claim.part == "data" and claim.terms.get("share_alike")]
    dropped = [claim for claim in kept if result.licence not in claim.terms["share_alike"]]
    if dropped:
        told = ", ".join(f"{claim.name} ({claim.licence})" for claim in dropped)
        raise UserError(
            f"a data set under {result.licence} cannot hold {told}, which is to be passed on under its own licence",
            f"give the whole {' or '.join(dropped[0].terms['share_alike'])}, or none: then the card names the licence "
            "of each source",
        )
