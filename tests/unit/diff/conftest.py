"""Tiny models on disk: a base, and a tuned version of it with one more token row; and what tests do to folders."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file

from packtrain.core.errors import UserError
from packtrain.core.manifest import digest
from packtrain.diff import kernels, sorted_steps
from packtrain.diff.manifest import SELF
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


def save(model: Any, folder: Path, files: str) -> None:
    """Write a model as `safetensors`, as `shards` of safetensors, or as one `bin`."""
    if files == "bin":
        folder.mkdir()
        model.config.save_pretrained(folder)
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    else:
        model.save_pretrained(folder, max_shard_size="30KB" if files == "shards" else "5GB")
    (folder / "tokenizer_config.json").write_text(json.dumps({"made_for": folder.name}))
    (folder / "notes.txt").write_text("not part of the model")


@pytest.fixture
def make_models(tmp_path: Path) -> Callable[..., Models]:
    """Builds `Models`: kind, files of both folders, type of the base, rows added to the tuned one."""

    def build(kind: str = "llama", files: str = "safetensors", dtype: str = "float16", rows: int = 1) -> Models:
        torch.manual_seed(7)
        model = tiny_model(kind).to(getattr(torch, dtype))
        save(model, tmp_path / "base", files)
        model = model.float()
        grow_token_tables(model, model.config.vocab_size + rows)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += torch.randn_like(parameter) * 1e-3
                parameter *= 1.001  # so that not every difference is a float32 number
        save(model, tmp_path / "tuned", files)
        work = tmp_path / "work"
        work.mkdir()
        return Models(tmp_path / "base", tmp_path / "tuned", work)

    return build


@pytest.fixture
def models(make_models: Callable[..., Models]) -> Models:
    """A float16 base and its float32 tuned version, LLaMA, safetensors."""
    return make_models()


Tensors = dict[str, torch.Tensor]
FILES = ("safetensors", "shards", "bin", "bin shards")


def write_model(folder: Path, tensors: Tensors, config: dict[str, Any], files: str = "safetensors") -> Path:
    """Write a model folder in one of the forms `FILES`, without the library; shards are of three tensors each."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    stem, end = ("pytorch_model", "bin") if files.startswith("bin") else ("model", "safetensors")
    names = list(tensors)
    parts = [names[i : i + 3] for i in range(0, len(names), 3)] if files.endswith("shards") else [names]
    index = {}
    for number, part in enumerate(parts, 1):
        file = f"{stem}-{number:05d}-of-{len(parts):05d}.{end}" if files.endswith("shards") else f"{stem}.{end}"
        index |= dict.fromkeys(part, file)
        kept = {name: tensors[name].clone() for name in part}
        if end == "bin":
            torch.save(kept, folder / file)
        else:
            save_file(kept, folder / file, {"format": "pt"})
    if files.endswith("shards"):
        (folder / f"{stem}.{end}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return folder


@pytest.fixture(name="write_model")
def write_model_fixture() -> Callable[..., Path]:
    """`write_model(folder, tensors, config, files)`: a model folder without the library."""
    return write_model


def llama(
    dtype: torch.dtype = torch.float16, layers: int = 2, rows: int = 96, seed: int = 0, width: int = 32
) -> Tensors:
    """Tensors of a random LLaMA."""
    square, wide, high = (width, width), (width * 3 // 2, width), (width, width * 3 // 2)
    shapes: dict[str, tuple[int, ...]] = {f"self_attn.{letter}_proj": square for letter in "qkvo"}
    shapes |= {"mlp.gate_proj": wide, "mlp.up_proj": wide, "mlp.down_proj": high}
    shapes |= {"input_layernorm": (width,), "post_attention_layernorm": (width,)}
    whole = {f"model.layers.{i}.{name}.weight": shape for i in range(layers) for name, shape in shapes.items()}
    whole |= {"model.embed_tokens.weight": (rows, width), "lm_head.weight": (rows, width)}
    whole |= {"model.norm.weight": (width,)}
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (torch.randn(shape, generator=generator) * 0.02 + (1 if "norm" in name else 0)).to(dtype)
        for name, shape in whole.items()
    }


@pytest.fixture(name="llama")
def llama_fixture() -> Callable[..., Tensors]:
    """`llama(dtype, layers, rows, seed, width)`: tensors of a random LLaMA."""
    return llama


LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 32, "num_attention_heads": 2}
LLAMA |= {"intermediate_size": 48, "num_hidden_layers": 2, "tie_word_embeddings": False, "vocab_size": 96}
LLAMA |= {"max_position_embeddings": 2048, "bos_token_id": 1, "eos_token_id": 2}


@pytest.fixture
def llama_config() -> dict[str, Any]:
    """The configuration of `llama()`."""
    return dict(LLAMA)


def tuned_of(base: Tensors, dtype: torch.dtype, rows: int = 0, seed: int = 1) -> Tensors:
    """What fine-tuning makes of some tensors: every weight moved a little, `rows` rows added to token tables."""
    generator = torch.Generator().manual_seed(seed)
    tuned = {}
    for name, tensor in base.items():
        moved = tensor.float() + torch.randn(tensor.shape, generator=generator) * 6e-4
        if "embed_tokens" in name or "lm_head" in name:
            moved = torch.cat([moved, torch.randn(rows, tensor.shape[1], generator=generator) * 0.02])
        tuned[name] = moved.to(dtype)
    return tuned


@pytest.fixture(name="tuned_of")
def tuned_of_fixture() -> Callable[..., Tensors]:
    """`tuned_of(tensors, dtype, rows, seed)`: what fine-tuning makes of some tensors."""
    return tuned_of


@pytest.fixture(scope="session")
def models_of_megabytes() -> Callable[[Path], tuple[Path, Path]]:
    """`models_of_megabytes(folder)` writes a base and a tuned model of some megabytes there, LLaMA, float16."""

    def build(folder: Path) -> tuple[Path, Path]:
        base = llama(layers=6, rows=500, width=128)
        tuned = tuned_of(base, torch.float16, 1)
        config = LLAMA | {"hidden_size": 128, "num_hidden_layers": 6}
        return write_model(folder / "base", base, config), write_model(folder / "tuned", tuned, config)

    return build


@pytest.fixture(scope="session")
def llama_pair() -> Callable[..., tuple[Path, Path]]:
    """`llama_pair(folder, dtype, files, layers)` writes a float16 LLaMA and a tuned one with one more row."""

    def build(folder: Path, dtype: torch.dtype, files: str = "safetensors", layers: int = 2) -> tuple[Path, Path]:
        base = llama(layers=layers)
        tuned = write_model(folder / "tuned", tuned_of(base, dtype, 1), LLAMA, files)
        return write_model(folder / "base", base, LLAMA, files), tuned

    return build


def content(folder: Path) -> dict[str, bytes]:
    """Every file under a folder, by its path in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(name="content")
def content_fixture() -> Callable[[Path], dict[str, bytes]]:
    """`content(folder)`: every file under it."""
    return content


@pytest.fixture(scope="session")
def comparable() -> Callable[[dict[str, bytes]], dict[str, Any]]:
    """`comparable(content)`: the same without the times that `run.json` states."""

    def comparable(content: dict[str, bytes]) -> dict[str, Any]:
        run = json.loads(content["run.json"])
        del run["finished"], run["figures"]["seconds"]
        return {**content, "run.json": run}

    return comparable


@pytest.fixture
def edit() -> Callable[..., None]:
    """`edit(folder, change)` calls `change` with the tensors of the folder's one safetensors file and writes them."""

    def edit(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
        [file] = folder.glob("*.safetensors")
        tensors = load_file(file)
        change(tensors)
        save_file(tensors, file, {"format": "pt"})

    return edit


@pytest.fixture
def edit_manifest() -> Callable[..., None]:
    """`edit_manifest(folder, change)` calls `change` with a diff's record, and states the new contents' SHA-256."""

    def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
        path = folder / "manifest.json"
        record = json.loads(path.read_text())
        del record[SELF]
        change(record)
        path.write_text(json.dumps(record | {SELF: digest(record)}))

    return edit_manifest


@pytest.fixture
def edit_config() -> Callable[..., None]:
    """`edit_config(folder, key=value)` changes a folder's `config.json`."""

    def edit_config(folder: Path, **changes: Any) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))

    return edit_config


@pytest.fixture
def refused() -> Callable[..., UserError]:
    """`refused(action, work)`: the error of an action that leaves `work` as it was."""

    def refused(action: Callable[[], Any], work: Path) -> UserError:
        before = content(work)
        with pytest.raises(UserError) as raised:
            action()
        assert content(work) == before
        assert "\n" not in raised.value.message + raised.value.hint
        return raised.value

    return refused


@pytest.fixture(params=["compiled", "numpy"])
def loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The inner loops of the exact form that a test runs with: those of kernels.c, or NumPy's."""
    if request.param == "numpy":
        monkeypatch.setattr(sorted_steps, "compiled", lambda: None)
    elif kernels.compiled() is None:
        pytest.skip("the package was built without a C compiler")
    return str(request.param)
