"""Every shipped recipe loads and names only what exists; wrong recipes are told everything at once."""

import re

import pytest
import yaml

from packtrain.core.errors import UserError
from packtrain.core.folder import names
from packtrain.core.recipe import Recipe
from packtrain.core.recipe_file import load_recipe, recipe_names, recipe_text
from packtrain.core.score import COLUMNS

REPRODUCTIONS = [
    "alpaca-13b",
    "alpaca-7b",
    "code-alpaca-7b",
    "galpaca-6.7b",
    "oasst1-13b",
    "opt-6.7b",
    "tulu-13b",
    "tulu-30b",
    "tulu-65b",
    "tulu-7b",
]
HYPER_PARAMETERS = {
    # recipe: learning rate, epochs, schedule, tokens, rounding of the warm-up steps
    "alpaca-7b": (2e-5, 3, "cosine", 512, "ceil"),
    "alpaca-13b": (1e-5, 5, "cosine", 512, "ceil"),
    "opt-6.7b": (2e-5, 3, "cosine", 512, "ceil"),
    "galpaca-6.7b": (2e-5, 3, "cosine", 512, "ceil"),
    "code-alpaca-7b": (2e-5, 2, "linear", 2048, "floor"),
    "oasst1-13b": (2e-5, 2, "linear", 2048, "floor"),
    "tulu-7b": (2e-5, 2, "linear", 2048, "floor"),
    "tulu-13b": (2e-5, 2, "linear", 2048, "floor"),
    "tulu-30b": (1e-5, 2, "linear", 1024, "floor"),
    "tulu-65b": (1e-5, 2, "linear", 1024, "floor"),
}
TULU_SOURCES = ["flan_v2", "cot_zero_shot", "cot_few_shot", "dolly", "oasst1", "gpt4_alpaca", "code_alpaca", "sharegpt"]


def test_every_model_of_the_cards_has_a_recipe() -> None:
    assert set(REPRODUCTIONS) <= set(recipe_names())


@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_a_shipped_recipe_names_only_what_exists(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.template in names("packtrain.prompts", ".jinja")
    assert {source.format for source in recipe.data.sources.values()} <= set(names("packtrain.data.formats", ".py"))
    assert recipe.evaluate.columns == COLUMNS
    assert Recipe.model_validate(recipe.resolved()) == recipe


@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_a_shipped_recipe_is_readable_alone(name: str) -> None:
    """Its head says how to start it, every number says where it comes from, and nothing is included."""
    text = recipe_text(name)
    head = text.split("\nname:")[0]
    assert f"packtrain run {name} --work" in head
    assert re.search(rf"packtrain train {re.escape(name)} --data runs/{re.escape(name)}/data --out ", head)
    assert "--data" in head
    assert "--out" in head
    numbers = [line for line in text.splitlines() if re.match(r"\s*[\w-]+:\s+[-\d.\[][-\d.e]*(\s|$)", line)]
    assert len(numbers) >= 8
    assert [line for line in numbers if not re.search(r"\s# \w", line)] == []
    assert [
        event for event in yaml.parse(text) if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None)
    ] == []


@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_hyper_parameters_are_those_of_the_sources(name: str) -> None:
    recipe = load_recipe(name)
    train = recipe.train
    rate, epochs, schedule, tokens, rounding = HYPER_PARAMETERS[name]
    assert (train.lr, train.epochs, train.schedule) == (rate, epochs, schedule)
    assert (train.max_length_tokens, train.warmup_rounding) == (tokens, rounding)
    assert (train.global_batch_size, train.warmup_ratio, train.weight_decay) == (128, 0.03, 0.0)
    assert (train.adam_betas, train.adam_epsilon, train.clip_norm) == ((0.9, 0.999), 1e-8, 1.0)
    assert recipe.release.form == ("full" if name == "galpaca-6.7b" else "diff")


def test_the_tulu_mixture_is_whole_in_every_size() -> None:
    mixtures = [load_recipe(name).data for name in REPRODUCTIONS if name.startswith("tulu")]
    assert len(mixtures) == 4
    assert all(mixture == mixtures[0] for mixture in mixtures)
    assert list(mixtures[0].sources) == TULU_SOURCES


def test_the_gate_of_tulu_65b_asks_what_the_published_one_asks() -> None:
    gate = load_recipe("tulu-65b").release.gate
    assert gate is not None
    agreement = (
        "I agree to abide by the license terms associated with this artifact, "
        "including domain and used-based restrictions"
    )
    assert gate.fields == {
        "First Name": "text",
        "Last Name": "text",
        "Institution": "text",
        "Country (where you are located)": "text",
        "Intended Use": "text",
        "Previous related publications": "text",
        agreement: "checkbox",
    }
    assert [name for name in REPRODUCTIONS if load_recipe(name).release.gate] == ["tulu-65b"]


def test_overrides_reach_every_depth() -> None:
    recipe = load_recipe(
        "alpaca-7b",
        [
            "base.path=elsewhere/tiny",
            "data.sources.stanford_alpaca.path=other.json",
            "data.sources.stanford_alpaca.max_examples=64",
            "data.sources.mine={format: messages, path: mine.jsonl}",
            "data.held_out=20",
            "train.lr=3e-4",
            "train.max_steps=5",
            "evaluate.columns=[mmlu:0shot]",
            "release.gate.prompt=Please ask.",
            "release.gate.fields.Name=text",
        ],
    )
    assert recipe.base.path == "elsewhere/tiny"
    assert recipe.data.sources["stanford_alpaca"].path == "other.json"
    assert recipe.data.sources["stanford_alpaca"].format == "alpaca"
    assert recipe.data.sources["stanford_alpaca"].max_examples == 64
    assert recipe.data.sources["mine"].format == "messages"
    assert (recipe.data.held_out, recipe.train.lr, recipe.train.max_steps) == (20, 3e-4, 5)
    assert recipe.evaluate.columns == ("mmlu:0shot",)
    assert recipe.release.gate is not None
    assert recipe.release.gate.fields == {"Name": "text"}
    assert load_recipe("alpaca-7b").train.max_steps is None


def test_everything_wrong_is_said_at_once_with_what_was_meant() -> None:
    with pytest.raises(UserError) as caught:
        load_recipe(
            "alpaca-7b",
            ["train.learning_rte=1", "train.lr=-1", "data.sources.stanford_alpaca.pth=x", "train.warmup_ration=0.1"],
        )
    message = caught.value.message
    assert "unknown key train.learning_rte" in message
    assert "train.lr: input should be greater than 0 (found -1)" in message
    assert "unknown key data.sources.stanford_alpaca.pth (did you mean data.sources.stanford_alpaca.path?)" in message
    assert "unknown key train.warmup_ration (did you mean train.warmup_ratio?)" in message


def test_unknown_names_and_malformed_overrides_are_told_what_there_is() -> None:
    with pytest.raises(UserError, match="unknown recipe: alpaca-7c") as caught:
        load_recipe("alpaca-7c")
    assert caught.value.hint.startswith("did you mean alpaca-7b? there are: alpaca-13b, alpaca-7b")
    with pytest.raises(UserError, match=r"not an override: 'train\.lr'"):
        load_recipe("alpaca-7b", ["train.lr"])
    with pytest.raises(UserError, match=r"train\.lr is a value, not a section"):
        load_recipe("alpaca-7b", ["train.lr.peak=1"])


def test_the_schema_stays_small() -> None:
    """At most 50 settings in all, so that a recipe can be known whole."""

    def leaves(section: type) -> int:
        count = 0
        for field in section.model_fields.values():
            inner = [
                part
                for part in (field.annotation, *getattr(field.annotation, "__args__", ()))
                if hasattr(part, "model_fields")
            ]
            count += leaves(inner[0]) if inner else 1
        return count

    assert leaves(Recipe) <= 50
