"""One line says which adapter is trained; what is wrong in it is told with what there is."""

import pytest

from packtrain.core.adapter import ALL_LINEAR, PRESETS, QUERY_VALUE, AdapterSpec, learning_rate_note, parse_adapter
from packtrain.core.errors import UserError
from packtrain.core.recipe_file import load_recipe


def parsed(text: str) -> AdapterSpec:
    spec = parse_adapter(text)
    assert spec is not None
    return spec


def test_none_trains_all_weights() -> None:
    assert parse_adapter("none") is None
    assert load_recipe("alpaca-7b").train.adapter == "none"


@pytest.mark.parametrize(
    ("text", "spec", "scale"),
    [
        ("lora", AdapterSpec("lora", 16, 32, 0, (ALL_LINEAR,)), 2),
        ("lora:r=64", AdapterSpec("lora", 64, 128, 0, (ALL_LINEAR,)), 2),
        ("rslora:r=64", AdapterSpec("rslora", 64, 16, 0, (ALL_LINEAR,)), 2),
        ("qlora: r = 8 , alpha = 4 ", AdapterSpec("qlora", 8, 4, 0, (ALL_LINEAR,)), 0.5),
        (
            "dora:targets=q_proj+v_proj,dropout=0.05,alpha=2.5,bias=lora_only",
            AdapterSpec("dora", 16, 2.5, 0.05, ("q_proj", "v_proj"), "lora_only"),
            0.15625,
        ),
    ],
)
def test_what_is_not_said_is_the_default(text: str, spec: AdapterSpec, scale: float) -> None:
    assert parsed(text) == spec
    assert spec.scale == scale
    assert parsed(spec.text) == spec


PUBLISHED = {
    # name: rank, alpha, dropout, targets; as in the scripts of 2023
    "alpaca-2023": (64, 16, 0.05, (QUERY_VALUE,)),
    "open-instruct-2023": (256, 256, 0.05, (QUERY_VALUE,)),
    "finetune-2023": (64, 16, 0.1, (QUERY_VALUE,)),
    "alpaca-lora-2023": (8, 16, 0.05, ("q_proj", "v_proj")),
    "qlora-2023": (64, 16, 0.1, (ALL_LINEAR,)),
}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_what_was_used(name: str) -> None:
    spec = parsed(f"lora:preset={name}")
    assert (spec.rank, spec.alpha, spec.dropout, spec.targets) == PUBLISHED[name]
    assert (spec.kind, spec.bias, spec.preset) == ("lora", "none", name)


def test_what_stands_beside_a_preset_goes_before_it() -> None:
    spec = parsed("qlora:r=8,preset=alpaca-2023,dropout=0")
    assert (spec.kind, spec.rank, spec.alpha, spec.dropout) == ("qlora", 8, 16, 0)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("lorra", "unknown adapter: lorra", "did you mean lora? there are: none, lora, rslora, dora, qlora"),
        ("", "unknown adapter: ", "there are: none, lora, rslora, dora, qlora"),
        ("none:r=3", "adapter none takes no settings, and was given r=3", "give none, or lora:KEY=VALUE"),
        (
            "lora:rank=3",
            "unknown setting of lora: rank",
            "there are: r, alpha, dropout, targets, bias, preset",
        ),
        ("lora:", "unknown setting of lora: nothing", "there are: r, alpha, dropout, targets, bias, preset"),
        ("lora:r", "lora: r has no value", "give it one, as in lora:r=16,alpha=32"),
        ("dora:r=", "dora: r has no value", "give it one, as in dora:r=16,alpha=32"),
        ("lora:r=3,r=4", "lora: r stands twice", "leave one of the two out"),
        ("lora:r=big", "r=big is not a number", "give one, as in r=16"),
        ("lora:r=0", "r=0 is not a rank", "give a whole number from 1 on, as in r=16"),
        ("lora:r=1.5", "r=1.5 is not a rank", "give a whole number from 1 on, as in r=16"),
        ("lora:r=nan", "r=nan is not a rank", "give a whole number from 1 on, as in r=16"),
        ("lora:alpha=-1", "alpha=-1 cannot scale an adapter", "give a number above 0, such as twice the rank"),
        ("lora:alpha=inf", "alpha=inf cannot scale an adapter", "give a number above 0, such as twice the rank"),
        ("lora:dropout=1", "dropout=1 is not a share", "give a number from 0 to below 1, as in dropout=0.05"),
        ("lora:bias=some", "unknown bias: some", "there are: none, all, lora_only"),
        (
            "lora:preset=alpaca",
            "unknown preset: alpaca",
            "did you mean alpaca-2023? there are: open-instruct-2023, alpaca-2023, finetune-2023, alpaca-lora-2023, "
            "qlora-2023",
        ),
        (
            "lora:targets=q_proj+",
            "targets=q_proj+ names no layer, or one twice",
            "give all-linear, query-value, or names of layers such as targets=q_proj+v_proj",
        ),
        (
            "lora:targets=q_proj+all-linear",
            "targets=q_proj+all-linear: all-linear and query-value stand alone",
            "give all-linear, query-value, or names of layers such as targets=q_proj+v_proj",
        ),
    ],
)
def test_what_is_wrong_is_told_with_what_there_is(text: str, message: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_adapter(text)
    assert caught.value.message == message
    assert caught.value.hint == hint


def test_a_recipe_tells_it_with_everything_else() -> None:
    assert load_recipe("alpaca-7b", ["train.adapter=lora:r=64,alpha=16"]).train.adapter == "lora:r=64,alpha=16"
    with pytest.raises(UserError) as caught:
        load_recipe("alpaca-7b", ["train.adapter=lora:rank=64", "train.lr=-1"])
    assert caught.value.message == (
        "recipe alpaca-7b: train.lr: input should be greater than 0 (found -1); train.adapter: unknown setting of "
        "lora: rank (there are: r, alpha, dropout, targets, bias, preset) (found 'lora:rank=64')"
    )


def test_a_rate_for_all_weights_is_remarked() -> None:
    assert learning_rate_note(parsed("lora"), 2e-5) == (
        "train.lr=2e-05 is a rate for tuning all weights; adapters want 1e-4 to 3e-4"
    )
    assert learning_rate_note(parsed("lora"), 2e-4) is None
    assert learning_rate_note(parsed("lora:preset=open-instruct-2023"), 2e-5) is None
