"""JSON that can be written as UTF-8 whatever it holds, and lines of it that are read or refused with their place."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packtrain.core.cache_folder import cache_folder
from packtrain.core.errors import UserError
from packtrain.core.json_text import as_unicode, is_unicode, json_text, json_value

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(), max_size=3), inner),
)


@given(VALUES, st.sampled_from((None, 2)))
def test_any_value_can_be_written_and_read_again(value: object, indent: int | None) -> None:
    written = json_text(value, indent).encode()
    assert json.loads(written) == value
    assert indent or b"\n" not in written


def test_characters_stay_as_they_are_unless_one_is_half_a_pair() -> None:
    assert json_text({"é": "\u2028你"}) == '{"é": "\u2028你"}'
    assert json_text(["é", "\ud800"]) == '["\\u00e9", "\\ud800"]'
    assert is_unicode("é\U0001f600")
    assert not is_unicode("\ud83d")


def test_half_a_character_becomes_a_question_mark() -> None:
    assert [as_unicode(text) for text in ("", "ü 🐟", "caf\ud83d!")] == ["", "ü 🐟", "caf?!"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"a": 1', r"f:3: not valid JSON \(Expecting ',' delimiter at column 8\)"),
        ("[" * 100_000, "f:3: nested too deeply"),
        ("1" * 5000, "f:3: holds a number of thousands of digits"),
        ("", "f:3: not valid JSON"),
    ],
)
def test_a_wrong_line_is_refused_with_its_place(line: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        json_value(line, "f:3")


def test_without_a_home_the_cache_asks_for_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("PACKTRAIN_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "expanduser", homeless)
    with pytest.raises(UserError, match="no home folder") as raised:
        cache_folder()
    assert "PACKTRAIN_CACHE=FOLDER" in raised.value.hint
