"""Proves that a converted LLaMA computes what Meta's own code computes, whatever the shards, and what is refused."""

import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
from torch.nn.functional import silu
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from packtrain.core.errors import UserError
from packtrain.prompts.sentencepiece import tokenizer_from_sentencepiece
from packtrain.prompts.tokenizer import load_tokenizer
from packtrain.weights.llama_convert import ConvertReport, convert_llama
from packtrain.weights.llama_folder import LlamaParams
from packtrain.weights.store import open_store

ROWS, LAYERS = 320, 2
PARAMS: dict[str, Any] = {
    "dim": 64,
    "multiple_of": 16,
    "n_heads": 16,
    "n_layers": LAYERS,
    "norm_eps": 1e-6,
    "vocab_size": -1,
}
GROUPED = PARAMS | {"n_kv_heads": 8, "ffn_dim_multiplier": 1.3, "norm_eps": 1e-5}
HIDDEN = {id(PARAMS): 176, id(GROUPED): 224}
TEXTS = ("Hello  world", "def f():\n        return 1\n", " lead", "a\n\n b   c", "日本", "")

Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="session")
def sentencepiece_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SentencePiece BPE model with LLaMA's special tokens and byte fallback."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the lamp is red", "def f(): return 1", "hello world", "lead the world"] * 20),
        model_writer=model,
        vocab_size=300,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    path = tmp_path_factory.mktemp("sentencepiece") / "tokenizer.model"
    path.write_bytes(model.getvalue())
    return path


def meta_tensors(params: dict[str, Any], dtype: torch.dtype = torch.float32) -> Tensors:
    """A random whole model under Meta's names."""
    generator = torch.Generator().manual_seed(3)
    dim, hidden = params["dim"], HIDDEN[id(params)]
    keys = dim // params["n_heads"] * params.get("n_kv_heads", params["n_heads"])
    shapes = {"tok_embeddings.weight": (ROWS, dim), "norm.weight": (dim,), "output.weight": (ROWS, dim)}
    for number in range(LAYERS):
        of_layer = {
            "attention.wq": (dim, dim),
            "attention.wk": (keys, dim),
            "attention.wv": (keys, dim),
            "attention.wo": (dim, dim),
            "feed_forward.w1": (hidden, dim),
            "feed_forward.w2": (dim, hidden),
            "feed_forward.w3": (hidden, dim),
            "attention_norm": (dim,),
            "ffn_norm": (dim,),
        }
        shapes |= {f"layers.{number}.{name}.weight": shape for name, shape in of_layer.items()}
    tensors = {name: torch.randn(shape, generator=generator) * 0.2 for name, shape in shapes.items()}
    tensors["output.weight"] /= 4
    return {name: (tensor + 1 if tensor.dim() == 1 else tensor).to(dtype) for name, tensor in tensors.items()}


def save_meta(folder: Path, params: dict[str, Any], tensors: Tensors, shards: int = 1) -> Path:
    """Meta's layout: `folder` with the parameters and the shards of its model parallelism."""
    folder.mkdir(parents=True)
    (folder / "params.json").write_text(json.dumps(params))
    columns = ("tok_embeddings.weight", "attention.wo.weight", "feed_forward.w2.weight")
    for number in range(shards):
        part: Tensors = {"rope.freqs": torch.ones(2)}
        for name, tensor in tensors.items():
            if tensor.dim() == 1:
                part[name] = tensor.clone()
            else:
                part[name] = tensor.chunk(shards, dim=1 if name.endswith(columns) else 0)[number].clone()
        torch.save(part, folder / f"consolidated.{number:02d}.pth")
    return folder


def meta_logits(params: dict[str, Any], tensors: Tensors, tokens: torch.Tensor) -> torch.Tensor:
    """What Meta's model gives for token ids `[length]`: `[length, rows]` (neighbouring elements are rotated)."""
    length, dim, heads = len(tokens), params["dim"], params["n_heads"]
    kv_heads, head_dim = params.get("n_kv_heads", heads), dim // heads

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + params["norm_eps"]) * tensors[name]

    frequencies = 1.0 / (10000.0 ** (torch.arange(0, head_dim, 2).float() / head_dim))
    angles = torch.outer(torch.arange(length).float(), frequencies)
    turns = torch.polar(torch.ones_like(angles), angles)[:, None, :]

    def rotate(x: torch.Tensor) -> torch.Tensor:
        pairs = torch.view_as_complex(x.reshape(length, -1, head_dim // 2, 2))
        return torch.view_as_real(pairs * turns).reshape(length, -1, head_dim)

    mask = torch.full((length, length), float("-inf")).triu(1)
    hidden = tensors["tok_embeddings.weight"][tokens]
    for number in range(params["n_layers"]):

        def project(x: torch.Tensor, name: str, layer: int = number) -> torch.Tensor:
            return x @ tensors[f"layers.{layer}.{name}.weight"].T

        x = norm(hidden, f"layers.{number}.attention_norm.weight")
        queries = rotate(project(x, "attention.wq").view(length, heads, head_dim)).transpose(0, 1)
        keys = rotate(project(x, "attention.wk").view(length, kv_heads, head_dim))
        values = project(x, "attention.wv").view(length, kv_heads, head_dim)
        keys, values = (each.repeat_interleave(heads // kv_heads, dim=1).transpose(0, 1) for each in (keys, values))
        shares = (queries @ keys.transpose(1, 2) / head_dim**0.5 + mask).softmax(-1)
        hidden = hidden + project((shares @ values).transpose(0, 1).reshape(length, dim), "attention.wo")
        x = norm(hidden, f"layers.{number}.ffn_norm.weight")
        hidden = hidden + project(
            silu(project(x, "feed_forward.w1")) * project(x, "feed_forward.w3"), "feed_forward.w2"
        )
    return norm(hidden, "norm.weight") @ tensors["output.weight"].T


def hf_logits(folder: Path, tokens: torch.Tensor) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        return model(tokens[None]).logits[0]


def weights_only(folder: Path, out: Path, **options: Any) -> ConvertReport:
    return convert_llama(folder, out, with_tokenizer=False, **options)


def refused(folder: Path, **options: Any) -> UserError:
    out = folder.parent / "refused"
    with pytest.raises(UserError) as raised:
        weights_only(folder, out, **options)
    assert "\n" not in raised.value.message + raised.value.hint
    assert not list(folder.parent.glob("refused*"))
    return raised.value


@pytest.mark.parametrize("params", [PARAMS, GROUPED], ids=["one head each", "grouped heads"])
def test_logits_are_those_of_metas_code_and_tensors_do_not_depend_on_shards(
    tmp_path: Path, params: dict[str, Any]
) -> None:
    tensors = meta_tensors(params)
    tokens = torch.randint(0, ROWS, (23,), generator=torch.Generator().manual_seed(1))
    expected = meta_logits(params, tensors, tokens)
    assert expected.std() > 0.3
    fingerprints = set()
    for shards in (1, 2, 4, 8):
        meta = save_meta(tmp_path / f"meta{shards}", params, tensors, shards)
        report = weights_only(meta, tmp_path / f"hf{shards}")
        assert (report.shards, report.layers, report.tensors) == (shards, LAYERS, 3 + 9 * LAYERS)
        fingerprints.add(report.fingerprint)
        torch.testing.assert_close(hf_logits(tmp_path / f"hf{shards}", tokens), expected, rtol=0, atol=1e-5)
    assert len(fingerprints) == 1


def test_rows_of_queries_and_keys_stand_in_transformers_order(tmp_path: Path) -> None:
    tensors = meta_tensors(GROUPED, torch.bfloat16)
    report = weights_only(save_meta(tmp_path / "meta", GROUPED, tensors, 4), tmp_path / "hf")
    store = open_store(tmp_path / "hf")
    for theirs, ours, heads in (("wq", "q_proj", 16), ("wk", "k_proj", 8)):
        whole = tensors[f"layers.1.attention.{theirs}.weight"]
        rows, width = whole.shape
        expected = whole.view(heads, rows // heads // 2, 2, width).transpose(1, 2).reshape(rows, width)
        assert store[f"model.layers.1.self_attn.{ours}.weight"].equal(expected)
    assert store["model.layers.0.mlp.down_proj.weight"].equal(tensors["layers.0.feed_forward.w2.weight"])
    assert store["model.embed_tokens.weight"].equal(tensors["tok_embeddings.weight"])
    assert report.dtype == "bfloat16"
    assert not any("rope" in name or "rotary" in name for name in store)


def test_each_tensor_keeps_its_own_type(tmp_path: Path) -> None:
    tensors = meta_tensors(PARAMS)
    mixed = {name: tensor if tensor.dim() == 1 else tensor.half() for name, tensor in tensors.items()}
    assert weights_only(save_meta(tmp_path / "meta", PARAMS, mixed, 2), tmp_path / "hf").dtype == "float16"
    store = open_store(tmp_path / "hf")
    assert store["model.layers.1.input_layernorm.weight"].equal(tensors["layers.1.attention_norm.weight"])
    assert store["model.layers.0.mlp.up_proj.weight"].equal(mixed["layers.0.feed_forward.w3.weight"])


def test_configuration_says_what_the_parameters_say(tmp_path: Path) -> None:
    weights_only(save_meta(tmp_path / "meta", GROUPED, meta_tensors(GROUPED, torch.float16)), tmp_path / "hf")
    assert json.loads((tmp_path / "hf" / "config.json").read_text()) == {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": 64,
        "initializer_range": 0.02,
        "intermediate_size": 224,
        "max_position_embeddings": 4096,
        "num_attention_heads": 16,
        "num_hidden_layers": 2,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
        "use_cache": True,
        "vocab_size": ROWS,
    }
    generation = GenerationConfig.from_pretrained(tmp_path / "hf")
    assert (generation.bos_token_id, generation.eos_token_id, generation.pad_token_id) == (1, 2, None)


PUBLISHED: dict[str, tuple[dict[str, Any], int, int]] = {
    "LLaMA 7B": ({"dim": 4096, "n_heads": 32, "n_layers": 32, "norm_eps": 1e-6}, 11008, 2048),
    "LLaMA 13B": ({"dim": 5120, "n_heads": 40, "n_layers": 40, "norm_eps": 1e-6}, 13824, 2048),
    "LLaMA 30B": ({"dim": 6656, "n_heads": 52, "n_layers": 60, "norm_eps": 1e-6}, 17920, 2048),
    "LLaMA 65B": ({"dim": 8192, "n_heads": 64, "n_layers": 80, "norm_eps": 1e-5}, 22016, 2048),
    "Llama 2 7B": ({"dim": 4096, "n_heads": 32, "n_layers": 32, "norm_eps": 1e-5}, 11008, 4096),
    "Llama 2 13B": ({"dim": 5120, "n_heads": 40, "n_layers": 40, "norm_eps": 1e-5}, 13824, 4096),
    "Llama 2 70B": (
        {"dim": 8192, "multiple_of": 4096, "ffn_dim_multiplier": 1.3, "n_heads": 64, "n_kv_heads": 8, "n_layers": 80},
        28672,
        4096,
    ),
    "Code Llama 34B": (
        {"dim": 8192, "n_heads": 64, "n_kv_heads": 8, "n_layers": 48, "ffn_dim_multiplier": 1.0, "rope_theta": 1000000},
        22016,
        16384,
    ),
}


@pytest.mark.parametrize("model", PUBLISHED)
def test_sizes_of_the_published_models(model: str) -> None:
    stated, intermediate_size, context_tokens = PUBLISHED[model]
    params = LlamaParams.model_validate(stated)
    assert (params.intermediate_size, params.context_tokens) == (intermediate_size, context_tokens)


def test_context_frequencies_and_type_can_be_other_ones(tmp_path: Path) -> None:
    tensors, stated = meta_tensors(PARAMS), PARAMS | {"rope_theta": 1e6}
    meta = save_meta(tmp_path / "meta", stated, tensors)
    report = weights_only(meta, tmp_path / "hf", dtype="bfloat16", context_tokens=77)
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert (config["rope_theta"], config["max_position_embeddings"], config["torch_dtype"]) == (1e6, 77, "bfloat16")
    assert open_store(tmp_path / "hf")["lm_head.weight"].equal(tensors["output.weight"].bfloat16())
    assert report.context_tokens == 77
    assert "unknown dtype: int8" in refused(meta, dtype="int8").message


def test_a_type_that_cannot_hold_a_value_is_refused(tmp_path: Path) -> None:
    tensors = meta_tensors(PARAMS)
    tensors["layers.1.feed_forward.w2.weight"][3, 5] = 70000
    error = refused(save_meta(tmp_path / "meta", PARAMS, tensors), dtype="float16")
    assert error.message == "tensor model.layers.1.mlp.down_proj.weight has values that float16 cannot hold"


@pytest.mark.parametrize("place", ["inside", "beside"])
def test_the_tokenizer_gives_the_ids_of_sentencepiece(tmp_path: Path, sentencepiece_model: Path, place: str) -> None:
    meta = save_meta(tmp_path / "LLaMA" / "7B", PARAMS, meta_tensors(PARAMS))
    shutil.copy(sentencepiece_model, meta if place == "inside" else meta.parent)

    def fast(path: Path) -> str:
        return str(tokenizer_from_sentencepiece(path).to_str())

    out = tmp_path / "hf"
    assert convert_llama(meta, out, fast_tokenizer=fast).tokenizer
    assert (out / "tokenizer.model").read_bytes() == sentencepiece_model.read_bytes()
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(sentencepiece_model))
    tokenizer, ours = AutoTokenizer.from_pretrained(out), load_tokenizer(out)
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token) == ("<s>", "</s>", "<unk>")
    assert (ours.bos_token, ours.eos_token, ours.unk_token, ours.pad_token) == ("<s>", "</s>", "<unk>", None)
    assert tokenizer.pad_token is None
    for text in TEXTS:
        assert tokenizer(text)["input_ids"] == ours.ids(text) == [1, *theirs.encode(text)]
    stated = json.loads((out / "tokenizer_config.json").read_text())
    assert (stated["add_bos_token"], stated["add_eos_token"], stated["legacy"]) == (True, False, True)


def test_the_sentencepiece_model_alone_is_a_llama_tokenizer_too(tmp_path: Path, sentencepiece_model: Path) -> None:
    meta = save_meta(tmp_path / "meta", PARAMS, meta_tensors(PARAMS))
    shutil.copy(sentencepiece_model, meta)
    convert_llama(meta, tmp_path / "hf")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "hf")
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token) == ("<s>", "</s>", "<unk>")
    assert tokenizer("the lamp")["input_ids"] == load_tokenizer(tmp_path / "hf").ids("the lamp")


def test_run_json_names_inputs_and_outputs(tmp_path: Path, sentencepiece_model: Path) -> None:
    meta = save_meta(tmp_path / "meta", PARAMS, meta_tensors(PARAMS), 2)
    shutil.copy(sentencepiece_model, meta)
    report = convert_llama(meta, tmp_path / "hf")
    run = json.loads((tmp_path / "hf" / "run.json").read_text())
    assert run["stage"] == "convert llama"
    shards = {"consolidated.00.pth tensors", "consolidated.01.pth tensors"}
    assert set(run["inputs"]["meta"]) == {"params.json", "tokenizer.model", *shards}
    files = {"config.json", "generation_config.json", "tokenizer.model", "tokenizer_config.json"}
    assert set(run["outputs"]) == {"tensors", *files}
    assert run["outputs"]["tensors"] == run["figures"]["fingerprint"] == report.fingerprint
    before = run["inputs"]["meta"]
    tensors = meta_tensors(PARAMS)
    tensors["output.weight"][-1, -1] += 1
    weights_only(save_meta(tmp_path / "other", PARAMS, tensors, 2), tmp_path / "hf2")
    after = json.loads((tmp_path / "hf2" / "run.json").read_text())["inputs"]["meta"]
    assert [name for name in after if after[name] != before[name]] == ["consolidated.01.pth tensors"]


def test_an_output_folder_is_made_whole_and_replaced_only_when_asked(tmp_path: Path) -> None:
    meta = save_meta(tmp_path / "meta", PARAMS, meta_tensors(PARAMS))
    first = weights_only(meta, tmp_path / "hf")
    with pytest.raises(UserError, match="exists already"):
        weights_only(meta, tmp_path / "hf")
    second = weights_only(meta, tmp_path / "hf", overwrite=True)
    assert replace(first, seconds=0) == replace(second, seconds=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hf", "meta"]


def test_what_is_no_meta_folder_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path / "absent").message == f"no model folder at {tmp_path / 'absent'}"
    save_meta(tmp_path / "LLaMA" / "7B", PARAMS, meta_tensors(PARAMS))
    error = refused(tmp_path / "LLaMA")
    assert error.message == f"{tmp_path / 'LLaMA'} holds no params.json"
    assert error.hint == "give one of the model folders in it: 7B"
    weights_only(tmp_path / "LLaMA" / "7B", tmp_path / "hf")
    error = refused(tmp_path / "hf")
    assert error.message.startswith(f"{tmp_path / 'hf'} is already converted")
    (tmp_path / "LLaMA" / "7B" / "consolidated.00.pth").unlink()
    assert "holds no consolidated.00.pth" in refused(tmp_path / "LLaMA" / "7B").message


def test_missing_shards_are_named(tmp_path: Path) -> None:
    meta = save_meta(tmp_path / "meta", PARAMS, meta_tensors(PARAMS), 4)
    (meta / "consolidated.01.pth").unlink()
    assert refused(meta).message == f"{meta} lacks consolidated.01.pth (found: 00, 02, 03)"
    for number in (2, 3):
        (meta / f"consolidated.{number:02d}.pth").unlink()
    error = refused(meta)
    assert "tensor tok_embeddings.weight is [320, 16], but params.json and 1 shards make it [320, 64]" in error.message
    assert error.hint == "this is one of 4 shards: download consolidated.01.pth to consolidated.03.pth"


def test_a_number_of_shards_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    meta = save_meta(tmp_path / "meta", PARAMS, meta_tensors(PARAMS), 4)
    (meta / "consolidated.03.pth").unlink()
    assert refused(meta).message == f"{meta}: 3 shards cannot share n_heads 16 of params.json"
    grouped = save_meta(tmp_path / "grouped", GROUPED | {"n_kv_heads": 2}, meta_tensors(GROUPED), 4)
    assert refused(grouped).message == f"{grouped}: 4 shards cannot share n_kv_heads 2 of params.json"


CHANGES: dict[str, tuple[str, torch.Tensor | None, str]] = {
    "missing": ("layers.1.attention.wo.weight", None, "has no tensor layers.1.attention.wo.weight, which params.json"),
    "no table": ("tok_embeddings.weight", None, "has no tensor tok_embeddings.weight"),
    "unknown": ("layers.2.attention.wq.weight", torch.zeros(32, 64), "which is none of LLaMA's"),
    "shape": ("layers.0.feed_forward.w1.weight", torch.zeros(80, 64), "is [80, 64], but params.json and 2 shards make"),
    "not floating": ("output.weight", torch.zeros(160, 64, dtype=torch.int8), "output.weight has type int8"),
    "other type": ("norm.weight", torch.zeros(64, dtype=torch.float16), "norm.weight has type float16"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_tensor_that_does_not_fit_is_named_with_its_shard(tmp_path: Path, change: str) -> None:
    name, tensor, message = CHANGES[change]
    meta = save_meta(tmp_path / "meta", PARAMS, meta_tensors(PARAMS), 2)
    number = 0 if change == "no table" else 1
    shard = meta / f"consolidated.{number:02d}.pth"
    content = torch.load(shard, weights_only=True)
    content.pop(name, None)
    torch.save(content if tensor is None else content | {name: tensor}, shard)
    error = refused(meta)
    assert error.message.startswith(f"{shard}")
    assert message in error.message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dim": None}, "dim: Input should be a valid integer"),
        ({"n_heads": 0}, "n_heads: Input should be greater than 0"),
        ({"n_layers": "two"}, "n_layers: Input should be a valid integer"),
        ({"norm_eps": -1}, "norm_eps"),
        ({"dim": 72}, "dim 72, n_heads 16, n_kv_heads 16 do not fit one another"),
        ({"n_kv_heads": 5}, "n_kv_heads 5 do not fit one another"),
        ({"vocab_size": 300}, "params.json says vocab_size 300, the weights 320"),
        ({"n_layers": 3}, "has no tensor layers.2.attention.wq.weight"),
        ({"multiple_of": 64}, "feed_forward.w1.weight is [176, 64], but params.json and 1 shards make it [192, 64]"),
        ({"vocab_size": 128256}, "describes Llama 3 or later"),
        ({"use_scaled_rope": True}, "describes Llama 3 or later"),
    ],
    ids=str,
)
def test_parameters_that_do_not_fit_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    meta = save_meta(tmp_path / "meta", PARAMS, meta_tensors(PARAMS))
    (meta / "params.json").write_text(json.dumps(PARAMS | change))
    assert message in refused(meta).message


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 50_000])
def test_parameters_that_are_no_object_are_refused(tmp_path: Path, text: str) -> None:
    meta = save_meta(tmp_path / "meta", PARAMS, meta_tensors(PARAMS))
    (meta / "params.json").write_text(text)
    assert refused(meta).message.startswith(f"{meta / 'params.json'} is not")


def test_a_missing_or_foreign_tokenizer_is_refused(tmp_path: Path) -> None:
    meta = save_meta(tmp_path / "LLaMA" / "7B", PARAMS, meta_tensors(PARAMS))

    def error() -> UserError:
        with pytest.raises(UserError) as raised:
            convert_llama(meta, tmp_path / "hf")
        assert not (tmp_path / "hf").exists()
        return raised.value

    assert error().message == f"no tokenizer.model in {meta} or in {meta.parent}"
    assert "--no-tokenizer" in error().hint
    for content, message in (
        (b"IQ== 0\nIg== 1\n", "is a tiktoken vocabulary, as of Llama 3 or later"),
        (b"\x0anonsense", "is not a SentencePiece model"),
        (b"", "is not a SentencePiece model"),
    ):
        (meta / "tokenizer.model").write_bytes(content)
        assert message in error().message


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path, sentencepiece_model: Path) -> None:
    tensors = meta_tensors(PARAMS)
    small = {name: tensor[:200] if tensor.shape[0] == ROWS else tensor for name, tensor in tensors.items()}
    meta = save_meta(tmp_path / "meta", PARAMS, small)
    shutil.copy(sentencepiece_model, meta)
    with pytest.raises(UserError, match="has 300 tokens, the weights have rows for 200"):
        convert_llama(meta, tmp_path / "hf")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c"]), model_writer=model, vocab_size=7, unk_id=1, bos_id=0, minloglevel=2
    )
    (meta / "tokenizer.model").write_bytes(model.getvalue())
    with pytest.raises(UserError, match=r"is not LLaMA's: the ids of <unk>, <s>, </s> are \(1, 0, 2\)"):
        convert_llama(meta, tmp_path / "hf")


class Malice:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this code must never run",)


def test_a_shard_that_holds_code_is_refused_and_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    meta = save_meta(tmp_path / "meta", PARAMS, meta_tensors(PARAMS))
    torch.save({"tok_embeddings.weight": Malice()}, meta / "consolidated.00.pth")
    assert str(meta / "consolidated.00.pth") in refused(meta).message
    assert "never run" not in capsys.readouterr().out


def test_a_shard_cut_short_is_refused(tmp_path: Path) -> None:
    meta = save_meta(tmp_path / "meta", PARAMS, meta_tensors(PARAMS))
    content = (meta / "consolidated.00.pth").read_bytes()
    (meta / "consolidated.00.pth").write_bytes(content[: len(content) // 2])
    assert str(meta / "consolidated.00.pth") in refused(meta).message


CONVERT = """
import resource, sys
from pathlib import Path
from packtrain.weights.llama_convert import convert_llama
from packtrain.weights.llama_folder import open_meta_folder
open_meta_folder(Path(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
report = convert_llama(Path(sys.argv[1]), Path(sys.argv[2]), with_tokenizer=False)
print(report.bytes_written, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def test_memory_does_not_grow_with_the_model(tmp_path: Path) -> None:
    rows, dim, hidden = 32_000, 512, 1376
    shapes = {"tok_embeddings": (rows, dim // 2), "output": (rows // 2, dim), "norm": (dim,)}
    names = {"wq": (256, dim), "wk": (256, dim), "wv": (256, dim), "wo": (dim, 256)}
    shapes |= {f"layers.0.attention.{name}": shape for name, shape in names.items()}
    halves = {"w1": (hidden // 2, dim), "w2": (dim, hidden // 2), "w3": (hidden // 2, dim)}
    shapes |= {f"layers.0.feed_forward.{name}": shape for name, shape in halves.items()}
    shapes |= {"layers.0.attention_norm": (dim,), "layers.0.ffn_norm": (dim,)}
    meta = tmp_path / "meta"
    meta.mkdir()
    stated = {"dim": dim, "n_heads": 8, "n_layers": 1, "multiple_of": 32}
    (meta / "params.json").write_text(json.dumps(stated))
    for number in range(2):
        torch.save(
            {f"{name}.weight": torch.ones(s) for name, s in shapes.items()}, meta / f"consolidated.0{number}.pth"
        )
    command = [sys.executable, "-c", CONVERT, str(meta), str(tmp_path / "hf")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    written, grown = map(int, done.stdout.split())
    assert written > 130 * 10**6
    assert grown < 48 * 2**20
