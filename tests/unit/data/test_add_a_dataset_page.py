"""The worked example of docs/add-a-dataset.md: its module, its test and its command are run as they stand there."""

import inspect
import json
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from packtrain.core.conversation import read_conversations
from packtrain.core.recipe import Data
from packtrain.data import format as formats

REPOSITORY = Path(__file__).resolve().parents[3]
PAGE = REPOSITORY / "docs" / "add-a-dataset.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_example_works_as_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    module_text, test_text = blocks("python")
    riddles, page_test = ModuleType("packtrain.data.formats.riddles"), ModuleType("page_test")
    exec(compile(module_text, str(PAGE), "exec"), vars(riddles))
    exec(compile(test_text, str(PAGE), "exec"), vars(page_test))
    found = formats.Format("riddles", riddles)
    monkeypatch.setattr(page_test, "open_format", {"riddles": found}.__getitem__)
    tests = [
        function for name, function in inspect.getmembers(page_test, inspect.isfunction) if name.startswith("test_")
    ]
    assert len(tests) == 1
    tests[0]()
    assert set(found.about.files) == {"riddles.jsonl"}
    assert set(found.code.FIELDS) <= json.loads(blocks("json")[0]).keys()


def test_one_file_in_the_folder_is_enough_for_the_command(tmp_path: Path, packtrain: Any) -> None:
    """A copy of the sources with the page's file in it: nothing else is told about the new format."""
    sources = tmp_path / "src"
    (sources / "packtrain" / "data").mkdir(parents=True)
    for original in (REPOSITORY / "src/packtrain").iterdir():
        if original.name != "data":
            (sources / "packtrain" / original.name).symlink_to(original)
    for original in (REPOSITORY / "src/packtrain/data").iterdir():
        if original.name != "formats":
            (sources / "packtrain/data" / original.name).symlink_to(original)
    (sources / "packtrain/data/formats").mkdir()
    for original in (REPOSITORY / "src/packtrain/data/formats").glob("*.py"):
        (sources / "packtrain/data/formats" / original.name).symlink_to(original)
    (sources / "packtrain/data/formats/riddles.py").write_text(blocks("python")[0], encoding="utf-8")
    (tmp_path / "riddles.jsonl").write_text(blocks("json")[0], encoding="utf-8")
    [command] = blocks("bash")
    done = packtrain(*shlex.split(command)[1:], cwd=tmp_path, PYTHONPATH=str(sources))
    assert done.returncode == 0, done.stderr
    [conversation] = read_conversations(tmp_path / "riddles.conversations.jsonl")
    assert (conversation.dataset, conversation.id) == ("riddles", "riddles_0")
    assert conversation.messages[0].context == "It makes music."


def test_the_recipe_entry_is_valid() -> None:
    import yaml

    [text] = blocks("yaml")
    source = Data.model_validate(yaml.safe_load(text)["data"]).sources["riddles"]
    assert (source.format, source.max_examples) == ("riddles", 1000)
