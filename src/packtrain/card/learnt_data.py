"""What a model card says of the data that were learnt from beyond the recipe: who wrote them, what is unknown."""

from packtrain.card import known
from packtrain.card.claims import Claim, recorded_claims, terms_on_data
from packtrain.card.facts import CardFacts
from packtrain.card.markdown import code
from packtrain.core.recipe import Recipe


def data_claims(recipe: Recipe, facts: CardFacts) -> list[Claim]:
    """The terms on the output of the models that wrote the data, and the licences that stand beside the recipe's.

    Both as the provenance of the conversations has it. Where only some of them name a licence, what the recipe states
    covers the others.
    """
    claims = []
    for name, source in recipe.data.sources.items():
        claims += recorded_claims(name, [each for each in facts.licences.get(name, ()) if each or not source.license])
        claims += terms_on_data(name, source.format, facts.models.get(name, ()))
    return claims


def data_notes(recipe: Recipe, facts: CardFacts, language: str = "en") -> list[str]:
    """A sentence for each source that language models wrote, and one where nothing is recorded of the data."""
    words = known.read("words", language)["data_notes"]
    written = {name: models for name in recipe.data.sources if (models := facts.models.get(name))}
    notes = [
        words["written_by"].format(name=code(name), models=known.enumeration([code(each) for each in models], language))
        for name, models in written.items()
    ]
    if facts.file_of_unknown_origin and not written:
        notes.append(words["no_origin"].format(file=code(facts.file_of_unknown_origin)))
    return notes if facts.data_recorded else [*notes, words["not_recorded"]]
