"""Proves that shards are written as transformers expects them, streamed, hashed, and never half-finished."""

import errno
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from packtrain.core.errors import UserError
from packtrain.weights.fingerprint import tensor_records
from packtrain.weights.info import TensorInfo, dtype_name
from packtrain.weights.store import open_store
from packtrain.weights.writer import ShardWriter

TENSORS = {"a": torch.randn(10, 3), "none": torch.zeros(0, 2), "b": torch.randn(40), "c": torch.randn(5).half()}
PLAN = [TensorInfo(name, dtype_name(tensor.dtype), tuple(tensor.shape)) for name, tensor in TENSORS.items()]


def write_all(folder: Path, max_shard_bytes: int, piece: int = 7) -> ShardWriter:
    with ShardWriter(folder, PLAN, max_shard_bytes) as writer:
        for name, tensor in TENSORS.items():
            for start in range(0, tensor.numel(), piece):
                writer.write(name, tensor.reshape(-1)[start : start + piece])
    return writer


def test_one_file_when_all_fits(tmp_path: Path) -> None:
    writer = write_all(tmp_path, 10_000)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    store = open_store(tmp_path)
    assert list(store) == list(TENSORS)
    assert all(store[name].equal(tensor) for name, tensor in TENSORS.items())
    assert writer.records == tensor_records(store)


def test_shards_bear_the_names_of_the_field_and_the_index_lists_them(tmp_path: Path) -> None:
    writer = write_all(tmp_path, 150)
    names = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [*names, "model.safetensors.index.json"]
    assert json.loads((tmp_path / "model.safetensors.index.json").read_text()) == {
        "metadata": {"total_size": 290},
        "weight_map": {"a": names[0], "none": names[0], "b": names[1], "c": names[2]},
    }
    store = open_store(tmp_path)
    assert all(store[name].equal(tensor) for name, tensor in TENSORS.items())
    assert writer.records == tensor_records(store)


def test_the_library_reads_what_was_written(tmp_path: Path) -> None:
    from safetensors import safe_open

    write_all(tmp_path, 10_000)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
        assert all(file.get_tensor(name).equal(tensor) for name, tensor in TENSORS.items())


def test_an_interrupted_shard_never_bears_its_name(tmp_path: Path) -> None:
    def stop_after_the_first_shard() -> None:
        with ShardWriter(tmp_path, PLAN, 150) as writer:
            writer.write("a", TENSORS["a"])
            writer.write("b", TENSORS["b"][:5])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_after_the_first_shard()
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == [
        "model-00001-of-00003.safetensors"
    ]


@pytest.mark.parametrize(
    ("name", "piece", "message"),
    [
        ("b", torch.zeros(40), "b is not the next"),
        ("a", torch.zeros(31), "does not fit the plan"),
        ("a", torch.zeros(3).half(), "does not fit the plan"),
    ],
)
def test_pieces_that_do_not_fit_the_plan_are_refused(
    tmp_path: Path, name: str, piece: torch.Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message), ShardWriter(tmp_path, PLAN) as writer:
        writer.write(name, piece)


def test_a_tensor_left_out_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tensor b was not written whole"), ShardWriter(tmp_path, PLAN) as writer:
        writer.write("a", TENSORS["a"])
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("plan", [[], [PLAN[0], PLAN[0]], [TensorInfo("h", "float16", (1,)), PLAN[0]]])
def test_plans_that_cannot_be_laid_out_are_refused(tmp_path: Path, plan: list[TensorInfo]) -> None:
    with pytest.raises(ValueError, match="plan"):
        ShardWriter(tmp_path, plan)


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_disk_too_small_is_found_before_the_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(1000, 900, 100))
    plan = [TensorInfo("w", "float32", (3_000_000_000,))]
    with pytest.raises(UserError, match=r"not enough disk space in .*: 12\.00 GB needed, 0\.00 MB free"):
        ShardWriter(tmp_path, plan).__enter__()
    assert list(tmp_path.iterdir()) == []


class FullDisk:
    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def test_a_disk_that_fills_while_writing_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=f"the disk of {tmp_path} is full"),
        ShardWriter(tmp_path, PLAN) as writer,
    ):
        writer._file._file = FullDisk(writer._file._file)
        writer.write("a", TENSORS["a"])
    assert list(tmp_path.iterdir()) == []
