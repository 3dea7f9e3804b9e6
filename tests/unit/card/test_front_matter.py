"""Front matter: what huggingface_hub reads out of it, the gate of Tulu 65B, model-index and licence."""

import json

import pytest
import yaml
from huggingface_hub import EvalResult, ModelCardData
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
from tests.unit.card.reported import SCORES

from packtrain.card.front_matter import gate_fields, licence_fields, model_front_matter
from packtrain.core.errors import UserError
from packtrain.core.recipe_file import load_recipe, recipe_names

HUB_FIELD_TYPES = {"text", "checkbox", "date_picker", "country"}
"""Those of hub-docs' models-gated.md that need no options."""
AGREEMENT = (
    "I agree to abide by the license terms associated with this artifact, including domain and used-based restrictions"
)


def test_the_gate_is_the_form_of_the_published_model() -> None:
    front = yaml.safe_load(model_front_matter(load_recipe("tulu-65b"), []))
    gated = {key: value for key, value in front.items() if key.startswith("extra_gated")}
    assert gated == {
        "extra_gated_heading": "Access to Tulu 65B",
        "extra_gated_prompt": (
            "These weights are given on request. Please fill in the form below: it is read by people, and you are told "
            "whether your use is approved. What you write is used to decide on your request and for nothing else."
        ),
        "extra_gated_fields": {
            "First Name": "text",
            "Last Name": "text",
            "Institution": "text",
            "Country (where you are located)": "text",
            "Intended Use": "text",
            "Previous related publications": "text",
            AGREEMENT: "checkbox",
        },
        "extra_gated_button_content": "Send the request",
    }
    assert set(gated["extra_gated_fields"].values()) <= HUB_FIELD_TYPES
    parsed = ModelCardData(**front, ignore_metadata_errors=False)
    assert parsed.to_dict()["extra_gated_fields"] == gated["extra_gated_fields"]


def test_any_recipe_may_have_a_gate_and_none_has_to() -> None:
    assert gate_fields(load_recipe("tulu-7b")) == {}
    gated = load_recipe("tulu-7b", ["release.gate={prompt: Please ask., fields: {Name: text, From: country}}"])
    assert gate_fields(gated, "zh") == {
        "extra_gated_heading": "申请使用 Tulu 7B",
        "extra_gated_prompt": "Please ask.",
        "extra_gated_fields": {"Name": "text", "From": "country"},
        "extra_gated_button_content": "提交申请",
    }
    choice = {"type": "select", "options": ["Research", {"label": "Else", "value": "other"}]}
    asked = load_recipe("tulu-7b", [f"release.gate={{prompt: Please ask., fields: {{For: {json.dumps(choice)}}}}}"])
    assert gate_fields(asked)["extra_gated_fields"] == {"For": choice}


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ("{prompt: Ask., fields: {Name: number}}", "release.gate.fields.Name.type: input should be 'text', 'checkbox'"),
        ("{prompt: Ask., fields: {Name: select}}", "release.gate.fields.Name.select: a choice looks so: {type: select"),
        ("{prompt: Ask., fields: {N: {type: select, options: []}}}", "release.gate.fields.N.select: a choice looks so"),
        ("{prompt: Ask., fields: {N: {type: select, options: [{label: A}]}}}", "a choice looks so: {type: select"),
        ("{prompt: Ask., fields: {N: {type: text}}}", "release.gate.fields.N.select: a choice looks so"),
        ("{prompt: Ask., fields: {}}", "release.gate.fields: dictionary should have at least 1 item"),
        ("{prompt: ' ', fields: {Name: text}}", "release.gate.prompt: string should match"),
    ],
)
def test_a_form_that_asks_nothing_or_cannot_be_shown_is_refused(gate: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe("tulu-7b", [f"release.gate={gate}"])
    assert message in caught.value.message


@pytest.mark.parametrize("name", sorted(recipe_names()))
def test_the_model_index_survives_the_hubs_own_reader(name: str) -> None:
    front = yaml.safe_load(model_front_matter(load_recipe(name), SCORES))
    model, results = model_index_to_eval_results(front["model-index"])
    assert model == name
    assert all(isinstance(result, EvalResult) for result in results)
    assert eval_results_to_model_index(model, results) == front["model-index"]
    assert [(result.metric_value, result.metric_args["standard_error"]) for result in results] == [
        (score.value, score.standard_error) for score in SCORES
    ]


def test_a_licence_that_the_hub_does_not_know_has_a_name_and_a_link() -> None:
    assert licence_fields("") == {}
    assert licence_fields("cc-by-nc-4.0") == {"license": "cc-by-nc-4.0"}
    assert licence_fields("open-instruct") == {
        "license": "other",
        "license_name": "open-instruct",
        "license_link": "https://github.com/allenai/open-instruct/tree/main/model_licenses",
    }
