"""Finds licences that contradict each other or are not known; says what the result may be used for."""

from collections.abc import Iterator

from packtrain.core.errors import UserError
from packtrain.pipeline.doctor.wanted import Wanted
from packtrain.train.doctor_checks import Finding, error, fine

STAGES = ("card",)
_USES = {
    "any": "any use",
    "unclear": "no licence forbids commercial use, and one does not settle it",
    "research": "research alone, no commercial use",
}


def check(wanted: Wanted) -> Iterator[Finding]:
    """An error where the card would be refused; else the use, and what states no licence."""
    from packtrain.card.card import render_card
    from packtrain.card.facts import CardFacts
    from packtrain.card.licences import judge_recipe

    recipe = wanted.recipe
    try:
        render_card(recipe, [], CardFacts())
        verdict = judge_recipe(recipe)
    except UserError as problem:
        yield error(problem.message, "release.license, base.license, data.sources.NAME.license", problem.hint)
        return
    silent = [claim.name if claim.part == "data" else f"the {claim.part}" for claim in verdict.silent]
    if silent:
        yield fine(f"no licence is stated for {', '.join(silent)}: the card will say none")
    because = ", ".join(dict.fromkeys(claim.licence for claim in verdict.non_commercial))
    if verdict.use in _USES:
        use = f"{_USES[verdict.use]}{f' ({because})' if because else ''}"
        yield fine(f"licences agree; the result may be used for {use}")
