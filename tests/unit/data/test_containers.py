"""Raw files as records: every layout and packing gives the same records, whatever the blocks, in chunks that fit."""

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import sys
import threading
import zipfile
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from packtrain.core.errors import UserError
from packtrain.data.reading import byte_stream, csv_container, json_container, parquet_container
from packtrain.data.reading.containers import input_bytes, read_chunks, read_records, records_of, source_files

ROWS: list[dict[str, Any]] = [
    {"instruction": "Say [, ] and }.", "n": 1},
    {"instruction": 'ü\n"x" \\', "n": [1, {}], "deep": {"a": [[{"b": ","}], []]}},
    {},
    {"instruction": "\u2028 and \x0b \x0c\x85 end no line", "odd": "\ud800"},
    {"": '\\"', "n": "\\\\"},
]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def fields(path: Path) -> list[dict[str, Any]]:
    return [record.fields for record in read_records(path)]


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets how much is read at once and how much a chunk holds."""

    def set_sizes(size: int) -> None:
        for module, name in (
            (byte_stream, "BLOCK_BYTES"),
            (byte_stream, "_PACKED_BLOCK_BYTES"),
            (json_container, "PIECE_BYTES"),
            (csv_container, "PIECE_BYTES"),
            (parquet_container, "PIECE_BYTES"),
        ):
            monkeypatch.setattr(module, name, size)
        monkeypatch.setattr(byte_stream, "_HEAD_BYTES", 8)

    return set_sizes


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ROWS),
        json.dumps(ROWS, indent=4).replace("\n", "\r\n"),
        json.dumps(ROWS, separators=(",", ":")) + " \n",
        "\ufeff \n" + json.dumps(ROWS),
        "\n".join(map(json.dumps, ROWS)),
        "\n \r\n\n".join(map(json.dumps, ROWS)) + "\n",
        "\ufeff" + "\r\n".join(map(json.dumps, ROWS)) + "\r\n",
        "\n  ".join(json.dumps(row, ensure_ascii=False) for row in ROWS).replace("\ud800", "\\ud800"),
    ],
    ids=["list", "indented", "compact", "list with a mark", "lines", "with gaps", "lines with a mark", "not escaped"],
)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1 << 20])
def test_every_layout_gives_the_same_records_whatever_the_blocks(
    tmp_path: Path, blocks: Callable[[int], None], text: str, size: int
) -> None:
    blocks(size)
    path = tmp_path / "data.json"
    path.write_bytes(text.encode())
    assert fields(path) == ROWS


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.sampled_from('",\\[]{}:\na\x7fü\U0001f600')),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.sampled_from('"\\],a'), max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.dictionaries(st.text(max_size=3), JSON, max_size=3), max_size=8),
    st.integers(1, 40),
    st.sampled_from([None, 0, 3]),
    st.booleans(),
)
def test_any_list_of_objects_is_read_back_from_a_list_and_from_lines(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], size: int, indent: int | None, escaped: bool
) -> None:
    path = tmp_path_factory.mktemp("containers") / "data.json"
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((byte_stream, "BLOCK_BYTES"), (json_container, "PIECE_BYTES")):
            patch.setattr(module, name, size)
        patch.setattr(byte_stream, "_HEAD_BYTES", 8)
        path.write_text(json.dumps(rows, indent=indent, ensure_ascii=escaped), encoding="utf-8", errors="surrogatepass")
        assert fields(path) == rows
        lines = (json.dumps(row, ensure_ascii=escaped) + "\n" for row in rows)
        path.write_text("".join(lines), encoding="utf-8", errors="surrogatepass")
        assert fields(path) == rows


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


PACKED = {
    "gzip": gzip.compress(LINES),
    "gzip in two members": gzip.compress(LINES[:50]) + gzip.compress(LINES[50:]),
    "gzip with an empty member and padding": gzip.compress(b"") + gzip.compress(LINES) + b"\0" * 600,
    "zstd": zstandard.compress(LINES),
    "zstd in two frames": zstandard.compress(LINES[:50]) + zstandard.compress(LINES[50:]),
    "bzip2": bz2.compress(LINES),
    "xz": lzma.compress(LINES),
    "zip": zipped(**{"folder/": b"", "folder/data.jsonl": LINES, "__MACOSX/data.jsonl": b"x", "README.md": b"x"}),
}


@pytest.mark.parametrize("packed", PACKED.values(), ids=PACKED)
@pytest.mark.parametrize("name", ["data.jsonl.gz", "data"])
@pytest.mark.parametrize("size", [1, 11, 1 << 18])
def test_packed_files_are_known_by_what_they_hold(
    tmp_path: Path, blocks: Callable[[int], None], packed: bytes, name: str, size: int
) -> None:
    blocks(size)
    path = tmp_path / name
    path.write_bytes(packed)
    assert fields(path) == ROWS


def test_a_file_called_gz_that_is_not_packed_is_read_as_it_is_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "data.jsonl.gz"
    path.write_bytes(LINES)
    assert fields(path) == ROWS
    assert "is called .gz but is not packed" in capsys.readouterr().err


def test_records_bear_their_place_in_the_file_and_their_number_in_the_source(tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.zip"
    first.write_text('[{"a": 0}, {"a": 1}]')
    second.write_bytes(zipped(**{"b.jsonl": b'\n{"a": 2}\n\n{"a": 3}\n'}))
    found = [record for chunk in read_chunks([first, second]) for record in records_of(chunk)]
    assert [record.number for record in found] == [record.fields["a"] for record in found] == [0, 1, 2, 3]
    assert [record.where for record in found] == [
        f"{first}: record 1",
        f"{first}: record 2",
        f"{second}!b.jsonl:2",
        f"{second}!b.jsonl:4",
    ]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", ["lines", "list", "csv", "parquet"])
def test_chunks_are_small_can_be_pickled_and_add_up_to_the_file(tmp_path: Path, form: str, packed: bool) -> None:
    rows = [{"text": f"{number} {'word, ' * 40}"} for number in range(12_000)]
    path = tmp_path / f"data.{form}"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        text = {
            "lines": "".join(json.dumps(row) + "\n" for row in rows),
            "list": json.dumps(rows),
            "csv": "text\n" + "".join(f'"{row["text"]}"\n' for row in rows),
        }[form]
        path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    chunks = list(read_chunks([path, path]))
    assert len(chunks) > 4
    assert max(len(pickle.dumps(chunk)) for chunk in chunks) < 3 << 20
    assert [chunk.first_number for chunk in chunks] == [
        sum(c.records for c in chunks[:place]) for place in range(len(chunks))
    ]
    assert sum(chunk.input_bytes for chunk in chunks) == input_bytes([path, path]) == 2 * path.stat().st_size
    again = [record.fields for chunk in chunks for record in records_of(pickle.loads(pickle.dumps(chunk)))]
    assert again == rows * 2


def test_records_longer_than_a_chunk_are_read_whole(tmp_path: Path) -> None:
    rows = [{"text": 'long "x", \\' * 400_000}, {"text": ["[", {"a": "{" * 2_000_000}]}, {"text": "short"}]
    path = tmp_path / "data"
    for text in (json.dumps(rows), "\n".join(map(json.dumps, rows))):
        path.write_text(text)
        assert fields(path) == rows
        assert [chunk.records for chunk in read_chunks([path])] in ([1, 1, 1], [2, 1], [1, 2])


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("a.csv", "a,b\n1,x\n", [{"a": "1", "b": "x"}]),
        ("a.csv", '\ufeffa, b\r\n"1\r\n""2""",\r\n\r\n,ü', [{"a": '1\r\n"2"', "b": ""}, {"a": "", "b": "ü"}]),
        ("a.tsv", "a\tb\n1, 2\t\u2028\n", [{"a": "1, 2", "b": "\u2028"}]),
        (
            "a.csv",
            'messages,n\n"[{""role"": ""user""}]",[1]\nnone,\n',
            [{"messages": [{"role": "user"}], "n": "[1]"}, {"messages": "none", "n": ""}],
        ),
        ("a.csv", "a,b\n", []),
        ("a.csv", f"a\n{'x' * 200_000}\n", [{"a": "x" * 200_000}]),
    ],
    ids=["plain", "quoted", "tabs", "json cells", "no rows", "large cell"],
)
@pytest.mark.parametrize("size", [1, 5, 1 << 20])
def test_tables_of_text_are_records_of_text(
    tmp_path: Path, blocks: Callable[[int], None], name: str, text: str, rows: list[dict[str, Any]], size: int
) -> None:
    blocks(size)
    path = tmp_path / name
    path.write_bytes(text.encode())
    assert fields(path) == rows
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert fields(packed) == rows


def test_csv_places_are_the_lines_on_which_rows_begin(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'a,b\n\n1,"x\ny"\n2,z\n')
    assert [record.where for record in read_records(path)] == [f"{path}:3", f"{path}:5"]


@pytest.mark.parametrize("size", [1, 100, 1 << 20])
def test_parquet_gives_lists_and_objects_and_only_what_json_has(
    tmp_path: Path, blocks: Callable[[int], None], size: int
) -> None:
    blocks(size)
    path = tmp_path / "data"  # known by what it holds
    table = pa.table(
        {
            "messages": [[{"role": "user", "content": "ü"}], [], None],
            "n": [1, None, 3],
            "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
            "day": [date(2023, 3, 13)] * 3,
            "price": [Decimal("1.50")] * 3,
            "raw": [b"text", b"\xff", None],
            "pairs": pa.array([[("a", b"1")]] * 3, pa.map_(pa.string(), pa.binary())),
        }
    )
    pq.write_table(table, path, row_group_size=2)
    common = {"day": "2023-03-13", "price": "1.50", "pairs": [["a", "1"]]}
    assert fields(path) == [
        {"messages": [{"role": "user", "content": "ü"}], "n": 1, "kind": "x", "raw": "text", **common},
        {"messages": [], "n": None, "kind": "y", "raw": "/w==", **common},
        {"messages": None, "n": 3, "kind": "x", "raw": None, **common},
    ]
    assert [record.where for record in read_records(path)] == [f"{path}: record {number}" for number in (1, 2, 3)]


def test_standard_input_and_pipes_are_read_like_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(gzip.compress(LINES))

    monkeypatch.setattr(sys, "stdin", Stdin)
    (given,) = source_files("-", ())
    assert input_bytes([given]) is None
    assert [record.fields for chunk in read_chunks([given]) for record in records_of(chunk)] == ROWS
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(LINES,))
    writer.start()
    assert input_bytes([pipe]) is None
    assert fields(pipe) == ROWS
    writer.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder called `raw`."""
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b"")


@pytest.mark.parametrize(
    ("there", "expected", "found"),
    [
        (["b.jsonl", "a.jsonl", "x.json"], ["b.jsonl", "a.jsonl"], ["b.jsonl", "a.jsonl"]),
        (["b.jsonl.gz", "a.jsonl.zst"], ["b.jsonl", "a.jsonl"], ["b.jsonl.gz", "a.jsonl.zst"]),
        (["core.zip", "README.md"], ["core.jsonl"], ["core.zip"]),
        (["a.json", "a.json.gz"], ["a.json"], ["a.json"]),
        (["p2.json", "p1.json", "q.json"], ["p*.json", "*.json"], ["p1.json", "p2.json", "q.json"]),
        (["mine.csv", "README.md", ".hidden.json"], ["a.json"], ["mine.csv"]),
        (["mine.parquet"], [], ["mine.parquet"]),
    ],
    ids=[
        "in the order given",
        "packed",
        "zip",
        "packed beside unpacked",
        "patterns",
        "the only one",
        "nothing expected",
    ],
)
def test_of_a_folder_come_the_expected_files_or_its_only_one(
    folder: Path, there: list[str], expected: list[str], found: list[str]
) -> None:
    fill(folder, *there)
    assert source_files(str(folder), expected) == [folder / name for name in found]


def test_expected_files_that_are_not_there_are_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(folder, "a.json")
    assert source_files(str(folder), ["a.json", "b.json"]) == [folder / "a.json"]
    assert "without b.json" in capsys.readouterr().err


def test_a_folder_that_leaves_a_choice_or_none_is_refused_with_its_names(folder: Path) -> None:
    with pytest.raises(UserError, match=r"must hold a\.json or one data file; it holds nothing"):
        source_files(str(folder), ["a.json"])
    fill(folder, "x.json", "y.jsonl", "README.md")
    with pytest.raises(UserError, match=r"it holds README\.md, x\.json, y\.jsonl") as caught:
        source_files(str(folder), ["a.json"])
    assert caught.value.hint == "name the file itself"


def test_a_file_stands_for_itself_and_a_missing_one_is_refused_with_its_neighbours(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(folder, "x.json")
    monkeypatch.setenv("HOME", str(folder))
    assert source_files("~/x.json", ["a.json"]) == [folder / "x.json"]
    for missing in (folder / "z.json", folder / "none" / "z.json", "~/z.json", "z" * 300, "a\0b", "~nobody-here/x"):
        with pytest.raises(UserError) as caught:
            source_files(str(missing), [])
        assert str(missing).replace("~/", "") in caught.value.message
        assert "Hub" in caught.value.hint
        assert ("x.json" in caught.value.message) == (str(missing) in (str(folder / "z.json"), "~/z.json"))


def test_a_local_path_comes_before_a_data_set_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owner").mkdir()
    (tmp_path / "owner" / "name").write_bytes(LINES)
    monkeypatch.chdir(tmp_path)
    assert source_files("owner/name", []) == [Path("owner/name")]
