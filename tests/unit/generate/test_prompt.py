"""The prompt: layout to the byte, and the wording from a file."""

from pathlib import Path

import pytest

from packtrain.core.errors import UserError
from packtrain.generate.prompt import encode_prompt, load_prompt
from packtrain.generate.task import Task


def test_layout() -> None:
    examples = [Task(" Sort\tthese: ", "b a", "a b"), Task("Name a colour", "", "red")]
    assert encode_prompt("List of {tasks}:", examples, 12) == (
        "List of 12:\n"
        "###\n1. Instruction: Sort these\n1. Input:\nb a\n1. Output:\na b\n"
        "###\n2. Instruction: Name a colour\n2. Input:\n<noinput>\n2. Output:\nred\n"
        "###\n3. Instruction:"
    )


def test_shipped_wording_asks_for_the_number_of_tasks() -> None:
    prompt = encode_prompt(load_prompt(), [Task("a", "", "b")], 20)
    assert "List of 20 exercises:\n" in prompt
    assert "{tasks}" not in prompt
    assert prompt.isascii()


def test_unusable_prompt_files(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    for name, message in [("absent.txt", "cannot read"), ("empty.txt", "is empty"), ("latin.txt", "not valid UTF-8")]:
        with pytest.raises(UserError, match=message):
            load_prompt(tmp_path / name)
