"""A manifest says what was made from what; equal bytes have equal hashes, and no secret is in it."""

import hashlib
from pathlib import Path

import pytest

from packtrain.core.errors import UserError
from packtrain.core.manifest import Manifest, digest, hashes, read_manifest


def test_hashes_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.txt").write_bytes(b"a")
    (tmp_path / ".hidden").write_bytes(b"h")
    (tmp_path / "run.json").write_bytes(b"{}")
    assert hashes(tmp_path) == {"sub/a.txt": hashlib.sha256(b"a").hexdigest()}


def test_digest_does_not_depend_on_key_order() -> None:
    assert digest({"a": 1, "b": [2, "ü"]}) == digest({"b": [2, "ü"], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert digest("\ud83d") != digest("\ud83e")  # which UTF-8 cannot write


def test_round_trip_without_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    manifest = Manifest("data", {"seed": 1}, {"raw": {"a": "0" * 64}}, {"train.jsonl": "1" * 64}, {"kept": 3}, 42)
    manifest.write(tmp_path)
    assert read_manifest(tmp_path) == manifest
    assert "torch" in manifest.versions
    assert "secret" not in (tmp_path / "run.json").read_text()


def test_no_manifest_and_a_broken_one(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UserError, match="is not a manifest"):
        read_manifest(tmp_path)
