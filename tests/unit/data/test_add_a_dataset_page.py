"""The worked example of docs/add-a-dataset.md: its module and its test are run as they stand on the page."""

import inspect
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

import packtrain.data.formats

PAGE = Path(__file__).resolve().parents[3] / "docs" / "add-a-dataset.md"


def test_the_example_works_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module_text, test_text = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    riddles, page_test = ModuleType("packtrain.data.formats.riddles"), ModuleType("page_test")
    exec(compile(module_text, str(PAGE), "exec"), vars(riddles))
    monkeypatch.setitem(sys.modules, riddles.__name__, riddles)
    monkeypatch.setattr(packtrain.data.formats, "riddles", riddles, raising=False)
    exec(compile(test_text, str(PAGE), "exec"), vars(page_test))
    tests = [
        function for name, function in inspect.getmembers(page_test, inspect.isfunction) if name.startswith("test_")
    ]
    assert len(tests) == 1
    tests[0](tmp_path)
