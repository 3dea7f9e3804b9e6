"""Proves what lies in the folder of an exact diff, that no loader takes it for a model, and what comes back of it."""

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from packtrain.core.errors import UserError
from packtrain.diff.make import make_diff
from packtrain.diff.recover import recover
from packtrain.models.load import load_causal_lm

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


@pytest.fixture
def made(models: Any) -> Any:
    """A base, a tuned model with tokenizer files of every kind of bytes, and its diff in `work / "diff"`."""
    for number, name in enumerate(TOKENIZER):
        (models.tuned / name).write_bytes(b'{"\xc3\xa4": %d,\r\n }' % number)
    (models.tuned / "tokenizer.model").write_bytes(bytes(range(256)))
    config = json.loads((models.tuned / "config.json").read_text())
    (models.tuned / "config.json").write_text(json.dumps(config | {"note": "ä"}, separators=(",", ":")) + "\r\n\n")
    make_diff(models.base, models.tuned, models.work / "diff")
    return models


def test_configuration_and_tokenizer_come_back_byte_for_byte(made: Any, content: Callable[..., Any]) -> None:
    recover(made.base, made.work / "diff", made.work / "out")
    tuned, out = content(made.tuned), content(made.work / "out")
    assert out.keys() - {"recovery.json", "run.json"} == tuned.keys() - {"notes.txt"}
    for name in {*TOKENIZER, "config.json", "generation_config.json", "tokenizer.model"}:
        assert out[name] == tuned[name], name
    inside = {name.removeprefix("tuned/"): data for name, data in content(made.work / "diff").items() if "/" in name}
    assert inside == {name: tuned[name] for name in inside}
    assert inside.keys() == {*TOKENIZER, "config.json", "generation_config.json", "tokenizer.model"}


@pytest.mark.parametrize(
    "loader", ["AutoModelForCausalLM", "LlamaForCausalLM", "AutoModel", "AutoTokenizer", "AutoConfig"]
)
def test_no_loader_takes_a_diff_for_a_model(made: Any, loader: str) -> None:
    import transformers

    with pytest.raises((OSError, ValueError, RuntimeError, KeyError)) as raised:
        getattr(transformers, loader).from_pretrained(made.work / "diff")
    if loader.startswith(("AutoModel", "AutoConfig")):
        assert "packtrain-weight-diff" in str(raised.value)


def test_packtrain_s_own_loader_says_what_it_is(made: Any) -> None:
    with pytest.raises(UserError, match="is a weight diff and no model"):
        load_causal_lm(made.work / "diff", torch.float32)


def test_no_file_has_the_name_of_a_model_and_the_page_says_what_it_is(made: Any) -> None:
    diff = made.work / "diff"
    assert not [path for path in diff.rglob("*") if path.name.startswith(("model", "pytorch_model"))]
    config = json.loads((diff / "config.json").read_text())
    assert config["what_this_is"].startswith("a weight diff, not a model: packtrain diff recover")
    page = (diff / "README.md").read_text()
    front = page.split("---\n")[1]
    assert front == "tags:\n- weight-diff\n- packtrain\n"
    assert "the difference between a tuned model and its base, base, without" in page
    assert "The form is `exact`." in page
    assert "{" not in page


def test_the_page_names_the_base_s_repository(models: Any, edit_config: Callable[..., None]) -> None:
    edit_config(models.base, _name_or_path="huggyllama/llama-7b")
    make_diff(models.base, models.tuned, models.work / "diff", form="float")
    page = (models.work / "diff/README.md").read_text()
    assert page.split("---\n")[1] == "base_model: huggyllama/llama-7b\ntags:\n- weight-diff\n- packtrain\n"
    assert "its base, huggyllama/llama-7b, without" in page
    assert "The form is `float`." in page
    edit_config(models.base, _name_or_path="/home-made/llama")
    make_diff(models.base, models.tuned, models.work / "again")
    assert (models.work / "again/README.md").read_text().split("---\n")[1] == "tags:\n- weight-diff\n- packtrain\n"


def test_an_edited_page_does_not_stop_recovery(made: Any) -> None:
    (made.work / "diff/README.md").write_text("Our own words.")
    assert recover(made.base, made.work / "diff", made.work / "out").verified


def test_files_are_safetensors_of_streams(made: Any) -> None:
    """Readable by the library: one tensor of bytes for each name, that begin with a chunk's header."""
    from safetensors import safe_open

    with safe_open(made.work / "diff/diff.safetensors", "np") as file:
        names = set(file.keys())
        streams = {name: file.get_tensor(name).tobytes() for name in names}
    manifest = json.loads((made.work / "diff/manifest.json").read_text())
    assert names == set(manifest["tensors"])
    for name, stream in streams.items():
        assert manifest["tensors"][name]["file"] == "diff.safetensors"
        first = struct.unpack("<IBBHI", stream[:12])
        assert first[0] + 12 <= len(stream)
        assert first[1] in (0, 1)


def test_a_diff_that_lacks_a_file_is_told(made: Any, refused: Callable[..., UserError]) -> None:
    diff: Path = made.work / "diff"
    (diff / "diff.safetensors").rename(diff / "other.safetensors")
    error = refused(lambda: recover(made.base, diff, made.work / "out"), made.work)
    assert error.message == f"{diff / 'diff.safetensors'} is missing"


@pytest.mark.parametrize(
    ("change", "what"), [(5, "its stream is longer than its chunks"), (-5, "its stream ends within a chunk")]
)
def test_a_stream_of_another_length_than_its_chunks(
    made: Any, edit: Any, edit_manifest: Any, refused: Callable[..., UserError], change: int, what: str
) -> None:
    """Even if the manifest vouches for it: whoever wrote both made a mistake."""
    diff, name = made.work / "diff", "model.norm.weight"

    def lengthen(tensors: dict[str, torch.Tensor]) -> None:
        stream = tensors[name]
        tensors[name] = torch.cat([stream, torch.zeros(change, dtype=torch.uint8)]) if change > 0 else stream[:change]
        tensors[name] = tensors[name].clone()
        digest = hashlib.sha256(tensors[name].numpy().tobytes()).hexdigest()
        stored = {"dtype": "uint8", "shape": [len(tensors[name])], "sha256": digest}
        edit_manifest(diff, lambda record: record["tensors"][name].update(diff=stored))

    edit(diff, lengthen)
    error = refused(lambda: recover(made.base, diff, made.work / "out"), made.work)
    assert error.message == f"tensor {name} cannot be recovered: {what}"
    assert error.hint == (
        f"{diff} is damaged, or the base is not the one that it was made with: packtrain diff check says which"
    )
