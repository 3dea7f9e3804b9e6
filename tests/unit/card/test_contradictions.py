"""A card that says otherwise than the record of a training is found out, setting by setting."""

import json
from typing import Any

import pytest

from packtrain.card.contradictions import contradictions
from packtrain.core.recipe_file import load_recipe


def recorded(*overrides: str) -> dict[str, Any]:
    """The settings of a training of alpaca-7b, as `run.json` holds them."""
    settings: dict[str, Any] = json.loads(json.dumps(load_recipe("alpaca-7b", overrides).resolved()))
    return settings


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("train.lr=2e-4", "train.lr: trained with 2e-05, the card would say 0.0002"),
        ("train.adapter=qlora", "train.adapter: trained with none, the card would say qlora"),
        ("train.epochs=1", "train.epochs: trained with 3, the card would say 1"),
        ("train.max_steps=7", "train.max_steps: trained with nothing, the card would say 7"),
        ("train.global_batch_size=32", "train.global_batch_size: trained with 128, the card would say 32"),
        ("base.path=/models/opt-6.7b", "base.path: trained with llama-7b, the card would say opt-6.7b"),
        ("base.name=LLaMA 13B", "base.name: trained with nothing, the card would say LLaMA 13B"),
        ("template=tulu", "template: trained with alpaca, the card would say tulu"),
        ("seed=1", "seed: trained with 42, the card would say 1"),
        (
            "data.sources.mine={format: messages, path: m.jsonl}",
            "data.sources: trained with stanford_alpaca, the card would say stanford_alpaca, mine",
        ),
    ],
)
def test_each_setting_that_differs_is_named(override: str, line: str) -> None:
    assert contradictions(recorded(), load_recipe("alpaca-7b", [override])) == [line]


def test_all_that_differ_are_named_at_once() -> None:
    stated = load_recipe("alpaca-7b", ["train.adapter=qlora", "train.lr=2e-4"])
    assert [line.partition(":")[0] for line in contradictions(recorded(), stated)] == ["train.lr", "train.adapter"]


@pytest.mark.parametrize(
    "override",
    [
        "train.lr=0.00002",
        "base.path=/elsewhere/llama-7b",
        "data.sources.stanford_alpaca.path=/elsewhere/alpaca_data.json",
        "base.license=mit",
        "data.sources.stanford_alpaca.license=cc-by-4.0",
        "release.form=float-diff",
        "evaluate.columns=[gsm:cot]",
        "title=My Alpaca",
    ],
)
def test_the_same_value_elsewhere_and_what_concerns_publishing_is_no_contradiction(override: str) -> None:
    assert contradictions(recorded(), load_recipe("alpaca-7b", [override])) == []


def test_what_the_record_does_not_hold_is_not_compared() -> None:
    assert contradictions({}, load_recipe("alpaca-7b")) == []
    assert contradictions({"data": None, "train": {"gone": 1}}, load_recipe("alpaca-7b")) == []
