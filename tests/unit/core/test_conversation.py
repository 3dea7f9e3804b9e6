"""Conversation files: what is read is what was written, and an error names file and line."""

import json
from pathlib import Path

import pytest

from packtrain.core.conversation import Conversation, Message, read_conversations, write_conversations
from packtrain.core.errors import UserError


def test_round_trip_with_everything_in_it(tmp_path: Path) -> None:
    conversations = [
        Conversation("d", "1", (Message("user", "zwei\nZeilen \u2028 é 😀", " "), Message("assistant", "{braces}"))),
        Conversation("d", "2", (Message("system", "s"), Message("user", "")), {"generator": "m"}),
    ]
    path = tmp_path / "c.jsonl"
    assert write_conversations(path, conversations) == 2
    assert list(read_conversations(path)) == conversations
    assert len(path.read_text().split("\n")) == 3


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"dataset": "d", "id": "1", "messages": [', ":2: not valid JSON"),
        ('["a list"]', ":2: expected a JSON object, found list"),
        ('{"instruction": "i", "output": "o"}', ":2: missing dataset, id, messages (found: instruction, output)"),
        ('{"dataset": "d", "id": "1", "messages": []}', ":2: `messages` must be a list with at least one message"),
        ('{"dataset": "d", "id": "1", "messages": ["hello"]}', ":2: message 0: expected an object, found str"),
        ('{"dataset": "d", "id": "1", "messages": [{"role": "human", "content": "x"}]}', "unknown role 'human'"),
        ('{"dataset": "d", "id": "1", "messages": [{"role": "user", "content": 3}]}', "must be strings"),
        ('{"dataset": "d", "id": "1", "messages": [{"role": "user", "content": "x"}], "provenance": 1}', "provenance"),
    ],
)
def test_every_kind_of_wrong_line_names_its_place(tmp_path: Path, line: str, expected: str) -> None:
    good = json.dumps({"dataset": "d", "id": "0", "messages": [{"role": "user", "content": "x"}]})
    path = tmp_path / "c.jsonl"
    path.write_text(f"{good}\n{line}\n")
    with pytest.raises(UserError) as caught:
        list(read_conversations(path))
    assert str(path) in caught.value.message
    assert expected in caught.value.message


def test_a_file_that_is_not_text_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b'{"dataset": "\xff\xfe"}\n')
    with pytest.raises(UserError, match="not valid UTF-8"):
        list(read_conversations(path))
    with pytest.raises(UserError, match="cannot read"):
        list(read_conversations(tmp_path / "missing.jsonl"))
