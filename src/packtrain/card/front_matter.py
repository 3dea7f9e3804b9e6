"""The YAML block in front of a model card, in the Hub's own terms.

Keys: https://github.com/huggingface/hub-docs/blob/main/modelcard.md; of the gate: models-gated.md there.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from packtrain.card import known
from packtrain.card.licence_terms import terms
from packtrain.core.columns import model_index
from packtrain.core.hub_id import HubId, on_hub
from packtrain.core.recipe import Recipe
from packtrain.core.score import Score, whole_scores


def model_front_matter(
    recipe: Recipe,
    scores: Sequence[Score],
    language: str = "en",
    data_on_hub: Mapping[str, HubId] = MappingProxyType({}),
) -> str:
    """The YAML of base, data, licence, language, tags, gate and whole scores, checked by huggingface_hub."""
    from huggingface_hub import ModelCardData

    sources = [known.dataset(name, source.format) for name, source in recipe.data.sources.items()]
    on_the_hub = [facts["hub"] for facts in sources if "hub" in facts]
    on_the_hub += [data_on_hub[name].repository for name in recipe.data.sources if name in data_on_hub]
    results = model_index(whole_scores(scores))
    hub = on_hub(recipe.base.path)
    data = ModelCardData(
        base_model=hub.repository if hub else None,
        datasets=list(dict.fromkeys(on_the_hub)) or None,
        language="en" if all(sources) else None,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["packtrain", "instruction-tuning", *(["weight-diff"] if recipe.release.form != "full" else [])],
        model_name=recipe.name if results else None,
        eval_results=results or None,
        **licence_fields(recipe.release.license),
        **gate_fields(recipe, language),
    )
    return str(data.to_yaml())


def licence_fields(identifier: str) -> dict[str, Any]:
    """`license`, and its name and link where the Hub has no identifier for it; empty without a licence."""
    if not identifier:
        return {}
    licence = terms(identifier)
    if licence["hub"] != "other":
        return {"license": licence["hub"]}
    link = {"license_link": licence["link"]} if licence["link"] else {}
    return {"license": "other", "license_name": licence["id"], **link}


def gate_fields(recipe: Recipe, language: str = "en") -> dict[str, Any]:
    """The form that the Hub shows before it gives the files: heading, text, fields by name, button.

    Text and fields are the recipe's own, in its own language; empty for a recipe without a gate.
    """
    gate = recipe.release.gate
    if gate is None:
        return {}
    words = known.read("words", language)["gate"]
    return {
        "extra_gated_heading": words["heading"].format(title=recipe.title),
        "extra_gated_prompt": gate.prompt,
        "extra_gated_fields": gate.model_dump(mode="json")["fields"],
        "extra_gated_button_content": words["button"],
    }
