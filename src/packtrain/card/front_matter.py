"""The YAML block in front of a model card, in the Hub's own terms.

Keys: https://github.com/huggingface/hub-docs/blob/main/modelcard.md; of the gate: models-gated.md there.
"""

from collections.abc import Sequence
from typing import Any

from packtrain.card import known
from packtrain.core.columns import model_index
from packtrain.core.recipe import Recipe
from packtrain.core.score import Score, whole_scores


def model_front_matter(recipe: Recipe, scores: Sequence[Score], language: str = "en") -> str:
    """The YAML of base, data, licence, language, tags, gate and whole scores, checked by huggingface_hub."""
    from huggingface_hub import ModelCardData

    sources = [known.dataset(name, source.format) for name, source in recipe.data.sources.items()]
    results = model_index(whole_scores(scores))
    data = ModelCardData(
        base_model=known.hub_id(recipe.base.path),
        datasets=[facts["hub"] for facts in sources if "hub" in facts] or None,
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
    licence = known.read("licences")[identifier]
    if licence["hub"] != "other":
        return {"license": licence["hub"]}
    return {"license": "other", "license_name": identifier, "license_link": licence["link"]}


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
        "extra_gated_fields": dict(gate.fields),
        "extra_gated_button_content": words["button"],
    }
