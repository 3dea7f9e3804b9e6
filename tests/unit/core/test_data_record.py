"""What a conversation file says of its origin is kept whole, and read again as it was written."""

import json
from pathlib import Path
from typing import Any

import pytest

from packtrain.core.conversation import Conversation, Message, write_conversations
from packtrain.core.data_record import DataRecord, DataSet, data_record, data_sets, read_data_record
from packtrain.core.errors import UserError
from packtrain.core.manifest import Manifest, sha256_of_file
from packtrain.core.training_record import handed_on

ROWS: list[tuple[str, dict[str, Any]]] = [
    ("mine", {"model": "openai:gpt-4o-mini", "license": "cc-by-4.0"}),
    ("other", {}),
    ("mine", {"model": "local:x", "license": ["mit"]}),
    ("mine", {"model": "openai:gpt-4o-mini", "license": "cc-by-nc-4.0"}),
]
SETS = {
    "mine": DataSet(3, ("openai:gpt-4o-mini", "local:x"), ("cc-by-4.0", "", "cc-by-nc-4.0")),
    "other": DataSet(1),
}
SOURCES = {"mine": {"format": "messages", "path": "data/m.jsonl"}, "hub": {"format": "auto", "path": "owner/data"}}


def write_rows(path: Path, rows: list[tuple[str, dict[str, Any]]] = ROWS) -> Path:
    """A conversation file with these data sets and provenances."""
    said = Message("user", "Name a colour."), Message("assistant", "Red.")
    write_conversations(path, (Conversation(name, str(number), said, of) for number, (name, of) in enumerate(rows)))
    return path


def write_run(path: Path, data: Path) -> dict[str, Any]:
    """A `run.json` of the preparation of `data`; what a training keeps of it."""
    inputs = {"mine": {"m.jsonl": "ab" * 32}, "hub": {"owner/data@12ab": "commit 12ab"}}
    figures = {"train": 4, "held_out": 1, "sources": {"mine": {"train": 3}, "hub": {"train": 1}}}
    settings = {"data": {"sources": SOURCES}, "compat": False}
    outputs = {data.name: sha256_of_file(data)}
    (path.parent / "made").mkdir()
    Manifest("data", settings, inputs, outputs, figures | {"seconds": 3}).write(path.parent / "made")
    (path.parent / "made/run.json").replace(path)
    cut = {"data": {"sources": SOURCES | {"mine": {"format": "messages", "path": "m.jsonl"}}}}
    return {"stage": "data", "settings": cut, "inputs": inputs, "figures": figures}


@pytest.mark.parametrize("name", ["run.json", "c.run.json"])
def test_sets_writers_licences_and_the_record_beside_are_kept(tmp_path: Path, name: str) -> None:
    path = write_rows(tmp_path / "c.jsonl")
    made = write_run(tmp_path / name, path)
    record = data_record(path, sha256_of_file(path))
    assert read_data_record(json.loads(json.dumps(record)), "x") == DataRecord(
        "c.jsonl", sha256_of_file(path), SETS, made
    )
    Manifest("train", {}, {}, {}, {"steps": 3, **record}).write(tmp_path)
    handed = read_data_record(handed_on(tmp_path)["training"]["figures"], "x")
    assert handed is not None
    assert (handed.file, handed.sets, handed.made) == ("c.jsonl", SETS, made)


def test_a_record_beside_about_another_file_and_a_broken_one_are_left_out(tmp_path: Path, capsys: Any) -> None:
    path = write_rows(tmp_path / "c.jsonl")
    Manifest("data", {}, {}, {"c.jsonl": "00" * 32}).write(tmp_path)
    assert data_record(path, sha256_of_file(path))["learnt_from"]["made"] == {}
    (tmp_path / "c.run.json").write_text("[]")
    assert data_record(path, sha256_of_file(path))["learnt_from"]["made"] == {}
    assert "c.run.json is not a manifest" in capsys.readouterr().err


def test_a_file_whose_rows_have_names_of_their_own_is_one_data_set(tmp_path: Path) -> None:
    rows = [(f"row {number}", {"model": "m", "license": "mit"} if number % 2 else {}) for number in range(201)]
    record = data_record(write_rows(tmp_path / "c.jsonl", rows), "ab" * 32)
    assert record["learnt_from"]["sets"] == {"c": {"conversations": 201, "models": ["m"], "licenses": ["", "mit"]}}
    few = data_record(write_rows(tmp_path / "c.jsonl", rows[:200]), "ab" * 32)
    assert len(few["learnt_from"]["sets"]) == 200


def test_names_that_are_no_unicode_can_be_written_down(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    row = {"dataset": "a\ud800", "id": "1", "messages": [{"role": "user", "content": "x"}]}
    path.write_text(json.dumps(row))
    record = data_record(path, "ab" * 32)
    Manifest("train", {}, {}, {}, record).write(tmp_path)
    assert list(record["learnt_from"]["sets"]) == ["a?"]


def test_what_is_no_conversation_and_no_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"dataset": "a"}\n')
    with pytest.raises(UserError, match=r"c\.jsonl:1: missing id, messages"):
        data_sets(path)
    assert read_data_record({"steps": 3}, "run.json") is None
    broken: Any
    for broken in ([], {"file": "c.jsonl"}, {"file": "", "sha256": "", "sets": {"a": 3}, "made": {}}):
        with pytest.raises(UserError, match=r"run\.json: learnt_from is no record of data"):
            read_data_record({"learnt_from": broken}, "run.json")
