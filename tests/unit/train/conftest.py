"""Tiny random bases of many architectures, and random conversations for them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from packtrain.prompts.encode import IGNORED, Example
from packtrain.train.distributed import Processes

VOCABULARY = 99
LIKE_LLAMA: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
WITH_EXPERTS: dict[str, Any] = {**LIKE_LLAMA, "num_experts_per_tok": 2, "num_local_experts": 4}
LIKE_GPT2: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 128,
    "initializer_range": 0.2,
    "attn_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "resid_pdrop": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 4,
    "long_factor": [1.0, 2.0, 4.0, 8.0],
}
MIXED = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 6}
EYES = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28}
STATES = {"attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 4, "use_mamba_kernels": False}
WITHOUT_WIDTH = {key: value for key, value in LIKE_LLAMA.items() if key != "head_dim"}
BASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", LIKE_LLAMA),
    "llama3": ("llama", {**LIKE_LLAMA, "rope_parameters": LLAMA3_ROPE, "tie_word_embeddings": True}),
    "qwen3": ("qwen3", LIKE_LLAMA),
    "mistral": ("mistral", {**LIKE_LLAMA, "sliding_window": 6}),
    "mistral, wide": ("mistral", {**LIKE_LLAMA, "sliding_window": 64}),
    "gemma2": ("gemma2", {**LIKE_LLAMA, "sliding_window": 6, "query_pre_attn_scalar": 8}),
    "gemma3": ("gemma3_text", {**LIKE_LLAMA, **MIXED}),
    "gemma3, seeing": (
        "gemma3",
        {"text_config": {**LIKE_LLAMA, **MIXED}, "vision_config": {**EYES, "patch_size": 14}, "mm_tokens_per_image": 4},
    ),
    "opt": ("opt", {**LIKE_LLAMA, "ffn_dim": 48, "word_embed_proj_dim": 32, "init_std": 0.2, "dropout": 0.0}),
    "gpt_neox": ("gpt_neox", LIKE_LLAMA),
    "gpt2": ("gpt2", LIKE_GPT2),
    "gptj": ("gptj", {**LIKE_GPT2, "rotary_dim": 4}),
    "phi": ("phi", LIKE_LLAMA),
    "phi3": ("phi3", {**LIKE_LLAMA, "rope_parameters": LONG_ROPE, "original_max_position_embeddings": 16}),
    "cohere": ("cohere", LIKE_LLAMA),
    "falcon": ("falcon", {**WITHOUT_WIDTH, "alibi": True}),
    "bloom": ("bloom", {**LIKE_LLAMA, "n_layer": 2, "n_head": 4, "hidden_dropout": 0.0}),
    "mixtral": ("mixtral", WITH_EXPERTS),
    "gpt_oss": ("gpt_oss", {**WITH_EXPERTS, **MIXED, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}),
    "mamba": ("mamba", {**LIKE_LLAMA, "state_size": 4}),
    "jamba": ("jamba", {**LIKE_LLAMA, **STATES}),
    "bert": ("bert", {**LIKE_LLAMA, "is_decoder": False}),
}
BuildBase = Callable[..., Any]


@pytest.fixture(scope="session")
def build_base() -> BuildBase:
    """Makes the random model called so in BASES, in float32; keywords change its configuration."""
    from transformers import AutoConfig, AutoModelForCausalLM

    def build(name: str, **changes: object) -> Any:
        kind, settings = BASES[name]
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**settings, **changes})).float().eval()

    return build


def random_conversations(lengths: Sequence[int], *, seed: int = 0, vocabulary: int = VOCABULARY) -> list[Example]:
    """Examples of these lengths from two data sets, learnt from their middle on, with a token left out in between."""
    random = np.random.default_rng(seed)
    made = []
    for number, length in enumerate(lengths):
        ids = random.integers(3, vocabulary, length, np.int32)
        labels = ids.copy()
        labels[: length // 2] = IGNORED
        labels[3 * length // 4] = IGNORED
        made.append(Example("odd" if number % 2 else "even", str(number), ids, labels))
    return made


@pytest.fixture(scope="session")
def conversations() -> Callable[..., list[Example]]:
    """Makes examples of given lengths."""
    return random_conversations


@pytest.fixture(scope="session")
def one_process() -> Processes:
    """This process alone, on the CPU."""
    return Processes(rank=0, world_size=1, local_rank=0, device=torch.device("cpu"))
