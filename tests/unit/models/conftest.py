"""Tiny random models of many architectures, as folders with a tokenizer, loaded as anybody would."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from packtrain.models.local import LocalModel

LIKE_LLAMA: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
LIKE_GPT2: dict[str, Any] = {
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 512,
    "initializer_range": 0.3,
    "attn_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "resid_pdrop": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
NARROW = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 24}
WITHOUT_WIDTH = {key: value for key, value in LIKE_LLAMA.items() if key != "head_dim"}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", LIKE_LLAMA),
    "opt": ("opt", {**LIKE_LLAMA, "ffn_dim": 48, "word_embed_proj_dim": 32, "init_std": 0.3, "dropout": 0.0}),
    "gpt2": ("gpt2", LIKE_GPT2),
    "gpt_neox": ("gpt_neox", LIKE_LLAMA),
    "gptj": ("gptj", {**LIKE_GPT2, "rotary_dim": 4}),
    "qwen3": ("qwen3", LIKE_LLAMA),
    "gemma3": ("gemma3_text", {**LIKE_LLAMA, **NARROW}),
    "mistral": ("mistral", {**LIKE_LLAMA, "sliding_window": 24}),
    "mistral, wide": ("mistral", {**LIKE_LLAMA, "sliding_window": 4096}),
    "gpt_oss": (
        "gpt_oss",
        {
            **LIKE_LLAMA,
            **NARROW,
            "num_experts_per_tok": 2,
            "num_local_experts": 4,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
        },
    ),
    "falcon": ("falcon", {**WITHOUT_WIDTH, "alibi": True}),
    "bloom": ("bloom", {**LIKE_LLAMA, "n_layer": 2, "n_head": 4, "hidden_dropout": 0.0}),
    "mamba": ("mamba", {**LIKE_LLAMA, "state_size": 4}),
}
PLAIN = ("llama", "opt", "gpt2", "gpt_neox")
WAYS = {"mamba": "foreign", **dict.fromkeys(("gptj", "gpt_oss", "falcon", "bloom"), "copied")}
"""Of those that do not attend together to what their rows share."""
OpenModel = Callable[[str], LocalModel]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, tiny_base: Any) -> OpenModel:
    """Opens the random model called so in ARCHITECTURES, in float32; the same one each time."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    @cache
    def opened(name: str) -> LocalModel:
        kind, settings = ARCHITECTURES[name]
        folder = tmp_path_factory.mktemp("architecture") / kind
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, vocab_size=300, **settings))
        model.save_pretrained(folder)
        for part in ("tokenizer.json", "tokenizer_config.json"):
            (folder / part).write_bytes((tiny_base / part).read_bytes())
        return LocalModel(folder)

    return opened
