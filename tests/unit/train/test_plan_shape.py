"""What models weigh, from their configuration alone."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from packtrain.core.adapter import parse_adapter
from packtrain.core.errors import UserError
from packtrain.core.recipe import Base
from packtrain.core.recipe_file import load_recipe, recipe_names
from packtrain.train.plan.model_shape import (
    FoundConfig,
    empty_model,
    find_config,
    read_config,
    shape_of,
    shipped_shapes,
)


def shape(path: str, adapter: str = "none") -> Any:
    return shape_of(empty_model(read_config(find_config(Base(path=path))), parse_adapter(adapter)))


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("llama-7b", 6_738_415_616),
        ("llama-13b", 13_015_864_320),
        ("llama-30b", 32_528_943_616),
        ("llama-65b", 65_285_660_672),
        ("opt-6.7b", 6_658_473_984),
        ("galactica-6.7b", 6_655_647_744),
    ],
)
def test_published_bases(name: str, weights: int) -> None:
    found = shape(name)
    assert found.weights == weights == found.trained
    assert found.embeddings + found.head + found.in_layers + found.rest == weights
    assert found.in_layers == found.layers * found.largest_layer
    assert found.linear <= found.in_layers
    assert found.context_tokens == 2048


def test_every_shipped_recipe_can_be_planned_without_its_base() -> None:
    for name in recipe_names():
        base = load_recipe(name).base
        if name == "default":
            continue
        found = find_config(base)
        assert found.values["model_type"] in ("llama", "opt"), name
        assert (found.folder is None) == (base.path != "packtrain:demo_base")


@pytest.mark.parametrize("path", ["llama-7b", "decapoda/llama-7b-hf", "/data/LLaMA-7B", "huggyllama/llama-7b@main"])
def test_a_known_base_is_known_by_the_last_part_of_its_path(path: str) -> None:
    assert find_config(Base(path=path)).values == shipped_shapes()["llama-7b"]


def test_a_tiny_base_counts_as_loaded(tiny_base: Path, tiny_opt: Path) -> None:
    from transformers import AutoModelForCausalLM

    for folder in (tiny_base, tiny_opt):
        loaded = AutoModelForCausalLM.from_pretrained(folder)
        found = shape(str(folder))
        assert found.weights == sum(weight.numel() for weight in loaded.parameters())
        assert found.layers == 2
        assert (found.head == 0) == bool(loaded.config.tie_word_embeddings)
        assert found.largest_tensor == max(weight.numel() for weight in loaded.parameters())
        assert find_config(Base(path=str(folder))).folder == folder


def test_an_adapter_trains_what_it_adds() -> None:
    found = shape("llama-7b", "lora:r=8,targets=q_proj+v_proj")
    assert found.added == found.trained == 32 * 2 * 8 * (4096 + 4096)
    assert found.weights == 6_738_415_616
    assert found.linear == 32 * (4 * 4096**2 + 3 * 4096 * 11008)


def test_a_configuration_given_as_a_file_or_folder(tiny_opt: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text((tiny_opt / "config.json").read_text())
    base = Base(path="not/there")
    assert find_config(base, file).values == find_config(base, tiny_opt).values
    assert find_config(base, file).folder is None


def test_wrong_configurations_are_told(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    with pytest.raises(UserError, match="cannot read"):
        find_config(Base(path="x"), file)
    file.write_text("{")
    with pytest.raises(UserError, match="is not valid JSON"):
        find_config(Base(path="x"), file)
    file.write_text(json.dumps({"model_type": "walrus"}))
    with pytest.raises(UserError, match="transformers knows no model_type 'walrus'"):
        read_config(find_config(Base(path="x"), file))
    file.write_text(json.dumps({"model_type": "llama", "hidden_size": "wide"}))
    with pytest.raises(UserError, match="config.json"):
        read_config(find_config(Base(path="x"), file))
    vision = FoundConfig({"model_type": "vit"}, "here")
    with pytest.raises(UserError, match="no causal language model of model_type vit"):
        empty_model(read_config(vision), None)


def test_a_base_that_is_nowhere_is_told_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="no model folder at some-model") as caught:
        find_config(Base(path="some-model"))
    assert "llama-65b" in caught.value.hint
    assert "--model-config" in caught.value.hint


def test_a_base_that_the_hub_cannot_give_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def nothing(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", nothing)
    with pytest.raises(UserError, match=r"someone/model is neither a folder nor can its config.json be fetched"):
        find_config(Base(path="someone/model"))


def test_the_model_has_no_memory() -> None:
    model = empty_model(read_config(find_config(Base(path="llama-65b"))), None)
    assert all(weight.device == torch.device("meta") for weight in model.parameters())
