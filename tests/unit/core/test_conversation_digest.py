"""Two files that teach the same have one digest, whatever is said of where their conversations come from."""

import json
from pathlib import Path
from typing import Any

import pytest

from packtrain.core.conversation_digest import conversations_digest
from packtrain.core.manifest import sha256_of_file

RECORD = {"dataset": "toy", "id": "1", "messages": [{"role": "user", "content": "Zähle"}], "provenance": {"record": 0}}


def digest_of(folder: Path, *records: Any) -> str:
    file = folder / "file.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return conversations_digest(file)


def test_provenance_alone_decides_nothing(tmp_path: Path) -> None:
    before = digest_of(tmp_path, RECORD, {**RECORD, "id": "2"})
    bare = {key: value for key, value in RECORD.items() if key != "provenance"}
    assert digest_of(tmp_path, {**RECORD, "provenance": {"license": "mit"}}, {**bare, "id": "2"}) == before
    others = [
        [RECORD, {**RECORD, "id": "3"}],
        [{**RECORD, "id": "2"}, RECORD],
        [RECORD],
        [{**RECORD, "dataset": "other"}, {**RECORD, "id": "2"}],
        [{**RECORD, "messages": [{"role": "user", "content": "Zahle"}]}, {**RECORD, "id": "2"}],
    ]
    found = [digest_of(tmp_path, *records) for records in others]
    assert len({before, *found}) == len(others) + 1


@pytest.mark.parametrize("content", [b"[1]\n", b"{", b"\xff\n"])
def test_what_holds_no_conversations_is_known_by_its_bytes(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file.jsonl"
    file.write_bytes(content)
    assert conversations_digest(file) == sha256_of_file(file)
