"""A micro-batch followed through the model without data takes what it takes with data."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch

from packtrain.core.adapter import parse_adapter
from packtrain.core.engine import Engine
from packtrain.core.errors import UserError
from packtrain.train import attention
from packtrain.train.plan import rehearsal
from packtrain.train.plan.model_shape import FoundConfig, empty_model, read_config
from packtrain.train.plan.rehearsal import Rehearsal, Row, rehearse

FP32, BF16 = torch.float32, torch.bfloat16
LIKE_LLAMA = {
    "vocab_size": 200,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 1024,
}
KINDS: dict[str, dict[str, Any]] = {
    "llama": LIKE_LLAMA,
    "qwen3": LIKE_LLAMA,
    "mistral": {**LIKE_LLAMA, "sliding_window": 16},
    "gemma2": {**LIKE_LLAMA, "sliding_window": 16, "query_pre_attn_scalar": 16},
    "gemma3_text": {**LIKE_LLAMA, "sliding_window": 16},
    "mixtral": LIKE_LLAMA,
    "opt": {**LIKE_LLAMA, "word_embed_proj_dim": 64, "ffn_dim": 128, "dropout": 0.0},
    "gpt_neox": LIKE_LLAMA,
    "gpt2": {"vocab_size": 200, "n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 1024},
}
ROW = Row((40, 60, 28), 50)
RECOMPUTED = Engine(activation_checkpointing=True)


def model_of(kind: str, adapter: str = "none", *, recomputed: bool = False, **changes: Any) -> Any:
    found = FoundConfig({"model_type": kind, **KINDS[kind], **changes}, "here")
    return empty_model(read_config(found), parse_adapter(adapter), recomputed=recomputed)


def taken(kind: str = "llama", row: Row = ROW, dtype: torch.dtype = FP32, **how: Any) -> Rehearsal:
    engine = how.pop("engine", Engine())
    on_gpu, there = how.pop("on_gpu", False), how.pop("gradients_there", False)
    model = model_of(kind, how.pop("adapter", "none"), recomputed=engine.activation_checkpointing, **how)
    return rehearse(model, row, dtype, engine, on_gpu=on_gpu, gradients_there=there)


@pytest.mark.parametrize("dtype", [FP32, BF16])
@pytest.mark.parametrize("engine", [Engine(), RECOMPUTED, Engine(attention="eager")], ids=["kept", "again", "eager"])
@pytest.mark.parametrize("kind", ["llama", "opt"])
def test_tensors_without_data_are_those_with_data(
    kind: str, engine: Engine, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = taken(kind, dtype=dtype, engine=engine)
    monkeypatch.setattr(rehearsal, "FakeTensorMode", nullcontext)
    assert taken(kind, dtype=dtype, engine=engine) == without


@pytest.mark.parametrize("on_gpu", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_can_be_followed(kind: str, on_gpu: bool) -> None:
    for engine, dtype in ((Engine(), BF16), (RECOMPUTED, FP32)):
        found = taken(kind, dtype=dtype, engine=engine, on_gpu=on_gpu)
        assert 0 < found.forward < found.peak
        assert found.loss > 0
        assert 0 <= found.gradients <= found.peak
        assert found.largest <= found.peak


def test_twice_the_tokens_take_twice_the_activations() -> None:
    for on_gpu in (False, True):
        once = taken(row=Row((64,) * 2, 64), on_gpu=on_gpu)
        twice = taken(row=Row((64,) * 4, 128), on_gpu=on_gpu)
        assert twice.forward == pytest.approx(2 * once.forward, rel=0.02)


def test_computing_layers_again_keeps_little_more_than_their_inputs() -> None:
    tokens, hidden, layers = ROW.tokens, 64, 3
    kept, again = taken(), taken(engine=RECOMPUTED)
    assert again.forward < kept.forward / 4
    assert again.forward >= layers * tokens * hidden * 4
    deeper = taken(engine=RECOMPUTED, num_hidden_layers=5).forward - again.forward
    assert deeper == pytest.approx(2 * tokens * hidden * 4, rel=0.05)


def test_half_the_precision_takes_about_half() -> None:
    assert 0.45 < taken(dtype=BF16, on_gpu=True).forward / taken(on_gpu=True).forward < 0.65


def test_scores_are_kept_by_eager_attention_alone() -> None:
    row = Row((512,), 10)
    scores = 3 * 4 * 512**2 * 4
    eager = taken(row=row, engine=Engine(attention="eager"))
    assert eager.forward > taken(row=row).forward + 0.9 * scores
    assert taken(row=row, on_gpu=True).forward < taken(row=row).forward < scores


def test_logits_of_learnt_tokens_alone() -> None:
    few, many = (taken(row=Row((128,), learnt), on_gpu=True, vocab_size=5000) for learnt in (10, 100))
    assert many.loss - few.loss == pytest.approx(90 * 5000 * 4, rel=0.02)


def test_gradients_there_are_counted_and_the_others_as_they_come() -> None:
    weights = sum(weight.numel() for weight in model_of("llama").parameters())
    assert taken(gradients_there=True).gradients == 4 * weights
    first = taken()
    assert first.gradients < 4 * weights
    assert first.peak <= taken(gradients_there=True).peak


def test_an_adapter_has_few_gradients_and_all_activations() -> None:
    tuned = taken(adapter="lora:r=4", gradients_there=True)
    assert tuned.gradients == 4 * sum(w.numel() for w in model_of("llama", "lora:r=4").parameters() if w.requires_grad)
    assert tuned.forward > taken().forward / 3


def test_rows_that_are_not_packed_count_their_padding() -> None:
    apart = Row((10, 20, 64), 40, packed=False)
    assert apart.tokens == 192
    assert taken(row=apart).forward > taken(row=Row((10, 20, 64), 40)).forward


def test_nothing_is_left_behind_for_training() -> None:
    attention._seen.cache_clear()
    taken("mistral", dtype=BF16)
    assert attention._seen.cache_info().currsize == 0
    mask = attention._seen(4, 2, torch.device("cpu"))
    assert mask.sum() == 7


def test_attention_that_cannot_be_followed_is_told() -> None:
    with pytest.raises(UserError, match="cannot follow LlamaForCausalLM without data"):
        taken(engine=Engine(attention="flash_attention_2"))
