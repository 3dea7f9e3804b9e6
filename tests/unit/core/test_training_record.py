"""What a training recorded is found again in its folder and in what was made from it, and nowhere else."""

from pathlib import Path
from typing import Any

import pytest

from packtrain.core.errors import UserError
from packtrain.core.manifest import Manifest
from packtrain.core.training_record import TrainingRecord, handed_on, read_training, with_places_told

SETTINGS = {
    "train": {"lr": 2e-05, "adam_betas": [0.9, 0.999]},
    "base": {"path": "/models/llama-7b-hf"},
    "data": {"sources": {"mine": {"path": "~/mine.jsonl"}}},
    "release": {"gate": {"prompt": "/ is a slash\nin a text"}},
}
VERSIONS = {"torch": "2.13.0"}
FINISHED = "2025-01-31T10:00:00Z"


def folder(path: Path, stage: str, settings: dict[str, Any]) -> Path:
    """A folder with a `run.json`."""
    path.mkdir(parents=True)
    Manifest(stage, settings, {}, {}, {"steps": 3}, 42, VERSIONS, FINISHED).write(path)
    return path


def test_a_training_is_read_without_its_engine(tmp_path: Path) -> None:
    tuned = folder(tmp_path / "tuned", "train", SETTINGS | {"engine": {"strategy": "fsdp"}})
    assert read_training(tuned) == TrainingRecord(SETTINGS, {"steps": 3}, VERSIONS, FINISHED)


def test_it_is_handed_on_without_places_of_the_machine(tmp_path: Path) -> None:
    tuned = folder(tmp_path / "tuned", "train", SETTINGS)
    diff = folder(tmp_path / "diff", "diff make", {"form": "exact", **handed_on(tuned)})
    cut = SETTINGS | {"base": {"path": "llama-7b-hf"}, "data": {"sources": {"mine": {"path": "mine.jsonl"}}}}
    assert read_training(diff) == TrainingRecord(cut, {"steps": 3}, VERSIONS, FINISHED)
    recovered = folder(tmp_path / "recovered", "diff recover", handed_on(diff))
    assert read_training(recovered) == read_training(diff)


def test_a_folder_here_is_told_from_an_id_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the record itself, wherever it is read; what is published names neither folders nor less of an id."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models/llama-7b-hf").mkdir(parents=True)
    sources = {
        "here": {"path": "data/mine.jsonl"},
        "deep": {"path": "data/of/mine.jsonl"},
        "hub": {"path": "owner/data:main:train@v1"},
    }
    settings = {"base": {"path": "models/llama-7b-hf"}, "data": {"sources": sources}, "evaluate": {"data": "in/a/b"}}
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mine.jsonl").touch()
    recorded = with_places_told(settings)
    told = sources | {"here": {"path": "./data/mine.jsonl"}}
    assert recorded == settings | {"base": {"path": "./models/llama-7b-hf"}, "data": {"sources": told}}
    assert with_places_told(recorded) == recorded
    cut = {"here": {"path": "mine.jsonl"}, "deep": {"path": "mine.jsonl"}, "hub": sources["hub"]}
    handed = {"base": {"path": "llama-7b-hf"}, "data": {"sources": cut}, "evaluate": {"data": "b"}}
    for number, given in enumerate((recorded, settings)):  # the second as earlier versions wrote it
        assert handed_on(folder(tmp_path / f"tuned{number}", "train", given))["training"]["settings"] == handed
    of_hub = {"base": {"path": "Qwen/Qwen3-0.6B@v1"}}
    assert with_places_told(of_hub) == of_hub
    assert handed_on(folder(tmp_path / "tuned", "train", of_hub))["training"]["settings"] == of_hub


def test_what_has_no_training_behind_it_hands_nothing_on(tmp_path: Path) -> None:
    data = folder(tmp_path / "data", "data", {"data": {}})
    for path in (tmp_path / "nothing", tmp_path, data):
        assert read_training(path) is None
        assert handed_on(path) == {}


@pytest.mark.parametrize("given", ["text", [], {}, {"settings": {}, "figures": {}, "versions": {}, "finished": 3}])
def test_a_record_that_is_none_is_told_and_left_out(tmp_path: Path, given: object, capsys: Any) -> None:
    diff = folder(tmp_path / "diff", "diff make", {"training": given})
    with pytest.raises(UserError, match=r"run\.json: training is no record of a training"):
        read_training(diff)
    assert handed_on(diff) == {}
    assert "training is no record of a training; what is made from it will not say" in capsys.readouterr().err


def test_a_broken_run_json_is_told_and_left_out(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "run.json").write_bytes(b"\xff{")
    assert handed_on(tmp_path) == {}
    assert "is not a manifest" in capsys.readouterr().err
