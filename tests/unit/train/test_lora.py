"""Adapters: what is trained, that it begins the same everywhere, and that what is saved is what was trained.

Models are tiny and random; training is a plain loop of AdamW.
"""

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from packtrain.core.adapter import AdapterSpec, parse_adapter
from packtrain.core.errors import UserError
from packtrain.models.load import load_causal_lm
from packtrain.train import adapter_check
from packtrain.train.adapter_check import compare
from packtrain.train.adapter_export import AdapterReport, export_adapter
from packtrain.train.lora import attach, base_name, describe, fill, initialise, rows_to_train, saved_names
from packtrain.train.optimizer import whole
from packtrain.train.quantised import load_quantised
from packtrain.weights.store import open_store
from packtrain.weights.vocabulary import grow_token_tables, mean_row

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers")

ROWS = 60
TEXT = torch.randint(3, ROWS, (4, 12), generator=torch.Generator().manual_seed(5))
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64}
GATED = SIZES | {"intermediate_size": 48, "num_key_value_heads": 2}
IDS = {"bos_token_id": 1, "eos_token_id": 2}


def build(architecture: str) -> Any:
    """A random model of 60 token rows; the output table of opt and gpt2 is the input table."""
    torch.manual_seed(7)
    if architecture == "llama":
        return LlamaForCausalLM(LlamaConfig(vocab_size=ROWS, **GATED, **IDS))
    if architecture == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(vocab_size=ROWS, **GATED, **IDS, head_dim=8))
    if architecture == "neox":
        return GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=ROWS, **SIZES, **IDS, intermediate_size=48))
    if architecture == "opt":
        own = {"ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.0, "pad_token_id": 0}
        return OPTForCausalLM(OPTConfig(vocab_size=ROWS, **SIZES, **IDS, **own))
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=ROWS,
            n_embd=32,
            n_layer=2,
            n_head=4,
            n_positions=64,
            **IDS,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        )
    )


ARCHITECTURES = ("llama", "opt", "neox", "gpt2", "qwen3")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of the models; read only."""
    folder = tmp_path_factory.mktemp("bases")
    for architecture in ARCHITECTURES:
        build(architecture).save_pretrained(folder / architecture)
    return {architecture: folder / architecture for architecture in ARCHITECTURES}


def spec_of(text: str) -> AdapterSpec:
    spec = parse_adapter(text)
    assert spec is not None
    return spec


def adapted(base: Path, text: str, rows: int = ROWS, new_rows: Sequence[int] = (), seed: int = 1) -> Any:
    """The model in `base` with an adapter as training begins."""
    model = load_causal_lm(base, torch.float32)
    grow_token_tables(model, rows)
    attach(model, spec_of(text), new_rows)
    initialise(model, seed)
    return model


def train(model: Any, text: torch.Tensor = TEXT, steps: int = 3) -> float:
    """Train in place; the loss of the last step."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2, weight_decay=0)
    loss = float("nan")
    model.train()
    for _ in range(steps):
        step: torch.Tensor = model(input_ids=text, labels=text, use_cache=False).loss
        torch.autograd.backward(step)
        optimizer.step()
        optimizer.zero_grad()
        loss = step.item()
    return loss


def logits(model: Any, text: torch.Tensor = TEXT) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=text, use_cache=False).logits
    return found


def tensors(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    return ((name, parameter.detach()) for name, parameter in model.named_parameters())


def export(model: Any, text: str, base: Path, folder: Path, dtype: str = "float32", given: Any = None) -> AdapterReport:
    folder.mkdir(exist_ok=True)
    given = tensors(model) if given is None else given
    return export_adapter(model, given, spec_of(text), base=base, base_name="some/base", folder=folder, dtype=dtype)


def reloaded(base: Path, adapter: Path, rows: int = ROWS) -> Any:
    """What peft makes of base and adapter."""
    model = load_causal_lm(base, torch.float32)
    if rows != ROWS:
        model.resize_token_embeddings(rows)
    return peft.PeftModel.from_pretrained(model, adapter)


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [
        ("llama", "lora:dropout=0.1"),
        ("llama", "rslora:r=4"),
        ("opt", "dora"),
        ("opt", "rslora:bias=all"),
        ("neox", "dora:targets=query-value"),
        ("gpt2", "lora:targets=query-value"),
        ("gpt2", "dora"),
        ("qwen3", "dora"),
    ],
)
def test_base_plus_saved_adapter_and_merged_model_are_what_was_trained(
    tmp_path: Path, bases: dict[str, Path], architecture: str, kind: str
) -> None:
    base = bases[architecture]
    model = adapted(base, kind)
    untouched = load_causal_lm(base, torch.float32)
    torch.testing.assert_close(logits(model), logits(untouched), rtol=0, atol=1e-6)  # an adapter begins as nothing
    first, last = train(model, steps=1), train(model)
    assert last < first
    kept = {base_name(name): parameter for name, parameter in model.named_parameters() if base_name(name)}
    assert set(kept) == set(dict(untouched.named_parameters()))
    changed = {name for name, parameter in kept.items() if not parameter.equal(untouched.get_parameter(name))}
    assert changed == {name for name in kept if name.endswith("bias") and "bias=all" in kind}
    report = export(model, kind, base, tmp_path / "out")
    wanted = logits(model)
    assert float((wanted - logits(untouched)).abs().max()) > 0.01
    torch.testing.assert_close(logits(reloaded(base, tmp_path / "out" / "adapter")), wanted, rtol=0, atol=1e-6)
    torch.testing.assert_close(logits(load_causal_lm(tmp_path / "out", torch.float32)), wanted, rtol=0, atol=1e-5)
    assert (report.agreement.compared, report.agreement.difference < 1e-5) == ("logits", True)
    assert (report.untrained, report.merge.method.lower()) == ((), kind.partition(":")[0])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["adapter", "config.json", "model.safetensors"]


def test_the_adapter_s_files_are_those_of_peft(tmp_path: Path, bases: dict[str, Path]) -> None:
    model = adapted(bases["gpt2"], "dora:bias=lora_only")
    train(model)
    report = export(model, "dora:bias=lora_only", bases["gpt2"], tmp_path / "out")
    ours = tmp_path / "out" / "adapter"
    reloaded(bases["gpt2"], ours).save_pretrained(tmp_path / "theirs", save_embedding_layers=False)
    mine, theirs = (load_file(folder / "adapter_model.safetensors") for folder in (ours, tmp_path / "theirs"))
    assert set(mine) == set(theirs)
    assert all(mine[name].equal(theirs[name]) for name in mine)
    stated = [json.loads((folder / "adapter_config.json").read_text()) for folder in (ours, tmp_path / "theirs")]
    for each in stated:
        each["target_modules"] = sorted(each["target_modules"])
    assert stated[0] == {**stated[1], "base_model_name_or_path": "some/base"}
    assert list(stated[0]["target_modules"]) == ["c_attn", "c_fc", "c_proj"]
    assert (report.tensors, report.parameters) == (len(mine), sum(tensor.numel() for tensor in mine.values()))


@pytest.mark.parametrize(
    ("architecture", "kind"), [("llama", "dora:r=4"), ("opt", "lora:r=4"), ("gpt2", "dora:r=4"), ("neox", "lora:r=4")]
)
def test_rows_of_new_tokens_are_trained_and_nothing_else_of_the_tables(
    tmp_path: Path, bases: dict[str, Path], architecture: str, kind: str
) -> None:
    """62 is the padding token: it gets a row, the mean of the others, that is not trained."""
    base, tied = bases[architecture], architecture in ("opt", "gpt2")
    new = rows_to_train(base, 63, pad_id=62)
    assert new == (60, 61)
    model = adapted(base, kind, rows=63, new_rows=new)
    train(model, torch.randint(3, 62, (4, 12), generator=torch.Generator().manual_seed(8)))
    report = export(model, kind, base, tmp_path / "out")
    text = torch.tensor([[5, 60, 7, 61, 9]])
    again = reloaded(base, tmp_path / "out" / "adapter", rows=63)
    torch.testing.assert_close(logits(again, text)[..., :62], logits(model, text)[..., :62], rtol=0, atol=1e-6)
    merged = load_causal_lm(tmp_path / "out", torch.float32)
    torch.testing.assert_close(logits(merged, text), logits(model, text), rtol=0, atol=1e-5)
    assert merged.config.vocab_size == 63
    tables = [merged.get_input_embeddings().weight, merged.get_output_embeddings().weight]
    assert (tables[0] is tables[1]) == tied
    assert report.merge.token_rows_added == 3
    store = open_store(base)
    untouched = load_causal_lm(base, torch.float32)
    for table, old in zip(tables, (untouched.get_input_embeddings(), untouched.get_output_embeddings()), strict=True):
        mean = mean_row(store, next(name for name in store if store[name].equal(old.weight)))
        assert table[:ROWS].equal(old.weight)
        assert table[62].equal(mean)
        assert not table[60].equal(mean)
    delta = [name for name in saved_names(model).values() if "trainable_tokens" in name]
    assert len(delta) == (1 if tied else 2)


def test_a_padding_row_alone_leaves_the_adapter_a_plain_one(tmp_path: Path, bases: dict[str, Path]) -> None:
    assert rows_to_train(bases["llama"], ROWS + 1, pad_id=ROWS) == ()
    model = adapted(bases["llama"], "lora", rows=ROWS + 1)
    train(model)
    export(model, "lora", bases["llama"], tmp_path / "out")
    merged = load_causal_lm(tmp_path / "out", torch.float32)
    torch.testing.assert_close(logits(merged), logits(model), rtol=0, atol=1e-5)
    assert merged.config.vocab_size == ROWS + 1
    plain = logits(reloaded(bases["llama"], tmp_path / "out" / "adapter"))
    torch.testing.assert_close(plain, logits(model)[..., :ROWS], rtol=0, atol=1e-6)


def test_a_base_whose_names_lack_the_prefix(tmp_path: Path, bases: dict[str, Path]) -> None:
    """As the OPT checkpoints on the Hub: `decoder.embed_tokens.weight`."""
    base = shutil.copytree(bases["opt"], tmp_path / "base")
    stored = load_file(base / "model.safetensors")
    short = {name.removeprefix("model."): tensor for name, tensor in stored.items()}
    save_file(short, base / "model.safetensors", metadata={"format": "pt"})
    model = adapted(base, "lora", rows=62, new_rows=(60,))
    train(model, torch.randint(3, 61, (4, 12), generator=torch.Generator().manual_seed(8)))
    export(model, "lora", base, tmp_path / "out")
    merged = load_causal_lm(tmp_path / "out", torch.float32)
    torch.testing.assert_close(logits(merged), logits(model), rtol=0, atol=1e-5)


# ---- the beginning


def test_an_adapter_begins_as_its_names_and_the_seed_say() -> None:
    models = [build("llama") for _ in range(3)]
    for model, text in zip(models, ("lora:r=4", "lora:r=4,targets=down_proj+q_proj", "lora:r=4"), strict=True):
        before = torch.get_rng_state()
        attach(model, spec_of(text))
        initialise(model, 1 if model is not models[2] else 2)
        assert torch.get_rng_state().equal(before)
    all_linear, two, other_seed = (dict(model.named_parameters()) for model in models)
    shared = [name for name in two if ".lora_A." in name]
    assert len(shared) == 4
    assert all(two[name].equal(all_linear[name]) for name in shared)
    assert not any(two[name].equal(other_seed[name]) for name in shared)
    assert not two[shared[0]].equal(two[shared[2]])
    for name, parameter in all_linear.items():
        if ".lora_A." in name:
            bound = parameter.shape[1] ** -0.5
            assert 0.8 * bound < float(parameter.detach().abs().max()) <= bound
        if ".lora_B." in name:
            assert not parameter.any()
        assert parameter.requires_grad == (".lora_" in name)
        assert parameter.dtype == torch.float32


@pytest.fixture
def one_process() -> Iterator[None]:
    """A process group of one."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize(("architecture", "kind"), [("llama", "lora"), ("qwen3", "dora"), ("gpt2", "dora")])
def test_a_model_without_weights_gets_its_adapter_before_it_is_sharded(
    tmp_path: Path, bases: dict[str, Path], architecture: str, kind: str
) -> None:
    """The order of fsdp: shape alone, adapter, sharding, the base from disk, the adapter's beginning."""
    base, store = bases[architecture], open_store(bases[architecture])
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base))
    attach(model, spec_of(kind), checkpointing=True)
    assert all(parameter.is_meta for parameter in model.parameters())
    for layer in model.transformer.h if architecture == "gpt2" else model.model.layers:
        fully_shard(layer)
    fully_shard(model)
    model.to_empty(device="cpu")
    plain = adapted(base, kind)
    for name, parameter in model.named_parameters():
        named = base_name(name)
        if named is not None:
            fill(parameter, store[named if named in store else "transformer.wte.weight"])
    for name, buffer in model.named_buffers():
        buffer.copy_(plain.get_buffer(name))
    initialise(model, 1)
    assert all(isinstance(parameter, DTensor) for parameter in model.parameters())
    for name, parameter in plain.named_parameters():
        assert whole(model.get_parameter(name)).equal(parameter), name
    assert train(model) == pytest.approx(train(plain), abs=1e-5)
    gathered = ((name, whole(parameter.detach())) for name, parameter in model.named_parameters())
    export(model, kind, base, tmp_path / "out", given=gathered)
    merged = load_causal_lm(tmp_path / "out", torch.float32)
    torch.testing.assert_close(logits(merged), logits(plain), rtol=0, atol=1e-4)


def test_a_process_fills_its_own_part() -> None:
    dist.init_process_group("fake", store=FakeStore(), rank=1, world_size=2)
    try:
        mesh = init_device_mesh("cpu", (2,))
        part = distribute_tensor(torch.zeros(5, 3), mesh, [Shard(0)], src_data_rank=None)
        fill(part, torch.arange(15.0).view(5, 3))
        assert part.to_local().equal(torch.arange(9.0, 15.0).view(2, 3))
    finally:
        dist.destroy_process_group()


def test_recomputed_layers_give_the_same_gradients(bases: dict[str, Path]) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = load_causal_lm(bases["llama"], torch.float32)
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        attach(model, spec_of("lora"), checkpointing=checkpointing)
        initialise(model, 1)
        train(model, steps=1)
        torch.autograd.backward(model(input_ids=TEXT, labels=TEXT, use_cache=False).loss)
        gradients.append({name: it.grad for name, it in model.named_parameters() if it.requires_grad})
    assert all(gradients[0][name].equal(gradients[1][name]) for name in gradients[0])
    assert all(bool(gradient.any()) for gradient in gradients[1].values())


def test_an_adapter_says_what_it_trains() -> None:
    model = attach(build("llama"), spec_of("lora:targets=query-value,r=2"))
    assert describe(model, spec_of("lora:targets=query-value,r=2")) == (
        "lora:r=2,alpha=4,dropout=0,targets=query-value,bias=none: 448 trained parameters beside 19,360 of the base"
    )


# ---- four bits


@pytest.mark.parametrize("architecture", ["llama", "opt"])
def test_qlora_trains_on_four_bits_and_merges_into_the_base_as_it_was(
    tmp_path: Path, bases: dict[str, Path], architecture: str
) -> None:
    base = bases[architecture]
    model = load_quantised(base, 62, torch.device("cpu"), torch.float32)
    layer = model.get_submodule("model.layers.0" if architecture == "llama" else "model.decoder.layers.0")
    assert layer.self_attn.q_proj.weight.quant_type == "nf4"
    assert layer.self_attn.q_proj.weight.quant_state.nested
    assert model.get_output_embeddings().weight.dtype == torch.float32
    attach(model, spec_of("qlora"), new_rows=(60,))
    initialise(model, 1)
    before = logits(model)
    assert train(model, steps=1) > train(model)
    assert not logits(model).equal(before)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == set(saved_names(model))
    export(model, "qlora", base, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert "quantization_config" not in config
    merged = load_causal_lm(tmp_path / "out", torch.float32)
    reference = reloaded(base, tmp_path / "out" / "adapter", rows=62)
    torch.testing.assert_close(logits(merged), logits(reference), rtol=0, atol=1e-5)
    rounding = float((logits(merged) - logits(model)).abs().max())
    learnt = float((logits(model) - before).abs().max())
    assert 1e-4 < rounding < learnt / 3


def test_qlora_learns_the_same_after_an_evaluation(bases: dict[str, Path]) -> None:
    """An evaluation on a CPU would lay four-bit weights out for a kernel without a gradient."""
    gradients = []
    for evaluated in (False, True):
        model = load_quantised(bases["llama"], ROWS, torch.device("cpu"), torch.float32)
        attach(model, spec_of("qlora"))
        initialise(model, 1)
        if evaluated:
            logits(model)
        train(model, steps=1)
        torch.autograd.backward(model(input_ids=TEXT, labels=TEXT, use_cache=False).loss)
        gradients.append({name: it.grad for name, it in model.named_parameters() if it.requires_grad})
    assert all(gradients[0][name].equal(gradients[1][name]) for name in gradients[0])
    assert all(bool(gradient.any()) for gradient in gradients[1].values())


def test_qlora_is_refused_where_it_cannot_be(
    tmp_path: Path, bases: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    device = torch.device("cpu")
    with pytest.raises(UserError, match="train.adapter=qlora trains in one process, and was started in 4") as caught:
        load_quantised(bases["llama"], ROWS, device, torch.float32, processes=4)
    assert caught.value.hint.startswith("start it without torchrun, or give train.adapter=lora")
    base = shutil.copytree(bases["llama"], tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "gptq"}}))
    with pytest.raises(UserError, match="is quantised already"):
        load_quantised(base, ROWS, device, torch.float32)
    (base / "config.json").write_text(json.dumps(config))
    (base / "model.safetensors").unlink()
    with pytest.raises(UserError, match="cannot load the model in .* in four bits"):
        load_quantised(base, ROWS, device, torch.float32)
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(UserError, match="train.adapter=qlora: bitsandbytes is not installed") as caught:
        load_quantised(bases["llama"], ROWS, device, torch.float32)
    assert caught.value.hint == "pip install 'packtrain[quant]'"
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match="adapters: peft is not installed") as caught:
        attach(build("llama"), spec_of("lora"))
    assert caught.value.hint == "pip install 'packtrain[lora]'"


# ---- what is refused


def test_layers_that_are_not_there_are_told_with_those_that_are() -> None:
    with pytest.raises(UserError, match="unknown layer for an adapter: q_prj") as caught:
        attach(build("llama"), spec_of("lora:targets=q_prj"))
    assert caught.value.hint == (
        "did you mean q_proj? there are: all-linear, query-value, down_proj, gate_proj, k_proj, o_proj, q_proj, "
        "up_proj, v_proj"
    )
    with pytest.raises(UserError, match="unknown layer for an adapter: lm_head"):
        attach(build("llama"), spec_of("lora:targets=lm_head"))
    model = build("gpt2")
    for block in model.transformer.h:
        block.attn.mixing = block.attn.c_attn
        del block.attn.c_attn
    with pytest.raises(UserError, match="no layers of this model are known to project queries and values"):
        attach(model, spec_of("lora:targets=query-value"))
    with pytest.raises(ValueError, match="row 60 of 60: grow the token tables first"):
        attach(build("llama"), spec_of("lora"), new_rows=(60,))


def test_an_adapter_as_training_begins_is_refused_and_kept(tmp_path: Path, bases: dict[str, Path]) -> None:
    model = adapted(bases["llama"], "lora")
    with pytest.raises(UserError, match="the adapter is untrained: in all its 14 layers B is zero"):
        export(model, "lora", bases["llama"], tmp_path / "out")
    assert not (tmp_path / "out" / "model.safetensors").exists()
    train(model)
    export(model, "lora", bases["llama"], tmp_path / "out")  # what lies there from before is written over
    assert (tmp_path / "out" / "model.safetensors").exists()
    again = export(model, "lora", bases["llama"], tmp_path / "out")
    assert again.agreement.difference < 1e-5


def test_a_layer_that_learnt_nothing_is_told(
    tmp_path: Path, bases: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model = adapted(bases["llama"], "lora")
    train(model)
    with torch.no_grad():
        model.get_parameter("model.layers.1.self_attn.k_proj.lora_B.default.weight").zero_()
    report = export(model, "lora", bases["llama"], tmp_path / "out")
    assert report.untrained == ("base_model.model.model.layers.1.self_attn.k_proj",)
    told = capsys.readouterr().err
    assert "adapter: 28 tensors, 14,848 parameters, 0.06 MB" in told
    assert "warning: nothing was learnt in 1 layers, such as base_model.model.model.layers.1.self_attn.k_proj" in told


def test_token_rows_as_training_begins_are_refused(tmp_path: Path, bases: dict[str, Path]) -> None:
    model = adapted(bases["opt"], "lora", rows=62, new_rows=(59, 60))
    train(model)
    with torch.no_grad():
        table = model.get_input_embeddings()
        delta = table.token_adapter.trainable_tokens_delta["default"]
        delta.copy_(table.original_module.weight[[59, 60]])
    with pytest.raises(UserError, match="none of its token rows differs from what it was before training"):
        export(model, "lora", bases["opt"], tmp_path / "out")


def test_tensors_that_are_wrong_missing_or_of_another_shape_are_refused(tmp_path: Path, bases: dict[str, Path]) -> None:
    model = adapted(bases["llama"], "lora")
    train(model)
    given = dict(tensors(model))
    name = "model.layers.1.mlp.up_proj.lora_A.default.weight"
    saved = "base_model.model.model.layers.1.mlp.up_proj.lora_A.weight"

    def refused(changed: dict[str, torch.Tensor]) -> str:
        with pytest.raises(UserError) as caught:
            export(model, "lora", bases["llama"], tmp_path / "out", given=changed.items())
        assert not (tmp_path / "out" / "model.safetensors").exists()
        return caught.value.message

    not_finite = given[name].clone()
    not_finite[0, 0] = float("nan")
    assert refused(given | {name: not_finite}) == f"the adapter's tensor {saved} is not finite"
    missing = {each: tensor for each, tensor in given.items() if each != name}
    assert refused(missing) == f"the adapter's tensor {saved} was not gathered"
    assert "was gathered as [16, 31]" in refused(given | {name: given[name][:, 1:]})
    assert refused({}).endswith("was not gathered")


def test_tensors_may_come_in_any_order_and_are_all_taken(tmp_path: Path, bases: dict[str, Path]) -> None:
    model = adapted(bases["llama"], "lora")
    train(model)
    taken = []

    def backwards() -> Iterator[tuple[str, torch.Tensor]]:
        for name, tensor in reversed(list(tensors(model))):
            yield name, tensor
            taken.append(name)

    export(model, "lora", bases["llama"], tmp_path / "out", given=backwards())
    assert taken == [name for name, _ in reversed(list(model.named_parameters()))]
    torch.testing.assert_close(
        logits(reloaded(bases["llama"], tmp_path / "out" / "adapter")), logits(model), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize(("architecture", "kind"), [("llama", "dora"), ("gpt2", "rslora"), ("gpt2", "dora")])
def test_of_a_large_model_one_layer_is_compared(
    tmp_path: Path, bases: dict[str, Path], monkeypatch: pytest.MonkeyPatch, architecture: str, kind: str
) -> None:
    monkeypatch.setattr(adapter_check, "MEMORY_SHARE", 0)
    model = adapted(bases[architecture], kind)
    train(model)
    found = export(model, kind, bases[architecture], tmp_path / "out").agreement
    layer = "model.layers.0.self_attn.q_proj" if architecture == "llama" else "transformer.h.0.attn.c_attn"
    assert found.compared == f"the outputs of {layer}"
    assert found.difference < 1e-5 < 1e-2 < found.effect


@pytest.mark.parametrize("share", [0.25, 0.0])
def test_a_merged_model_that_is_something_else_is_refused(
    tmp_path: Path, bases: dict[str, Path], monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    monkeypatch.setattr(adapter_check, "MEMORY_SHARE", share)
    model = adapted(bases["llama"], "lora")
    train(model)
    export(model, "lora", bases["llama"], tmp_path / "out")
    adapter = tmp_path / "out" / "adapter"
    with pytest.raises(UserError, match="the merged model is not what base and adapter are together"):
        compare(bases["llama"], adapter, adapter, bases["llama"], ROWS)


def test_rounding_that_hides_the_adapter_is_told(
    tmp_path: Path, bases: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model = adapted(bases["llama"], "lora")
    train(model)
    found = export(model, "lora", bases["llama"], tmp_path / "much", dtype="bfloat16").agreement
    assert found.dtype == "bfloat16"
    assert 1e-6 < found.difference < found.effect / 10
    assert "warning" not in capsys.readouterr().err
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                parameter.mul_(1e-4)
    found = export(model, "lora", bases["llama"], tmp_path / "little", dtype="bfloat16").agreement
    assert found.difference > found.effect
    assert "warning: rounding to bfloat16 hides what the adapter learnt" in capsys.readouterr().err
    stored = {info.dtype for info in open_store(tmp_path / "little").infos().values()}
    assert stored == {"bfloat16"}
