"""Proves that token tables grow by the mean of their rows, never shrink, and stay tied."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from packtrain.weights.store import open_store
from packtrain.weights.vocabulary import grow_token_tables, mean_of_rows, mean_row, tied_names


def tiny(kind: str, **changes: Any) -> Any:
    from transformers import AutoModelForCausalLM, LlamaConfig, OPTConfig, PhiConfig

    torch.manual_seed(0)
    common = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    kinds: dict[str, Any] = {"llama": LlamaConfig, "phi": PhiConfig}
    if kind == "opt":
        config = OPTConfig(**common | {"ffn_dim": 16, "word_embed_proj_dim": 32, "max_position_embeddings": 16})
    else:
        config = kinds[kind](**common | {"intermediate_size": 16} | changes)
    return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("shape", [(32000, 64), (50265, 32), (777, 128), (320, 64), (17, 32), (16, 32), (1, 32)])
def test_the_mean_equals_torch_s_to_the_bit(shape: tuple[int, int]) -> None:
    table = torch.randn(shape, generator=torch.Generator().manual_seed(shape[0])) * 0.02
    assert mean_of_rows(table, len(table)).equal(table.mean(0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_streamed_mean_equals_that_of_the_whole_table(tmp_path: Path, dtype: torch.dtype) -> None:
    table = torch.randn(1000, 64).to(dtype)
    save_file({"w": table}, tmp_path / "model.safetensors")
    assert mean_row(open_store(tmp_path), "w").equal(table.float().mean(0))


def test_new_rows_are_the_mean_of_the_old_ones() -> None:
    model = tiny("llama", tie_word_embeddings=False)
    before = {table: module.weight.detach().clone() for table, module in tables(model).items()}
    assert grow_token_tables(model, 53) == 3
    assert model.config.vocab_size == 53
    for name, module in tables(model).items():
        old = before[name]
        assert module.weight.detach().equal(torch.cat([old, old.mean(0, keepdim=True).repeat(3, 1)]))
    assert model(torch.tensor([[1, 52]])).logits.shape == (1, 2, 53)


def tables(model: Any) -> dict[str, Any]:
    return {"input": model.get_input_embeddings(), "output": model.get_output_embeddings()}


@pytest.mark.parametrize("kind", ["opt", "llama"])
def test_tied_tables_stay_tied(kind: str) -> None:
    model = tiny(kind) if kind == "opt" else tiny(kind, tie_word_embeddings=True)
    old = model.get_input_embeddings().weight.detach().clone()
    assert grow_token_tables(model, 51) == 1
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert model.get_input_embeddings().weight.detach().equal(torch.cat([old, old.mean(0, keepdim=True)]))


def test_an_output_bias_grows_by_its_mean() -> None:
    model = tiny("phi")
    with torch.no_grad():
        model.lm_head.bias.copy_(torch.arange(50.0))
    grow_token_tables(model, 52)
    assert model.lm_head.bias.detach()[-3:].equal(torch.tensor([49.0, 24.5, 24.5]))


def test_the_mean_of_half_precision_tables_is_taken_in_float32() -> None:
    model = tiny("llama").to(torch.bfloat16)
    old = model.get_input_embeddings().weight.detach().clone()
    grow_token_tables(model, 51)
    assert model.get_input_embeddings().weight[50].detach().equal(old.float().mean(0).to(torch.bfloat16))


@pytest.mark.parametrize("rows", [1, 49, 50])
def test_tables_never_shrink(rows: int) -> None:
    """OPT has 50,272 rows for 50,265 tokens; resizing to the tokenizer would break its checkpoints."""
    model = tiny("opt")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert grow_token_tables(model, rows) == 0
    assert model.config.vocab_size == 50
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())


def test_growing_leaves_the_random_state_alone() -> None:
    model = tiny("llama")
    state = torch.random.get_rng_state()
    grow_token_tables(model, 60)
    assert torch.random.get_rng_state().equal(state)


def names_of(tmp_path: Path, tensors: dict[str, torch.Tensor], bin_file: bool = False) -> Any:
    if bin_file:
        torch.save(tensors, tmp_path / "pytorch_model.bin")
    else:
        save_file(tensors, tmp_path / "model.safetensors")
    return open_store(tmp_path)


EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"


@pytest.mark.parametrize(
    ("config", "tied"),
    [
        ({"architectures": ["OPTForCausalLM"]}, {HEAD: EMBED}),
        ({"architectures": ["LlamaForCausalLM"], "tie_word_embeddings": True}, {HEAD: EMBED}),
        ({"architectures": ["LlamaForCausalLM"], "tie_word_embeddings": False}, {}),
        ({"architectures": ["LlamaModel"]}, {}),
    ],
)
def test_a_missing_output_table_is_a_tied_one(tmp_path: Path, config: dict[str, Any], tied: dict[str, str]) -> None:
    assert tied_names(names_of(tmp_path, {EMBED: torch.zeros(2, 2)}), config) == tied


@pytest.mark.parametrize(("tie", "tied"), [(True, {HEAD: EMBED}), (False, {}), (None, {})])
def test_two_tables_in_the_files_are_tied_when_the_configuration_says_so(
    tmp_path: Path, tie: bool | None, tied: dict[str, str]
) -> None:
    store = names_of(tmp_path, {EMBED: torch.zeros(2, 2), HEAD: torch.zeros(2, 2)})
    assert tied_names(store, {} if tie is None else {"tie_word_embeddings": tie}) == tied


def test_shared_memory_in_a_bin_ties_to_the_input_table(tmp_path: Path) -> None:
    table = torch.randn(2, 2)
    store = names_of(tmp_path, {HEAD: table, EMBED: table}, bin_file=True)
    assert tied_names(store, {}) == {HEAD: EMBED}


@pytest.mark.real_data
def test_losses_with_a_grown_table_equal_the_training_oracle(shared: Path) -> None:
    """The new row takes part in every softmax, so a wrong row would show in all 64 losses."""
    from transformers import AutoModelForCausalLM

    oracle = shared / "data/oracles/training"
    examples = json.loads((oracle / "examples.json").read_text())["examples"]
    expected = json.loads((oracle / "trajectory.json").read_text())["initial_per_example"]
    model = AutoModelForCausalLM.from_pretrained(shared / "data/stories260k", dtype=torch.float32)
    assert grow_token_tables(model, 513) == 1
    with torch.no_grad():
        for start in range(0, len(examples), 16):
            batch = examples[start : start + 16]
            width = max(len(example["labels"]) for example in batch)
            ids = torch.tensor([example["input_ids"] + [512] * (width - len(example["labels"])) for example in batch])
            labels = torch.tensor([example["labels"] + [-100] * (width - len(example["labels"])) for example in batch])
            logits = model(ids).logits[:, :-1].transpose(1, 2)
            losses = torch.nn.functional.cross_entropy(logits, labels[:, 1:], reduction="none").sum(1)
            entries = expected[start : start + 16]
            assert (labels[:, 1:] != -100).sum(1).tolist() == [entry["supervised_tokens"] for entry in entries]
            assert losses.tolist() == pytest.approx([entry["loss_sum"] for entry in entries], rel=1e-5)
