"""Proves that a file whose writing failed, at whatever moment, is told and never gets its name."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from packtrain.core.errors import UserError
from packtrain.weights import shard_file
from packtrain.weights.info import TensorInfo
from packtrain.weights.shard_file import ShardFile

PLAN = [TensorInfo("a", "float32", (1000,))]


def failing(code: int) -> Any:
    """A function that fails as the disk does."""

    def fail(*arguments: Any) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def test_an_error_that_early_flushing_meets_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_file, "FLUSH_BYTES", 100)
    monkeypatch.setattr(os, "fdatasync", failing(errno.EIO))
    with (
        pytest.raises(UserError, match="cannot write in .*: Input/output error"),
        ShardFile(tmp_path / "x", PLAN) as file,
    ):
        for start in range(0, 1000, 100):
            file.write("a", torch.zeros(100) + start)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_the_room_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", failing(errno.ENOSPC))
    with pytest.raises(UserError, match=f"the disk of {tmp_path} is full"), ShardFile(tmp_path / "x", PLAN):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_cannot_reserve_room_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "posix_fallocate", failing(errno.EOPNOTSUPP))
    with ShardFile(tmp_path / "x", PLAN) as file:
        file.write("a", torch.arange(1000.0))
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
