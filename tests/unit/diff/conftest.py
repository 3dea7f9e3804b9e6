"""Tiny models on disk: a base, and a tuned version of it with one more token row."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from packtrain.weights.vocabulary import grow_token_tables


class Models(NamedTuple):
    """Folders of a base, of its tuned version, and a place for what a test makes."""

    base: Path
    tuned: Path
    work: Path


def tiny_model(kind: str) -> Any:
    """A random model of under 40,000 parameters: `llama` untied, `opt` tied."""
    from transformers import AutoModelForCausalLM, LlamaConfig, OPTConfig

    common = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    common |= {"max_position_embeddings": 32}
    config = (
        OPTConfig(**common, ffn_dim=48, word_embed_proj_dim=32)
        if kind == "opt"
        else LlamaConfig(**common, intermediate_size=48, tie_word_embeddings=False)
    )
    return AutoModelForCausalLM.from_config(config)


def save(model: Any, folder: Path, form: str) -> None:
    """Write a model as `safetensors`, as `shards` of safetensors, or as one `bin`."""
    if form == "bin":
        folder.mkdir()
        model.config.save_pretrained(folder)
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    else:
        model.save_pretrained(folder, max_shard_size="30KB" if form == "shards" else "5GB")
    (folder / "tokenizer_config.json").write_text(json.dumps({"made_for": folder.name}))
    (folder / "notes.txt").write_text("not part of the model")


@pytest.fixture
def make_models(tmp_path: Path) -> Callable[..., Models]:
    """Builds `Models`: kind, form of both folders, type of the base, rows added to the tuned one."""

    def build(kind: str = "llama", form: str = "safetensors", dtype: str = "float16", rows: int = 1) -> Models:
        torch.manual_seed(7)
        model = tiny_model(kind).to(getattr(torch, dtype))
        save(model, tmp_path / "base", form)
        model = model.float()
        grow_token_tables(model, model.config.vocab_size + rows)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += torch.randn_like(parameter) * 1e-3
                parameter *= 1.001  # so that not every difference is a float32 number
        save(model, tmp_path / "tuned", form)
        work = tmp_path / "work"
        work.mkdir()
        return Models(tmp_path / "base", tmp_path / "tuned", work)

    return build


@pytest.fixture
def models(make_models: Callable[..., Models]) -> Models:
    """A float16 base and its float32 tuned version, LLaMA, safetensors."""
    return make_models()
