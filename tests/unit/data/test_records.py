"""Raw files as records: any layout of a list, positions in errors, and nothing read that is not there."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packtrain.core.errors import UserError
from packtrain.data import records
from packtrain.data.records import read_records

ROWS = [{"instruction": "Say [, ] and }.", "n": 1}, {"instruction": 'ü\n"x"', "n": [1, {}]}, {}]


def fields(path: Path) -> list[dict[str, object]]:
    return [record.fields for record in read_records(path)]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ROWS),
        json.dumps(ROWS, indent=4, ensure_ascii=False),
        "\ufeff \n" + json.dumps(ROWS),
        "\n".join(map(json.dumps, ROWS)),
        "\n\n".join(map(json.dumps, ROWS)) + "\n",
    ],
    ids=["list", "indented list", "list with a byte order mark", "lines", "lines with gaps"],
)
@pytest.mark.parametrize("chunk", [8, 64, 1 << 20])
def test_every_layout_gives_the_same_records_whatever_the_buffer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, chunk: int
) -> None:
    monkeypatch.setattr(records, "_CHUNK_CHARACTERS", chunk)
    path = tmp_path / "data.json"
    path.write_text(text, encoding="utf-8")
    assert fields(path) == ROWS


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=4), st.text(max_size=30), max_size=3), max_size=8), st.integers(1, 40))
def test_any_list_of_objects_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]], chunk: int
) -> None:
    path = tmp_path_factory.mktemp("records") / "data.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "_CHUNK_CHARACTERS", chunk)
        assert fields(path) == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"a": 1}, {"a": ', "record 2 is not valid JSON"),
        ('[{"a": 1}', "record 2 is not valid JSON"),
        ('[{"a": 1} {"a": 2}]', "records 1 and 2 are not separated by one comma"),
        ('[{"a": 1}, 5]', "record 2: expected a JSON object, found int"),
        ('{"a": 1}\n{"a": \n', ":2: not valid JSON"),
        ('{"a": 1}\n[2]\n', ":2: expected a JSON object, found list"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "data.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        fields(path)
    assert str(path) in caught.value.message
    assert message in caught.value.message


def test_compressed_binary_and_missing_files_are_refused(tmp_path: Path) -> None:
    packed, binary = tmp_path / "data.jsonl.gz", tmp_path / "data.json"
    packed.write_bytes(b"\x1f\x8b\x08rest")
    binary.write_bytes(b'[{"a": "\xff\xfe"}]')
    for path, message in ((packed, "compressed"), (binary, "not valid UTF-8"), (tmp_path / "none", "cannot read")):
        with pytest.raises(UserError, match=message):
            fields(path)
