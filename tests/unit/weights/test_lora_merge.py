"""Proves that merging gives what peft's merge_and_unload gives, that it computes what base and adapter compute, and
what is refused."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
)

from packtrain.core.errors import UserError
from packtrain.core.manifest import Manifest, hashes
from packtrain.core.training_record import read_training
from packtrain.weights.lora_merge import merge_lora
from packtrain.weights.store import open_store

pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning:peft", "ignore::RuntimeWarning:peft", "ignore::FutureWarning:transformers"
)

ROWS = 60
TOKENS = torch.randint(3, ROWS, (2, 17), generator=torch.Generator().manual_seed(5))
LINEARS = {
    "llama": ["q_proj", "k_proj", "v_proj", "o_proj", "down_proj"],
    "opt": ["q_proj", "v_proj", "out_proj", "fc1", "fc2"],
    "gpt2": ["c_attn", "c_proj", "c_fc"],
}
TABLES = {"llama": "embed_tokens", "opt": "embed_tokens", "gpt2": "wte"}


def build(architecture: str) -> Any:
    """A random tiny model; llama's output table is its own, the others' is the input table."""
    torch.manual_seed(7)
    if architecture == "llama":
        sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "max_position_embeddings": 64}
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
        return LlamaForCausalLM(LlamaConfig(vocab_size=ROWS, **sizes, **heads, bos_token_id=1, eos_token_id=2))
    if architecture == "opt":
        sizes = {"hidden_size": 32, "ffn_dim": 48, "word_embed_proj_dim": 32, "max_position_embeddings": 64}
        heads = {"num_attention_heads": 4, "num_hidden_layers": 2}
        ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
        return OPTForCausalLM(OPTConfig(vocab_size=ROWS, **sizes, **heads, **ids, dropout=0.0))
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
    return GPT2LMHeadModel(GPT2Config(vocab_size=ROWS, **sizes, bos_token_id=1, eos_token_id=2))


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of the three models; read only."""
    folder = tmp_path_factory.mktemp("bases")
    for architecture in LINEARS:
        build(architecture).save_pretrained(folder / architecture)
    return {architecture: folder / architecture for architecture in LINEARS}


def load(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def make_adapter(base: Path, folder: Path, *, rows: int | None = None, **settings: Any) -> Path:
    """An adapter of peft on `base`, every trainable tensor of it moved as by training."""
    model = load(base)
    if rows is not None:
        model.resize_token_embeddings(rows)
    tuned = peft.get_peft_model(model, peft.LoraConfig(**({"r": 4, "lora_alpha": 6} | settings)))
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator) * 0.05
                parameter.copy_(parameter * (1 + noise) if "magnitude" in name else parameter + noise)
    tuned.save_pretrained(folder)
    return folder


def adapted(base: Path, adapter: Path, rows: int | None = None) -> Any:
    """peft's model of base and adapter, not merged."""
    model = load(base)
    if rows is not None:
        model.resize_token_embeddings(rows)
    return peft.PeftModel.from_pretrained(model, adapter).eval()


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(TOKENS).logits
    return found


def difference(one: Any, other: Any) -> float:
    """Largest absolute difference between the tensors of two models, which must have the same names."""
    mine, theirs = one.state_dict(), other.state_dict()
    assert set(mine) == set(theirs)
    assert all(mine[name].shape == theirs[name].shape for name in mine)
    return max(float((mine[name] - theirs[name]).abs().max()) for name in mine)


def settings_of(architecture: str) -> dict[str, dict[str, Any]]:
    """Adapters that peft can make of an architecture; the embeddings only where no other table hangs on them."""
    linears = LINEARS[architecture]
    settings: dict[str, dict[str, Any]] = {
        "LoRA": {"target_modules": linears},
        "rsLoRA": {"target_modules": linears, "use_rslora": True},
        "DoRA": {"target_modules": linears, "use_dora": True},
        "patterns": {
            "target_modules": linears,
            "rank_pattern": {linears[0]: 2, rf"\w+\.1\.\w+\.{linears[1]}": 8},
            "alpha_pattern": {linears[0][:2]: 99, linears[0]: 16, linears[1]: 3},
        },
        "all biases": {"target_modules": linears[:2], "bias": "all"},
        "its biases": {"target_modules": linears[:2], "bias": "lora_only"},
    }
    if architecture == "llama":
        embeddings = {"target_modules": [*linears, "embed_tokens", "lm_head"]}
        settings |= {
            "embeddings": embeddings,
            "DoRA embeddings": embeddings | {"use_dora": True},
            "whole modules": {"target_modules": linears, "modules_to_save": ["embed_tokens", "lm_head", "norm"]},
        }
    else:
        settings["bias of B"] = {"target_modules": linears, "lora_bias": True}
    return settings


CASES = [(architecture, case) for architecture in LINEARS for case in settings_of(architecture)]


@pytest.mark.parametrize(("architecture", "case"), CASES, ids=" ".join)
def test_tensors_are_those_of_peft(tmp_path: Path, bases: dict[str, Path], architecture: str, case: str) -> None:
    base = bases[architecture]
    adapter = make_adapter(base, tmp_path / "adapter", **settings_of(architecture)[case])
    report = merge_lora(base, adapter, tmp_path / "merged")
    merged, reference = load(tmp_path / "merged"), adapted(base, adapter).merge_and_unload()
    assert difference(merged, reference) <= (1e-6 if "DoRA" in case else 0)
    assert difference(merged, load(base)) > 1e-3
    assert not report.untrained
    assert not report.untied
    torch.testing.assert_close(logits(merged), logits(adapted(base, adapter)), rtol=0, atol=2e-5)


@pytest.mark.parametrize("case", ["LoRA", "DoRA", "embeddings", "DoRA embeddings"])
def test_pieces_of_a_few_rows_give_the_same(
    tmp_path: Path, bases: dict[str, Path], monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    for architecture in ("llama", "gpt2") if case in ("LoRA", "DoRA") else ("llama",):
        adapter = make_adapter(
            bases[architecture], tmp_path / f"{architecture} adapter", **settings_of(architecture)[case]
        )
        merge_lora(bases[architecture], adapter, tmp_path / f"{architecture} whole")
        with monkeypatch.context() as patch:
            patch.setattr("packtrain.weights.lora_merge.CHUNK_ELEMENTS", 150)
            merge_lora(bases[architecture], adapter, tmp_path / f"{architecture} pieces")
        whole, pieces = load(tmp_path / f"{architecture} whole"), load(tmp_path / f"{architecture} pieces")
        assert difference(whole, pieces) <= 1e-7


TIED: dict[str, dict[str, Any]] = {
    "input": {"target_modules": ["fc1", "c_fc", "embed_tokens", "wte"]},
    "input by DoRA": {"target_modules": ["embed_tokens", "wte"], "use_dora": True},
    "output": {"target_modules": ["fc1", "c_fc", "lm_head"]},
    "both": {"target_modules": ["embed_tokens", "wte", "lm_head"]},
    "whole input": {"target_modules": ["fc1", "c_fc"], "modules_to_save": ["embed_tokens", "wte"]},
    "whole output": {"target_modules": ["fc1", "c_fc"], "modules_to_save": ["lm_head"]},
    "new rows, input": {"target_modules": ["fc1", "c_fc", "embed_tokens", "wte"], "rows": 70},
    "new rows, whole output": {"target_modules": ["fc1", "c_fc"], "modules_to_save": ["lm_head"], "rows": 70},
}


@pytest.mark.parametrize(
    ("case", "prefix"), [*((case, "with prefix") for case in TIED), ("input", "without"), ("output", "without")]
)
@pytest.mark.parametrize("architecture", ["opt", "gpt2"])
def test_tied_tables_are_untied_where_the_adapter_parts_them(
    tmp_path: Path, bases: dict[str, Path], architecture: str, case: str, prefix: str
) -> None:
    """peft's own merge changes the other table too: what it gives then is not what base and adapter compute."""
    settings = dict(TIED[case])
    rows = settings.get("rows")
    base = shutil.copytree(bases[architecture], tmp_path / "base")
    if prefix == "without":
        tensors = load_file(base / "model.safetensors")
        short = {name.removeprefix("model.").removeprefix("transformer."): tensor for name, tensor in tensors.items()}
        save_file(short, base / "model.safetensors", metadata={"format": "pt"})
    adapter = make_adapter(base, tmp_path / "adapter", **settings)
    report = merge_lora(base, adapter, tmp_path / "merged")
    assert report.untied
    assert report.token_rows_added == (rows - ROWS if rows else 0)
    merged = load(tmp_path / "merged")
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["tie_word_embeddings"] is False
    assert merged.get_input_embeddings().weight.data_ptr() != merged.get_output_embeddings().weight.data_ptr()
    torch.testing.assert_close(logits(merged), logits(adapted(base, adapter, rows)), rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["fc1", "embed_tokens", "lm_head"], "ensure_weight_tying": True},
        {"target_modules": ["fc1"], "modules_to_save": ["embed_tokens", "lm_head"], "ensure_weight_tying": True},
        {"target_modules": ["fc1"], "rows": 70},
    ],
    ids=["LoRA", "whole module", "new rows"],
)
def test_tied_tables_stay_tied_where_the_adapter_changes_them_together(
    tmp_path: Path, bases: dict[str, Path], settings: dict[str, Any]
) -> None:
    adapter = make_adapter(bases["opt"], tmp_path / "adapter", **settings)
    assert not merge_lora(bases["opt"], adapter, tmp_path / "merged").untied
    merged = load(tmp_path / "merged")
    assert merged.get_input_embeddings().weight.data_ptr() == merged.get_output_embeddings().weight.data_ptr()
    assert "lm_head.weight" not in open_store(tmp_path / "merged")
    reference = adapted(bases["opt"], adapter, settings.get("rows"))
    torch.testing.assert_close(logits(merged), logits(reference), rtol=0, atol=2e-5)


def test_a_table_saved_under_one_of_its_names_stays_tied(tmp_path: Path, bases: dict[str, Path]) -> None:
    adapter = make_adapter(bases["opt"], tmp_path / "adapter", target_modules=["fc1"], rows=70)
    change(adapter, "base_model.model.lm_head.weight", None)
    report = merge_lora(bases["opt"], adapter, tmp_path / "merged")
    assert (report.untied, report.token_rows_added) == (False, 10)
    merged, reference = load(tmp_path / "merged"), adapted(bases["opt"], adapter, 70)
    torch.testing.assert_close(logits(merged), logits(reference), rtol=0, atol=2e-5)


@pytest.mark.parametrize("target", ["fc1", "embed_tokens", "lm_head"])
def test_a_bin_base_whose_tables_share_memory(tmp_path: Path, bases: dict[str, Path], target: str) -> None:
    base = shutil.copytree(bases["opt"], tmp_path / "base")
    (base / "model.safetensors").unlink()
    torch.save(load(bases["opt"]).state_dict(), base / "pytorch_model.bin")
    assert dict(open_store(base).aliases) == {"lm_head.weight": "model.decoder.embed_tokens.weight"}
    adapter = make_adapter(base, tmp_path / "adapter", target_modules=[target])
    assert merge_lora(base, adapter, tmp_path / "merged").untied == (target != "fc1")
    expected = logits(adapted(base, adapter))
    torch.testing.assert_close(logits(load(tmp_path / "merged")), expected, rtol=0, atol=2e-5)


def test_new_token_rows_are_taken_over_and_told(tmp_path: Path, bases: dict[str, Path]) -> None:
    adapter = make_adapter(
        bases["llama"],
        tmp_path / "adapter",
        rows=63,
        target_modules=["q_proj"],
        modules_to_save=["embed_tokens", "lm_head"],
    )
    report = merge_lora(bases["llama"], adapter, tmp_path / "merged")
    merged = load(tmp_path / "merged")
    assert (report.token_rows_added, report.replaced, merged.config.vocab_size) == (3, 2, 63)
    torch.testing.assert_close(logits(merged), logits(adapted(bases["llama"], adapter, 63)), rtol=0, atol=2e-5)
    for name in ("weight", "modules_to_save.weight"):
        change(adapter, f"base_model.model.lm_head.{name}", None)
    error = refused(bases["llama"], adapter)
    assert error.message == "the adapter gives model.embed_tokens.weight 63 token rows, but lm_head.weight has 60"


def test_arithmetic_is_float32_whatever_the_types(tmp_path: Path, bases: dict[str, Path]) -> None:
    base = tmp_path / "base"
    load(bases["llama"]).to(torch.bfloat16).save_pretrained(base)
    adapter = make_adapter(bases["llama"], tmp_path / "adapter", target_modules=["q_proj"])
    tensors = load_file(adapter / "adapter_model.safetensors")
    halves = {name: tensor.to(torch.float16) for name, tensor in tensors.items()}
    save_file(halves, adapter / "adapter_model.safetensors")
    assert merge_lora(base, adapter, tmp_path / "merged").dtype == "bfloat16"
    assert merge_lora(base, adapter, tmp_path / "single", dtype="float32").dtype == "float32"
    name = "model.layers.1.self_attn.q_proj"
    a, b = (halves[f"base_model.model.{name}.lora_{part}.weight"].float() for part in "AB")
    expected = open_store(base)[f"{name}.weight"].float() + b @ a * 1.5
    assert open_store(tmp_path / "single")[f"{name}.weight"].equal(expected)
    assert open_store(tmp_path / "merged")[f"{name}.weight"].equal(expected.bfloat16())
    untouched = "model.layers.1.self_attn.k_proj.weight"
    assert open_store(tmp_path / "merged")[untouched].equal(open_store(base)[untouched])
    said = [json.loads((tmp_path / folder / "config.json").read_text()) for folder in ("merged", "single")]
    assert [config["dtype"] for config in said] == ["bfloat16", "float32"]
    reference = peft.PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16), adapter
    ).merge_and_unload()
    assert difference(load(tmp_path / "merged"), reference) == 0


def test_what_the_module_is_decides_how_its_weight_lies(tmp_path: Path, bases: dict[str, Path]) -> None:
    """Adapters are published that say `fan_in_fan_out` wrongly; square matrices show nothing by their shape."""
    for architecture, module, wrong in (("llama", "o_proj", True), ("gpt2", "attn.c_proj", False)):
        adapter = make_adapter(bases[architecture], tmp_path / f"{architecture} adapter", target_modules=[module])
        configure(adapter, fan_in_fan_out=wrong)
        merge_lora(bases[architecture], adapter, tmp_path / architecture)
        reference = adapted(bases[architecture], adapter).merge_and_unload()
        assert difference(load(tmp_path / architecture), reference) == 0


def test_a_bin_adapter_and_names_with_the_adapters_own_are_read(tmp_path: Path, bases: dict[str, Path]) -> None:
    adapter = make_adapter(bases["llama"], tmp_path / "adapter", target_modules=["q_proj"], use_dora=True)
    first = merge_lora(bases["llama"], adapter, tmp_path / "one")
    tensors = load_file(adapter / "adapter_model.safetensors")
    (adapter / "adapter_model.safetensors").unlink()
    named = {
        name.replace(".weight", ".default.weight").replace("vector", "vector.default.weight"): tensor
        for name, tensor in tensors.items()
    }
    torch.save(named, adapter / "adapter_model.bin")
    assert merge_lora(bases["llama"], adapter, tmp_path / "two").fingerprint == first.fingerprint


def test_an_untrained_adapter_is_merged_and_told(
    tmp_path: Path, bases: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model = peft.get_peft_model(load(bases["llama"]), peft.LoraConfig(target_modules=["q_proj", "embed_tokens"]))
    model.save_pretrained(tmp_path / "adapter")
    report = merge_lora(bases["llama"], tmp_path / "adapter", tmp_path / "merged")
    assert report.untrained
    assert difference(load(tmp_path / "merged"), load(bases["llama"])) == 0
    assert f"the adapter {tmp_path / 'adapter'} is untrained" in " ".join(capsys.readouterr().err.split())


def test_tokenizer_files_are_the_bases_unless_the_adapter_has_its_own(tmp_path: Path, bases: dict[str, Path]) -> None:
    base = shutil.copytree(bases["llama"], tmp_path / "base")
    adapter = make_adapter(base, tmp_path / "adapter", target_modules=["q_proj"])
    for name in ("tokenizer.json", "tokenizer_config.json", "added_tokens.json"):
        (base / name).write_text(f"base {name}")

    def tokenizer_of(out: str) -> dict[str, str]:
        merge_lora(base, adapter, tmp_path / out)
        found = [*(tmp_path / out).glob("*token*"), *(tmp_path / out).glob("*.jinja")]
        return {path.name: path.read_text() for path in found}

    of_base = {name: f"base {name}" for name in ("tokenizer.json", "tokenizer_config.json", "added_tokens.json")}
    assert tokenizer_of("one") == of_base
    (adapter / "chat_template.jinja").write_text("adapter template")
    assert tokenizer_of("two") == of_base | {"chat_template.jinja": "adapter template"}
    (adapter / "tokenizer.json").write_text("adapter tokenizer.json")
    own = {"tokenizer.json": "adapter tokenizer.json", "chat_template.jinja": "adapter template"}
    assert tokenizer_of("three") == own


def test_run_json_names_inputs_and_outputs(tmp_path: Path, bases: dict[str, Path]) -> None:
    adapter = make_adapter(bases["opt"], tmp_path / "adapter", target_modules=["fc1"])
    report = merge_lora(bases["opt"], adapter, tmp_path / "merged")
    run = json.loads((tmp_path / "merged" / "run.json").read_text())
    assert run["stage"] == "convert merge-lora"
    assert set(run["inputs"]["adapter"]) == {"adapter_config.json", "adapter_model.safetensors"}
    assert set(run["outputs"]) == {"tensors", "config.json", "generation_config.json"}
    assert run["outputs"]["tensors"] == run["figures"]["fingerprint"] == report.fingerprint
    assert (report.merged, report.replaced, report.tensors) == (2, 0, len(open_store(bases["opt"])))
    with pytest.raises(UserError, match="exists already"):
        merge_lora(bases["opt"], adapter, tmp_path / "merged")
    again = merge_lora(bases["opt"], adapter, tmp_path / "merged", overwrite=True)
    assert again.fingerprint == report.fingerprint


def test_the_record_of_the_adapters_training_is_carried_on(tmp_path: Path, bases: dict[str, Path]) -> None:
    """From the model in whose folder it lies, as long as it is the adapter that was trained there."""
    tuned = tmp_path / "tuned"
    tuned.mkdir()
    adapter = make_adapter(bases["opt"], tuned / "adapter", target_modules=["fc1"])
    Manifest("train", {"name": "toy", "engine": {}}, {}, hashes(tuned), {"steps": 3}).write(tuned)
    merge_lora(bases["opt"], adapter, tmp_path / "merged")
    record = read_training(tmp_path / "merged")
    assert record is not None
    assert record == read_training(tuned)
    other = make_adapter(bases["opt"], tuned / "adapter", target_modules=["fc2"])
    merge_lora(bases["opt"], other, tmp_path / "other")
    (tuned / "run.json").write_text("[]")
    merge_lora(bases["opt"], other, tmp_path / "third")
    assert [read_training(tmp_path / name) for name in ("other", "third")] == [None, None]


def configure(adapter: Path, **changes: Any) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change(adapter: Path, name: str, tensor: torch.Tensor | None) -> None:
    tensors = load_file(adapter / "adapter_model.safetensors")
    tensors.pop(name, None)
    save_file(tensors if tensor is None else tensors | {name: tensor}, adapter / "adapter_model.safetensors")


def refused(base: Path, adapter: Path, **options: Any) -> UserError:
    out = adapter.parent / "refused"
    with pytest.raises(UserError) as raised:
        merge_lora(base, adapter, out, **options)
    assert "\n" not in raised.value.message + raised.value.hint
    assert not list(adapter.parent.glob("refused*"))
    return raised.value


@pytest.fixture
def adapter(tmp_path: Path, bases: dict[str, Path]) -> Path:
    """A plain adapter of the llama, to be spoilt."""
    return make_adapter(bases["llama"], tmp_path / "adapter", target_modules=["q_proj", "k_proj"], use_dora=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "IA3"}, "an adapter of type 'IA3' cannot be merged"),
        ({"peft_type": None}, "an adapter of type None cannot be merged"),
        ({"r": 0}, "does not describe an adapter (r: Input should be greater than 0)"),
        ({"r": 8}, "model.layers.0.self_attn.k_proj are [4, 32] and [16, 4], but adapter_config.json says rank 8"),
        ({"rank_pattern": {"q_proj": 2}}, "but adapter_config.json says rank 2"),
        ({"alpha_pattern": {"(": 2}}, "'(' is no regular expression"),
        (
            {"use_dora": False},
            "says no use_dora, but there is a lora_magnitude_vector of model.layers.0.self_attn.k_proj",
        ),
        ({"init_lora_weights": "pissa_niter_4"}, "the adapter began as pissa_niter_4, which changes the base"),
        ({"init_lora_weights": "olora"}, "the adapter began as olora"),
        ({"layer_replication": [[0, 2], [1, 2]]}, "an adapter with layer_replication cannot be merged"),
        ({"target_parameters": ["experts"]}, "an adapter with target_parameters cannot be merged"),
        ({"trainable_token_indices": [1, 2]}, "an adapter with trainable_token_indices cannot be merged"),
        ({"alora_invocation_tokens": [5]}, "an adapter with alora_invocation_tokens cannot be merged"),
    ],
    ids=str,
)
def test_a_configuration_that_cannot_be_merged_is_refused(
    bases: dict[str, Path], adapter: Path, changes: dict[str, Any], message: str
) -> None:
    configure(adapter, **changes)
    assert message in refused(bases["llama"], adapter).message


Q = "base_model.model.model.layers.0.self_attn.q_proj"
TENSORS: dict[str, tuple[str, torch.Tensor | None, str]] = {
    "no counterpart": (
        "base_model.model.model.layers.7.norm.weight",
        torch.zeros(3),
        "has no tensor model.layers.7.norm.weight for tensor base_model.model.model.layers.7.norm.weight of ",
    ),
    "one matrix": (f"{Q}.lora_A.weight", None, "only one of the two matrices of model.layers.0.self_attn.q_proj"),
    "no magnitude": (f"{Q}.lora_magnitude_vector", None, "says use_dora, but there is no lora_magnitude_vector"),
    "width": (
        f"{Q}.lora_A.weight",
        torch.zeros(4, 30),
        "made for a tensor [32, 30], but model.layers.0.self_attn.q_proj",
    ),
    "length": (
        f"{Q}.lora_B.weight",
        torch.zeros(31, 4),
        "made for a tensor [31, 32], but model.layers.0.self_attn.q_proj",
    ),
    "magnitude": (
        f"{Q}.lora_magnitude_vector",
        torch.zeros(31),
        "lora_magnitude_vector is made for a tensor [31], but",
    ),
    "bias of B": (f"{Q}.lora_B.bias", torch.zeros(32), "has no tensor model.layers.0.self_attn.q_proj.bias for tensor"),
    "no matrices": (f"{Q}.lora_A.weight", torch.zeros(4, 32, 1, 1), "are [4, 32, 1, 1] and [32, 4]: no matrices"),
    "whole tensor": (
        "base_model.model.model.norm.weight",
        torch.ones(33),
        "made for a tensor [33], but model.norm.weight",
    ),
    "unknown part": (f"{Q}.lora_diag", torch.zeros(4), f"merging does not know tensor {Q}.lora_diag"),
    "twice": (f"{Q}.base_layer.weight", torch.zeros(32, 32), "are the same tensor"),
    "not floating": (f"{Q}.lora_A.weight", torch.zeros(4, 32, dtype=torch.int8), "lora_A.weight has type int8"),
    "infinite": (
        f"{Q}.lora_B.weight",
        torch.full((32, 4), float("inf")),
        "makes tensor model.layers.0.self_attn.q_proj",
    ),
}


@pytest.mark.parametrize("case", TENSORS)
def test_a_tensor_that_does_not_fit_is_named(bases: dict[str, Path], adapter: Path, case: str) -> None:
    name, tensor, message = TENSORS[case]
    change(adapter, name, tensor)
    if case == "twice":
        change(adapter, f"{Q}.weight", torch.zeros(32, 32))
    assert message in refused(bases["llama"], adapter).message


def test_an_adapter_of_another_model_is_refused(tmp_path: Path, bases: dict[str, Path], adapter: Path) -> None:
    error = refused(bases["gpt2"], adapter)
    assert error.message.startswith(f"the base {bases['gpt2']} has no tensor model.layers.0.self_attn.k_proj.weight")
    assert error.hint == "give the base model that the adapter was trained on"


def test_folders_that_hold_no_adapter_are_refused(tmp_path: Path, bases: dict[str, Path], adapter: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert refused(bases["llama"], tmp_path / "empty").message == f"{tmp_path / 'empty'} holds no adapter_config.json"
    swapped = shutil.copytree(bases["llama"], tmp_path / "base")
    error = refused(adapter, swapped)
    assert error.message == f"{swapped} holds no adapter_config.json (it is a whole model)"
    (adapter / "adapter_model.safetensors").unlink()
    assert "holds no weights (looked for adapter_model.safetensors" in refused(bases["llama"], adapter).message
    save_file({}, adapter / "adapter_model.safetensors")
    assert "holds no tensors" in refused(bases["llama"], adapter).message
    (adapter / "adapter_config.json").write_text("[]")
    assert "adapter_config.json is not a JSON object" in refused(bases["llama"], adapter).message


class Malice:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this code must never run",)


def test_an_adapter_that_holds_code_is_refused_and_not_run(
    bases: dict[str, Path], adapter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (adapter / "adapter_model.safetensors").unlink()
    torch.save({f"{Q}.lora_A.weight": Malice()}, adapter / "adapter_model.bin")
    assert str(adapter / "adapter_model.bin") in refused(bases["llama"], adapter).message
    assert "never run" not in capsys.readouterr().out


def test_a_quantised_base_is_refused(tmp_path: Path, bases: dict[str, Path], adapter: Path) -> None:
    base = shutil.copytree(bases["llama"], tmp_path / "base")
    tensors = load_file(base / "model.safetensors")
    name = "model.layers.1.self_attn.k_proj.weight"
    save_file(tensors | {name: tensors[name].to(torch.int8)}, base / "model.safetensors")
    assert f"tensor {name} has type int8: the base is quantised" in refused(base, adapter).message
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"quantization_config": {"bits": 4}}))
    assert refused(base, adapter).message == f"the base {base} is quantised"


def test_unknown_and_too_narrow_types_are_refused(tmp_path: Path, bases: dict[str, Path], adapter: Path) -> None:
    assert refused(bases["llama"], adapter, dtype="int8").message == "unknown dtype: int8"
    base = shutil.copytree(bases["llama"], tmp_path / "base")
    tensors = load_file(base / "model.safetensors")
    tensors["model.norm.weight"][3] = 70000
    save_file(tensors, base / "model.safetensors")
    error = refused(base, adapter, dtype="float16")
    assert error.message == "tensor model.norm.weight has values that float16 cannot hold"


MERGE = """
import resource, sys
from pathlib import Path
from packtrain.weights.lora_merge import merge_lora
from packtrain.weights.store import open_store
merge_lora(Path(sys.argv[1]), Path(sys.argv[3]), Path(sys.argv[2]) / "warm")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
report = merge_lora(Path(sys.argv[2]), Path(sys.argv[4]), Path(sys.argv[2]) / "merged")
print(report.bytes_written, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def test_memory_does_not_grow_with_the_tensors(tmp_path: Path, bases: dict[str, Path]) -> None:
    warm = make_adapter(bases["gpt2"], tmp_path / "warm", target_modules=["c_fc"], use_dora=True)
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    base.mkdir()
    adapter.mkdir()
    shutil.copy(bases["gpt2"] / "config.json", base)
    shape = (2048, 12_000)
    save_file({"h.0.mlp.c_fc.weight": torch.ones(shape)}, base / "model.safetensors")
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 1, "use_dora": True}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    matrices = {"lora_A.weight": torch.ones(2, shape[0]), "lora_B.weight": torch.ones(shape[1], 2)}
    matrices["lora_magnitude_vector"] = torch.ones(shape[1])
    prefix = "base_model.model.transformer.h.0.mlp.c_fc"
    save_file({f"{prefix}.{part}": tensor for part, tensor in matrices.items()}, adapter / "adapter_model.safetensors")
    command = [sys.executable, "-c", MERGE, bases["gpt2"], base, warm, adapter]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([str(each) for each in command], env=environment, check=True, capture_output=True, text=True)
    written, grown = map(int, done.stdout.split())
    assert written > 98 * 10**6
    assert grown < 48 * 2**20
