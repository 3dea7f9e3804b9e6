"""`packtrain convert` as a user meets it: help with an example, tables, JSON, two-line errors, nothing left behind."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import save_file
from sentencepiece import SentencePieceProcessor
from transformers import AutoModelForCausalLM, AutoTokenizer

from packtrain.cli.main import main


class Finished(NamedTuple):
    """What a command leaves behind."""

    status: int
    stdout: str
    stderr: str

    @property
    def error(self) -> str:
        """The first of the two lines that an error prints; the second is a hint."""
        error, hint = self.stderr.strip().splitlines()[-2:]
        assert self.status == 2
        assert error.startswith("error: ")
        assert hint.startswith("hint: ")
        return error


Command = Callable[..., Finished]


@pytest.fixture
def convert(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `packtrain convert` in this process, which has the heavy libraries already."""

    def run(*arguments: object) -> Finished:
        monkeypatch.setattr(sys, "argv", ["packtrain", "convert", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        status = ended.value.code
        assert isinstance(status, int)
        return Finished(status, *capsys.readouterr())

    return run


@pytest.fixture
def meta(tmp_path: Path) -> Path:
    """A LLaMA of one layer in Meta's layout, without a tokenizer."""
    folder = tmp_path / "LLaMA" / "7B"
    folder.mkdir(parents=True)
    (folder / "params.json").write_text(json.dumps({"dim": 16, "n_heads": 2, "n_layers": 1, "multiple_of": 8}))
    shapes = {"tok_embeddings": (20, 16), "output": (20, 16), "norm": (16,)}
    shapes |= {f"layers.0.attention.{name}": (16, 16) for name in ("wq", "wk", "wv", "wo")}
    shapes |= {f"layers.0.feed_forward.{name}": (48, 16) for name in ("w1", "w3")}
    shapes |= {"layers.0.feed_forward.w2": (16, 48)}
    shapes |= {f"layers.0.{name}": (16,) for name in ("attention_norm", "ffn_norm")}
    torch.save({f"{name}.weight": torch.randn(shape) for name, shape in shapes.items()}, folder / "consolidated.00.pth")
    return folder


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """A LoRA adapter for the shared tiny LLaMA."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 4}))
    prefix = "base_model.model.model.layers.0.self_attn.o_proj"
    matrices = {f"{prefix}.lora_A.weight": torch.randn(2, 32), f"{prefix}.lora_B.weight": torch.randn(32, 2)}
    save_file(matrices, folder / "adapter_model.safetensors")
    return folder


@pytest.mark.parametrize("verb", ["llama", "merge-lora"])
def test_help_has_an_example(packtrain: Any, verb: str) -> None:
    finished = packtrain("convert", verb, "--help")
    assert finished.returncode == 0
    assert f"Example: packtrain convert {verb}" in " ".join(finished.stdout.split())


def test_the_verb_alone_shows_what_there_is(packtrain: Any) -> None:
    finished = packtrain("convert")
    assert finished.returncode == 0
    assert "llama" in finished.stdout
    assert "merge-lora" in finished.stdout


def test_llama(convert: Command, meta: Path, tmp_path: Path) -> None:
    out = tmp_path / "hf"
    finished = convert("llama", meta, out)
    assert finished.error == f"error: no tokenizer.model in {meta} or in {meta.parent}"
    assert "--no-tokenizer" in finished.stderr
    assert not list(tmp_path.glob("hf*"))
    report = json.loads(convert("llama", meta, out, "--no-tokenizer", "--dtype", "bfloat16", "--json").stdout)
    assert (report["shards"], report["dtype"], report["context_tokens"]) == (1, "bfloat16", 4096)
    assert AutoModelForCausalLM.from_pretrained(out).dtype == torch.bfloat16
    again = ["llama", meta, out, "--no-tokenizer", "--context-tokens", 2048]
    assert "exists already" in convert(*again).error
    finished = convert(*again, "--overwrite")
    assert finished.status == 0
    assert "context tokens" in finished.stdout
    assert json.loads((out / "config.json").read_text())["max_position_embeddings"] == 2048


@pytest.mark.real_data
def test_llama_with_the_original_tokenizer(convert: Command, meta: Path, tmp_path: Path, shared: Path) -> None:
    tokenizer = shared / "data" / "tokenizers" / "llama" / "tokenizer.model"
    shutil.copy(tokenizer, meta.parent / "tokenizer.model")
    assert convert("llama", meta, tmp_path / "hf").error.endswith("has 32000 tokens, the weights have rows for 20")
    content = torch.load(meta / "consolidated.00.pth", weights_only=True)
    tables = {f"{name}.weight": torch.randn(32000, 16) for name in ("tok_embeddings", "output")}
    torch.save(content | tables, meta / "consolidated.00.pth")
    assert convert("llama", meta, tmp_path / "hf").status == 0
    ours = AutoTokenizer.from_pretrained(tmp_path / "hf")
    theirs = SentencePieceProcessor(model_file=str(tokenizer))
    for text in ("Hello  world", "def f():\n        return 1\n", " lead", "日本 🙂", "a\n\n b   c    d", ""):
        assert ours(text)["input_ids"] == [1, *theirs.encode(text)]


def test_merge_lora(convert: Command, tiny_base: Path, adapter: Path, tmp_path: Path) -> None:
    out = tmp_path / "merged"
    report = json.loads(convert("merge-lora", tiny_base, adapter, out, "--json").stdout)
    assert (report["method"], report["merged"], report["dtype"]) == ("LoRA", 1, "float32")
    assert (out / "tokenizer.json").read_bytes() == (tiny_base / "tokenizer.json").read_bytes()
    AutoModelForCausalLM.from_pretrained(out)
    assert "exists already" in convert("merge-lora", tiny_base, adapter, out).error
    finished = convert("merge-lora", tiny_base, adapter, out, "--overwrite")
    assert finished.status == 0
    assert "token rows added" in finished.stdout


def test_missing_inputs_are_named_and_nothing_is_made(
    convert: Command, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments, error in (
        (["llama", "missing", "out"], "no model folder at missing"),
        (["llama", tiny_base, "out"], "is already converted"),
        (["merge-lora", "missing", "missing", "out"], "no model folder at missing"),
        (["merge-lora", tiny_base, "missing", "out"], "no model folder at missing"),
        (["merge-lora", tiny_base, tiny_base, "out"], "holds no adapter_config.json (it is a whole model)"),
    ):
        assert error in convert(*arguments).error
    assert not list(tmp_path.iterdir())
