"""Operations as torch counts them, and peaks under the names that torch gives devices."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    OPTConfig,
    Qwen3Config,
)

from packtrain.train.flops import (
    Work,
    attended,
    flops_per_token,
    mfu,
    peak_flops,
    peak_flops_of,
    training_flops,
    work_of,
)

SIZES: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
CONFIGS = {
    "llama": LlamaConfig(**SIZES, intermediate_size=48, num_key_value_heads=2),
    "llama, tied": LlamaConfig(**SIZES, intermediate_size=48, tie_word_embeddings=True),
    "qwen3, wide heads": Qwen3Config(**SIZES, intermediate_size=48, num_key_value_heads=2, head_dim=16),
    "opt": OPTConfig(**SIZES, ffn_dim=48, word_embed_proj_dim=32, dropout=0.0),
    "neox": GPTNeoXConfig(**SIZES, intermediate_size=48),
    "gpt2": GPT2Config(vocab_size=96, n_embd=32, n_layer=2, n_head=4, n_positions=64),
}


def model_of(config: Any, device: str = "cpu") -> Any:
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, attn_implementation="eager")


@pytest.mark.parametrize("name", CONFIGS)
def test_a_step_costs_what_torch_counts(name: str) -> None:
    """Eager attention computes the positions behind each token too: `length` for each, instead of half of it."""
    model = model_of(CONFIGS[name])
    length = 24
    tokens = torch.randint(3, 96, (1, length))
    counter = FlopCounterMode(display=False)
    with counter:
        model(input_ids=tokens, labels=tokens).loss.backward()
    work = work_of(model)
    whole = Work(
        work.body_weights,
        work.trained_body_weights,
        work.head_weights,
        work.trained_head_weights,
        work.attention_width,
        (),
    )
    attention = 12 * work.attention_width * 2 * length * length
    assert training_flops(whole, [length], length) + attention == pytest.approx(counter.get_total_flops(), rel=0.002)
    assert work == work_of(model_of(CONFIGS[name], "meta"))


def test_a_llama_of_seven_billion() -> None:
    config = LlamaConfig(vocab_size=32001, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32)
    work = work_of(model_of(config, "meta"))
    assert work.body_weights == work.trained_body_weights == 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    assert work.head_weights == work.trained_head_weights == 4096 * 32001
    assert (work.attention_width, work.attention_windows) == (4096, (None,) * 32)
    per_token = 6 * work.body_weights + 0.5 * 6 * work.head_weights + 12 * 32 * 4096 * 129 / 2
    assert flops_per_token(work, 128, 0.5) == pytest.approx(per_token)
    assert flops_per_token(work, 128, 0.5) == pytest.approx(6 * 6.607e9 - 3 * 0.131e9, rel=0.01)


def test_positions_that_are_attended_to() -> None:
    assert attended([1, 2, 5]) == 1 + 3 + 15
    assert attended([5], window=2) == 1 + 2 + 2 + 2 + 2
    assert attended([5], window=9) == 15
    assert attended([]) == 0
    assert attended([0]) == 0


def test_packed_conversations_cost_less_than_one_as_long() -> None:
    work = work_of(model_of(CONFIGS["llama"], "meta"))
    assert training_flops(work, [12, 12], 10) < training_flops(work, [24], 10)
    assert training_flops(work, [24], 10) - training_flops(work, [24], 9) == 6 * 32 * 96


def test_windows_of_layers() -> None:
    mistral = MistralConfig(**SIZES, intermediate_size=48, num_key_value_heads=2, sliding_window=8)
    gemma = Gemma3TextConfig(
        **{**SIZES, "num_hidden_layers": 6},
        intermediate_size=48,
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=8,
        sliding_window_pattern=6,
    )
    qwen = Qwen3Config(**SIZES, intermediate_size=48, num_key_value_heads=2, use_sliding_window=False, sliding_window=8)
    assert work_of(model_of(mistral, "meta")).attention_windows == (8, 8)
    assert work_of(model_of(gemma, "meta")).attention_windows == (8,) * 5 + (None,)
    assert work_of(model_of(qwen, "meta")).attention_windows == (None, None)


def test_of_experts_those_count_that_a_token_goes_through() -> None:
    sizes = {**SIZES, "intermediate_size": 48, "num_key_value_heads": 2}
    two, all_four = (
        work_of(model_of(MixtralConfig(**sizes, num_local_experts=4, num_experts_per_tok=chosen), "meta"))
        for chosen in (2, 4)
    )
    assert all_four.body_weights - two.body_weights == 2 * 2 * 3 * 32 * 48


def test_an_adapter_has_few_gradients() -> None:
    from peft import LoraConfig, get_peft_model

    plain = work_of(model_of(CONFIGS["llama"]))
    lora = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], modules_to_save=["lm_head"], task_type="CAUSAL_LM")
    work = work_of(get_peft_model(model_of(CONFIGS["llama"]), lora))
    adapter = 2 * (2 * (32 + 32) + 2 * (32 + 16))
    assert work.trained_body_weights == adapter
    assert work.body_weights == plain.body_weights + adapter
    assert (work.head_weights, work.trained_head_weights) == (plain.head_weights, plain.head_weights)
    frozen = training_flops(work, [24], 0) - training_flops(plain, [24], 0)
    assert frozen == 24 * (6 * adapter - 2 * plain.body_weights)


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A100 80GB PCIe", 312),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 NVL", 835),
        ("NVIDIA H200", 989),
        ("NVIDIA GH200 480GB", 989),
        ("NVIDIA B200", 2250),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("NVIDIA A10", 125),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA GeForce RTX 3090 Ti", 80),
        ("NVIDIA GeForce RTX 3090", 71),
        ("NVIDIA RTX A6000", 154.8),
        ("NVIDIA RTX 6000 Ada Generation", 364.2),
        ("AMD Instinct MI300X", 1307.4),
        ("AMD Instinct MI250X / MI250", 191.5),
    ],
)
def test_known_devices(name: str, tflops: float) -> None:
    for dtype in (torch.bfloat16, torch.float16):
        assert peak_flops_of(name, dtype) == pytest.approx(tflops * 1e12)
    assert peak_flops_of(name, torch.float32) is None


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA A10G",
        "NVIDIA GeForce GTX 1080",
        "",
    ],
)
def test_what_is_not_known_is_not_guessed(name: str) -> None:
    assert peak_flops_of(name, torch.bfloat16) is None


def test_old_tensor_cores_multiply_float16_alone() -> None:
    assert peak_flops_of("Tesla V100-SXM2-32GB", torch.float16) == 125e12
    assert peak_flops_of("Tesla V100-PCIE-16GB", torch.float16) == 112e12
    assert peak_flops_of("Tesla T4", torch.float16) == 65e12
    assert peak_flops_of("Tesla V100-SXM2-32GB", torch.bfloat16) is None
    assert peak_flops_of("Tesla T4", torch.bfloat16) is None


def test_utilisation() -> None:
    assert peak_flops(torch.device("cpu"), torch.bfloat16) is None
    assert mfu(3e15, 2.0, 1e15, devices=3) == pytest.approx(0.5)
    assert mfu(3e15, 2.0, None) is None
    assert mfu(3e15, 0.0, 1e15) is None


class PackedLinear(torch.nn.Module):
    """A matrix of 8 x 6 in 4 bits, as bitsandbytes keeps it: two weights a byte."""

    def __init__(self) -> None:
        super().__init__()
        self.in_features, self.out_features = 8, 6
        self.weight = torch.nn.Parameter(torch.zeros(24, 1, dtype=torch.uint8), requires_grad=False)


def test_what_zero_3_leaves_counts_as_the_whole() -> None:
    plain, spread = model_of(CONFIGS["llama"]), model_of(CONFIGS["llama"])
    for parameter in spread.parameters():
        parameter.ds_shape = parameter.shape
        parameter.data = torch.empty(0)
    assert work_of(spread) == work_of(plain)


def test_packed_weights_count_as_what_they_stand_for() -> None:
    model = model_of(CONFIGS["llama"], "meta")
    plain = work_of(model)
    model.extra = PackedLinear()
    assert work_of(model).body_weights - plain.body_weights == 48
    assert work_of(model).trained_body_weights == plain.trained_body_weights
