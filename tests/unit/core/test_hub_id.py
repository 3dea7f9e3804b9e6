"""What is an id of the Hub is decided in one place: for fetching, for the doctor, and for cards."""

from pathlib import Path

import pytest

from packtrain.core.hub_id import HubId, hub_id, on_hub


@pytest.mark.parametrize(
    ("path", "repository", "revision"),
    [
        ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B", None),
        ("owner/name@v1.0", "owner/name", "v1.0"),
        ("owner/name@refs/pr/1", "owner/name", "refs/pr/1"),
        ("owner/name@", "owner/name", None),
    ],
)
def test_an_id_and_its_revision(path: str, repository: str, revision: str | None) -> None:
    assert hub_id(path) == HubId(repository, revision)


@pytest.mark.parametrize(
    "path", ["", "name", "name@v1", "./a/b", "../a", "/a", "~/a", "a/b/c", "a/", "a/..", "a b/c", "packtrain:a/b"]
)
def test_everything_else_is_none(path: str) -> None:
    assert hub_id(path) is None


def test_what_is_here_goes_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert on_hub("models/llama") == HubId("models/llama", None)
    (tmp_path / "models/llama").mkdir(parents=True)
    assert on_hub("models/llama") is None
    assert on_hub(f"models/{'x' * 5000}") == HubId(f"models/{'x' * 5000}", None)
