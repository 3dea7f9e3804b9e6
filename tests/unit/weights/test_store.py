"""Proves that one store reads every form of weights folder alike, lazily, and refuses folders that are not whole."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from packtrain.core.errors import UserError
from packtrain.weights.fingerprint import model_fingerprint, tensor_records
from packtrain.weights.info import TensorInfo
from packtrain.weights.safetensors_file import header_bytes
from packtrain.weights.store import open_store
from packtrain.weights.untrusted import shown

TENSORS = {
    "embed.weight": torch.randn(11, 6),
    "layers.0.weight": torch.randn(4, 3, 5).to(torch.bfloat16),
    "norm.weight": torch.randn(6).to(torch.float16),
    "scale": torch.tensor(0.5),
    "nothing": torch.zeros(0, 3),
}
FORMS = ("one safetensors", "safetensors shards", "one bin", "bin shards")


def save(folder: Path, form: str, tensors: dict[str, torch.Tensor] = TENSORS) -> Path:
    folder.mkdir()
    suffix = "safetensors" if "safetensors" in form else "bin"
    stem = "model" if suffix == "safetensors" else "pytorch_model"

    def write(content: dict[str, torch.Tensor], path: Path) -> None:
        if suffix == "safetensors":
            save_file(content, path)
        else:
            torch.save(content, path)

    if form.startswith("one"):
        write(tensors, folder / f"{stem}.{suffix}")
        return folder
    names = list(tensors)
    shards = {f"{stem}-00001-of-00002.{suffix}": names[:2], f"{stem}-00002-of-00002.{suffix}": names[2:]}
    for shard, members in shards.items():
        write({name: tensors[name] for name in members}, folder / shard)
    weight_map = {name: shard for shard, members in shards.items() for name in members}
    (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_give_the_same_tensors_whole_and_in_pieces(tmp_path: Path, form: str) -> None:
    store = open_store(save(tmp_path / "m", form))
    assert set(store) == set(TENSORS)
    assert len(store) == len(TENSORS)
    for name, tensor in TENSORS.items():
        assert store[name].dtype == tensor.dtype
        assert store.tensor(name).equal(tensor)
        info = store.info(name)
        assert (info.shape, info.numel, info.nbytes) == (tuple(tensor.shape), tensor.numel(), tensor.nbytes)
        for max_elements in (1, 4, 7, 1000):
            pieces = list(store.chunks(name, max_elements))
            assert all(piece.dim() == 1 and len(piece) <= max_elements for piece in pieces)
            assert torch.cat([*pieces, tensor.reshape(-1)[:0]]).equal(tensor.reshape(-1))


def test_fingerprint_does_not_depend_on_form_or_sharding(tmp_path: Path) -> None:
    fingerprints = {model_fingerprint(tensor_records(open_store(save(tmp_path / form, form)))) for form in FORMS}
    assert len(fingerprints) == 1
    changed = TENSORS | {"scale": torch.tensor(0.25)}
    other = model_fingerprint(tensor_records(open_store(save(tmp_path / "other", "one bin", changed))))
    assert other not in fingerprints


def test_a_transposed_tensor_in_a_bin_comes_row_major(tmp_path: Path) -> None:
    tensor = torch.arange(12).reshape(3, 4).float().t()
    folder = save(tmp_path / "m", "one bin", {"w": tensor})
    assert torch.cat(list(open_store(folder).chunks("w", 5))).equal(tensor.reshape(-1))


def test_names_that_share_memory_in_a_bin_are_known(tmp_path: Path) -> None:
    table = torch.randn(5, 2)
    content = {"embed_tokens.weight": table, "part": table[:2], "lm_head.weight": table}
    store = open_store(save(tmp_path / "m", "one bin", content))
    assert dict(store.aliases) == {"lm_head.weight": "embed_tokens.weight"}


def test_safetensors_come_before_bin_as_in_transformers(tmp_path: Path) -> None:
    folder = save(tmp_path / "m", "one bin", {"w": torch.zeros(2)})
    save_file({"w": torch.ones(2)}, folder / "model.safetensors")
    assert open_store(folder)["w"].equal(torch.ones(2))


def refused(folder: Path) -> UserError:
    with pytest.raises(UserError) as raised:
        open_store(folder)
    assert "\n" not in raised.value.message + raised.value.hint
    return raised.value


def test_a_missing_folder_and_one_without_weights_are_named(tmp_path: Path) -> None:
    assert refused(tmp_path / "absent").message == f"{tmp_path / 'absent'} is not a folder"
    assert refused(tmp_path).message.startswith(f"{tmp_path} holds no weights (looked for model.safetensors, ")


@pytest.mark.parametrize(
    ("form", "shard"),
    [("safetensors shards", "model-00002-of-00002.safetensors"), ("bin shards", "pytorch_model-00002-of-00002.bin")],
)
def test_a_missing_or_cut_shard_is_named(tmp_path: Path, form: str, shard: str) -> None:
    folder = save(tmp_path / "m", form)
    content = (folder / shard).read_bytes()
    (folder / shard).write_bytes(content[: len(content) // 2])
    assert str(folder / shard) in refused(folder).message
    (folder / shard).unlink()
    assert refused(folder).message.startswith(f"{folder / shard} is missing (named in ")


@pytest.mark.parametrize(
    "shard",
    [
        "../secret.safetensors",
        "/etc/secret.safetensors",
        "sub/x.safetensors",
        "..",
        "a\\b.safetensors",
        "a\0.safetensors",
        "a\n.safetensors",
        "\ud800.safetensors",
        "a" * 250 + ".safetensors",
        "x.bin",
        "",
        3,
        None,
        ["x.safetensors"],
    ],
)
def test_an_index_that_leaves_the_folder_is_refused(tmp_path: Path, shard: object) -> None:
    folder = save(tmp_path / "m", "safetensors shards")
    save_file({"w": torch.zeros(1)}, tmp_path / "secret.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"w": shard}}))
    said = shown(shard)
    assert refused(folder).message == f"{index}: tensor w is said to be in {said}, which is no shard's name"


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {}}', "[" * 50_000, "\xff", "3"]
)
def test_a_broken_index_is_refused(tmp_path: Path, content: str) -> None:
    folder = save(tmp_path / "m", "bin shards")
    index = folder / "pytorch_model.bin.index.json"
    index.write_text(content)
    assert refused(folder).message.startswith(f"{index} is not an index of weights")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"weight_map": {"w": "a.bin", "w": "b.bin"}}', "'w' stands twice in its text"),
        ('{"weight_map": {"a\\nb": "a.bin"}}', r"'a\nb' cannot be a tensor's name"),
        ('{"weight_map": {"w": "absent.bin"}}', "absent.bin is missing (named in pytorch_model.bin.index.json)"),
        (" " * 17_000_000 + "{}", "is longer than"),
    ],
)
def test_an_index_that_misleads_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "pytorch_model.bin.index.json").write_text(text)
    assert message in refused(tmp_path).message


def cached(tmp_path: Path) -> tuple[Path, Path]:
    """A snapshot in a Hugging Face cache, and its blob."""
    repository = tmp_path / "hub" / "models--org--name"
    snapshot = repository / "snapshots" / "0123456789"
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    save_file(TENSORS, repository / "blobs" / "abcdef")
    (snapshot / "model.safetensors").symlink_to("../../blobs/abcdef")
    return snapshot, repository / "blobs"


def test_links_of_a_hugging_face_cache_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot, blobs = cached(tmp_path)
    assert set(open_store(snapshot)) == set(TENSORS)
    monkeypatch.chdir(snapshot)
    assert set(open_store(Path())) == set(TENSORS)
    (tmp_path / "linked").symlink_to(snapshot)
    assert set(open_store(tmp_path / "linked")) == set(TENSORS)
    (tmp_path / "copied").mkdir()
    (tmp_path / "copied" / "model.safetensors").symlink_to(blobs / "abcdef")
    assert set(open_store(tmp_path / "copied")) == set(TENSORS)
    blobs.rename(tmp_path / "other disk")
    blobs.symlink_to(tmp_path / "other disk")
    assert set(open_store(snapshot)) == set(TENSORS)


def test_shards_may_be_links_to_another_disk_but_not_to_a_device(tmp_path: Path) -> None:
    folder = save(tmp_path / "m", "safetensors shards")
    shard = folder / "model-00002-of-00002.safetensors"
    shard.rename(tmp_path / "elsewhere.safetensors")
    shard.symlink_to(tmp_path / "elsewhere.safetensors")
    assert set(open_store(folder)) == set(TENSORS)
    shard.unlink()
    shard.symlink_to("/dev/zero")
    assert refused(folder).message == f"{shard} is not a file"


def test_a_link_to_itself_or_to_nothing_is_refused(tmp_path: Path) -> None:
    for target in ("model.safetensors", "absent"):
        (tmp_path / "model.safetensors").symlink_to(target)
        assert str(tmp_path / "model.safetensors") in refused(tmp_path).message
        (tmp_path / "model.safetensors").unlink()


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "pytorch_model.bin.index.json"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_a_folder_in_place_of_a_file_is_refused(tmp_path: Path, name: str, make: Any) -> None:
    make(tmp_path / name)
    assert refused(tmp_path).message == f"{tmp_path / name} is not a file"


def test_index_and_shards_must_agree(tmp_path: Path) -> None:
    folder = save(tmp_path / "m", "safetensors shards")
    save_file({"other": torch.zeros(1)}, folder / "model-00002-of-00002.safetensors")
    assert "has no tensor norm.weight" in refused(folder).message
    save_file(TENSORS, folder / "model-00002-of-00002.safetensors")
    assert "stands in two shards" in refused(folder).message


class Malice:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this code must never run",)


def test_a_bin_that_holds_code_is_refused_and_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"w": Malice()}, tmp_path / "pytorch_model.bin")
    assert "holds something other than tensors" in refused(tmp_path).message
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({"w": Malice()}))
    refused(tmp_path)
    assert "never run" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"w": 3}, {"w": {"v": torch.zeros(1)}}, {1: torch.zeros(1)}])
def test_a_bin_that_is_no_dictionary_of_tensors_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "pytorch_model.bin")
    assert str(tmp_path / "pytorch_model.bin") in refused(tmp_path).message


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"\0" * 100])
def test_a_damaged_bin_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(content)
    assert str(tmp_path / "pytorch_model.bin") in refused(tmp_path).message


STREAM = """
import sys
from pathlib import Path
from packtrain.weights.store import open_store
store = open_store(Path(sys.argv[1]))
def status(field): return int(Path("/proc/self/status").read_text().split(field + ":")[1].split()[0]) * 1024
before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak so far, a parent's included, is forgotten
total = sum(len(piece) for piece in store.chunks("w", 1 << 20))
print(total, status("VmHWM") - before)
"""


def test_streaming_a_large_tensor_takes_the_memory_of_a_piece(tmp_path: Path) -> None:
    info = TensorInfo("w", "float32", (25_000, 2048))
    with open(tmp_path / "model.safetensors", "wb") as file:
        file.write(header_bytes([info]))
        file.truncate(file.tell() + info.nbytes)
    command = [sys.executable, "-c", STREAM, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    read, grown = map(int, done.stdout.split())
    assert read == info.numel
    assert grown < 32 * 2**20 < info.nbytes / 5
