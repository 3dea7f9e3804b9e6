"""Bad raw files: each fault is told with its place and what to do, and no record is lost without a word."""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from packtrain.core.errors import UserError
from packtrain.data.reading import byte_stream, json_container
from packtrain.data.reading.containers import read_records

ROWS: list[dict[str, Any]] = [{"a": "ü, ]}", "b": [{"c": '"\\'}]}, {"a": "\n", "b": []}, {"a": "", "b": [{"c": "x"}]}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


def fields(path: Path) -> list[dict[str, Any]]:
    return [record.fields for record in read_records(path)]


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), sink, write_page_checksum=True)
    return sink.getvalue()


def with_password(packed: bytes) -> bytes:
    """The archive with the flag that says that its first member is encrypted."""
    local, central = bytearray(packed), packed.index(b"PK\x01\x02")
    local[6] |= 1
    local[central + 8] |= 1
    return bytes(local)


def flipped(content: bytes, place: int) -> bytes:
    damaged = bytearray(content)
    damaged[place] ^= 0x10
    return bytes(damaged)


BAD: dict[str, tuple[str, bytes, str]] = {
    "list cut in a record": ("a.json", b'[{"a": 1},\n{"a": ', "record 2 (line 2): not valid JSON"),
    "list cut in a text": ("a.json", b'[{"a": 1}, {"a": "x', "record 2 (line 1): not valid JSON"),
    "list without end": ("a.json", b'[{"a": 1}', "the list does not end after record 1"),
    "list of nothing without end": ("a.json", b"[", "the list does not end after record 0"),
    "list without a comma": ("a.json", b'[{"a": 1} {"a": 2}]', "record 2: there must be one comma"),
    "list with two commas": ("a.json", b'[{"a": 1},, {"a": 2}]', "record 2 (line 1): not valid JSON"),
    "list that begins with a comma": ("a.json", b"[, {}]", "record 1: there must be one comma"),
    "list that ends with a comma": ("a.json", b"[{},\n]", "record 2 (line 2): not valid JSON"),
    "list with a wrong bracket": ("a.json", b"[{}}", "a bracket of another kind ends the list after record 1"),
    "record with a wrong bracket": ("a.json", b'[{"a": [1}, {}]', "record 1 (line 1): not valid JSON"),
    "two lists": ("a.json", b"[{}] [{}]", "more follows the end of the list after record 1"),
    "lines of lists": ("a.json", b"[]\n[]\n", "more follows the end of the list after record 0"),
    "list of numbers": ("a.json", b"[{}, 5]", "record 2: expected a JSON object, found a number"),
    "quote that is missing": ("a.json", b'[{"a": "x}, {"a": "y"}, {"a": "z"}]', "record 1 (line 1): not valid JSON"),
    "line that is cut": ("a.jsonl", b'{"a": 1}\n{"a": \n', "a.jsonl:2: not valid JSON (Expecting value at column 6)"),
    "line of a list": ("a.jsonl", b'{"a": 1}\n[2]\n', "a.jsonl:2: expected a JSON object, found a list"),
    "two values in a line": ("a.jsonl", b"{} {}\n", "a.jsonl:1: not valid JSON (Extra data"),
    "lone text": ("a.json", b'"x"', "a.json:1: expected a JSON object, found text"),
    "lone number": ("a.json", b"5", "expected a JSON object, found a number"),
    "null": ("a.json", b"null", "expected a JSON object, found null"),
    "single quotes": ("a.jsonl", b"{'a': 1}", "a.jsonl:1: not valid JSON"),
    "object over several lines": ("a.json", b'{\n "data": [{}]\n}', "one JSON object over several lines"),
    "deep line": ("a.jsonl", b'{"a":' * 200_000, "a.jsonl:1: nested too deeply"),
    "deep list": ("a.json", b"[" * 200_000, "record 1 (line 1): nested too deeply"),
    "deep and closed": ("a.json", b"[" * 200_000 + b"]" * 200_000, "record 1 (line 1): nested too deeply"),
    "long number": ("a.jsonl", b'{"a": ' + b"1" * 5000 + b"}", "a.jsonl:1: holds a number of thousands of digits"),
    "long number in a list": ("a.json", b"[{}, " + b"1" * 5000 + b"]", "record 2 (line 1): holds a number"),
    "lines in Latin-1": ("a.jsonl", b'{}\n{"a": "\xfc"}\n', "a.jsonl:2: not valid UTF-8 (byte 10 of the file)"),
    "the same with a mark": ("a.jsonl", b'\xef\xbb\xbf{}\n{"\xfc"}\n', "a.jsonl:2: not valid UTF-8 (byte 8"),
    "list in Latin-1": ("a.json", b'[{},\n\n{"a": "\xfc"}]', "a.json:3: not valid UTF-8 (byte 13 of the file)"),
    "UTF-8 cut in a letter": ("a.jsonl", b'{}\n{"a": "\xc3', "a.jsonl:2: not valid UTF-8"),
    "UTF-16": ("a.jsonl", '{"a": "x"}'.encode("utf-16"), "is UTF-16 or UTF-32"),
    "UTF-16 without a mark": ("a.json", '[{"a": "x"}]'.encode("utf-16-le"), "is UTF-16 or UTF-32"),
    "UTF-16, big end first": ("a.csv", "a,b\n".encode("utf-16-be"), "is UTF-16 or UTF-32"),
    "UTF-32": ("a.jsonl", '{"a": "x"}'.encode("utf-32"), "is UTF-16 or UTF-32"),
    "NUL bytes only": ("a.jsonl", b"\0" * 10_000, "begins with NUL bytes"),
    "NUL bytes in a text": ("a.jsonl", b'{}\n{"a": "x\0\0y"}', "a.jsonl:2: holds NUL bytes"),
    "NUL bytes at the end": ("a.jsonl", b'{"a": "x"}\n' + b"\0" * 99, "a.jsonl:2: holds NUL bytes"),
    "control characters on a line of their own": ("a.jsonl", b"{}\n\x0b\n", "a.jsonl:2: not valid JSON"),
    "gzip cut short": ("a.gz", gzip.compress(LINES)[:-1], "is cut short: its gzip data do not end"),
    "gzip and something else": ("a.gz", gzip.compress(LINES) + b"rest", "is followed by something that is not gzip"),
    "gzip with another checksum": ("a.gz", flipped(gzip.compress(LINES), -6), "is a damaged gzip file"),
    "gzip of text that is cut": ("a.gz", gzip.compress(LINES[:-9]), "a.gz:3: not valid JSON"),
    "gzip of gzip": ("a.gz", gzip.compress(gzip.compress(LINES)), "is packed twice"),
    "zstd cut short": ("a.zst", zstandard.compress(LINES)[:-1], "is cut short: its zstd data do not end"),
    "zip of several": ("a.zip", zipped(**{"x.json": b"[]", "y.json": b"[]"}), "it holds x.json, y.json"),
    "zip of nothing": ("a.zip", zipped(), "must hold one data file; it holds no files"),
    "zip cut short": ("a.zip", zipped(**{"x.json": LINES})[:-1], "is a damaged zip archive, or cut short"),
    "zip with a password": ("a.zip", with_password(zipped(**{"x.json": LINES})), "is protected by a password"),
    "zip that is damaged": ("a.zip", flipped(zipped(**{"x.json": LINES}), 60), "a.zip!x.json is damaged or cut short"),
    "zip of gzip": ("a.zip", zipped(**{"x.json.gz": gzip.compress(LINES)}), "is packed twice"),
    "pointer of Git LFS": ("a.parquet", b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
    "web page": ("a.json", b"<!DOCTYPE html><html>", "is a web page"),
    "XML": ("a.json", b"<?xml version='1.0'?>", "is XML"),
    "pickle": ("a.json", b"\x80\x04\x95", "is a Python pickle"),
    "tar": ("a.json", b"a.json".ljust(257, b"\0") + b"ustar", "is a tar archive"),
    "ragged row": ("a.csv", b'a,b\n"1\n",2\n3\n', "a.csv:4: 1 cells under 2 column names"),
    "quote without end": ("a.csv", b'a,b\n1,2\n1,"2\n', "a.csv:3: not valid CSV (unexpected end of data)"),
    "text behind a quote": ("a.tsv", b'a\tb\n"1" 1\t2\n', "a.tsv:2: not valid TSV"),
    "lone carriage returns": ("a.csv", b"a,b\r1,2\r", "a.csv:1: not valid CSV"),
    "columns of one name": ("a.csv", b"a,a\n", "a.csv:1: the first line must name the columns, each once"),
    "column without a name": ("a.csv", b"a,\n", "a.csv:1: the first line must name the columns, each once"),
    "csv in Latin-1": ("a.csv", b"a\n1\n\xfc\n", "a.csv:3: not valid UTF-8 (byte 4 of the file)"),
    "csv with NUL bytes": ("a.csv", b"a\n\0\n", "a.csv:2: holds NUL bytes"),
    "Python in a cell": ("a.csv", b"messages\n\"[{'role': 'user'}]\"\n", "a.csv:2: messages looks like JSON"),
    "Parquet cut short": ("a.parquet", parquet()[:-1], "is not a whole Parquet file"),
    "Parquet that is damaged": ("a.parquet", flipped(parquet(), 60), "is not a whole Parquet file"),
    "Parquet of 0 bytes": ("a.parquet", b"", "is not a whole Parquet file"),
    "Parquet that is text": ("a.parquet", LINES, "is not a whole Parquet file"),
    "Parquet in gzip": ("a.parquet.gz", gzip.compress(parquet()), "is a packed or piped Parquet file"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), BAD.values(), ids=BAD)
def test_each_fault_is_told_with_its_place(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        fields(path)
    assert str(path) in caught.value.message
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"", b" \n\r\n", b"\xef\xbb\xbf", b"[]", b" [ ] \n", gzip.compress(b"", mtime=0)])
def test_a_file_without_records_gives_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    assert fields(path) == []


def test_what_cannot_be_opened_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="cannot read .*/none: No such file"):
        fields(tmp_path / "none")
    with pytest.raises(UserError, match="cannot read .*: Is a directory"):
        fields(tmp_path)
    path = tmp_path / "closed.json"
    path.write_bytes(b"[]")
    path.chmod(0)
    if os.geteuid() == 0:  # the superuser may read everything

        def refuse(*arguments: object) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(byte_stream, "open", refuse, raising=False)
    with pytest.raises(UserError, match="cannot read .*closed.json: Permission denied"):
        fields(path)


def test_what_json_allows_is_read_as_json_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1, "a": 2}\n{"a": "\\ud800"}\n{"a": -Infinity, "b": 1e999}\n')
    assert fields(path) == [{"a": 2}, {"a": "\ud800"}, {"a": -float("inf"), "b": float("inf")}]


@pytest.mark.parametrize("content", [b'[{"a": [{}, ', b'{"a": "', b'[{"a": "'], ids=["brackets", "line", "text"])
def test_a_record_without_end_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr(json_container, "LONGEST_RECORD_BYTES", 1 << 20)
    path = tmp_path / "a"
    path.write_bytes(content + b"x" * (3 << 20))
    with pytest.raises(UserError, match=r"a line of more than 1 MiB|record 1 \(line 1\): not valid JSON"):
        fields(path)


def table(delimiter: str) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerow(["a", "b"])
    writer.writerows([row["a"], json.dumps(row["b"])] for row in ROWS)
    return text.getvalue().encode()


WHOLE = {
    "a.jsonl": LINES,
    "a.json": json.dumps(ROWS, indent=1, ensure_ascii=False).encode(),
    "a.csv": table(","),
    "a.tsv": table("\t"),
    "a.parquet": parquet(),
    "a.jsonl.gz": b"".join(gzip.compress(line) for line in LINES.splitlines(keepends=True)),
    "a.jsonl.zst": zstandard.ZstdCompressor(write_checksum=True).compress(LINES),
    "a.jsonl.bz2": bz2.compress(LINES),
    "a.jsonl.xz": lzma.compress(LINES),
    "a.zip": zipped(**{"a.json": json.dumps(ROWS).encode()}),
}
WHOLE_ANYWHERE = ("a.jsonl", "a.csv", "a.tsv", "a.jsonl.gz")
"""What may be cut behind a record (gzip: behind a member) and be a file as good as before."""


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_cut_anywhere_is_refused_or_gives_exactly_its_whole_records(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(WHOLE[name])
    whole = fields(path)
    assert len(whole) == len(ROWS)
    capsys.readouterr()
    lengths = []
    for length in range(1, len(WHOLE[name])):
        path.write_bytes(WHOLE[name][:length])
        found = outcome(path)
        if found is None:
            continue
        lengths.append(length)
        if "it may be cut short" in capsys.readouterr().err:  # a row of CSV that could be whole
            assert name in ("a.csv", "a.tsv")
            found = found[:-1]
        assert found == whole[: len(found)]
        if name == "a.jsonl":
            assert len(found) == sum(1 for line in WHOLE[name][:length].split(b"\n") if line)
    assert bool(lengths) == (name in WHOLE_ANYWHERE)


def outcome(path: Path) -> list[dict[str, Any]] | None:
    """The records, or None when they are refused; any other exception fails the test."""
    try:
        return fields(path)
    except UserError:
        return None


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["a.jsonl", "a.csv", "a.gz", "a.parquet", "a.zip"]),
    st.sampled_from(
        [b"", b"[", b"{", b"PK\x03\x04", b"\x1f\x8b\x08", b"PAR1", b"BZh9", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\x00"]
    ),
    st.binary(max_size=80) | st.text(st.sampled_from('[]{}",:\\ \n\ra1ü'), max_size=60).map(str.encode),
)
def test_any_bytes_are_records_or_an_error_for_the_user(
    tmp_path_factory: pytest.TempPathFactory, name: str, beginning: bytes, rest: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / name
    path.write_bytes(beginning + rest)
    found = outcome(path)
    assert found is None or all(isinstance(record, dict) for record in found)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(list(WHOLE)), st.integers(0), st.integers(0, 4), st.binary(max_size=3))
@example("a.json", 0, 0, b"\xef\xbb\xbf")
def test_a_file_changed_anywhere_is_records_or_an_error_for_the_user(
    tmp_path_factory: pytest.TempPathFactory, name: str, place: int, taken: int, put: bytes
) -> None:
    content = WHOLE[name]
    place %= len(content)
    path = tmp_path_factory.mktemp("changed") / name
    path.write_bytes(content[:place] + put + content[place + taken :])
    found = outcome(path)
    assert found is None or len(found) <= len(ROWS) + len(put)


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from('[]{}",\\ \n1a'), max_size=30), st.integers(1, 9))
def test_lists_are_accepted_exactly_when_json_accepts_them_whatever_the_blocks(
    tmp_path_factory: pytest.TempPathFactory, text: str, size: int
) -> None:
    try:
        expected = json.loads(f"[{text}")
        if not all(isinstance(value, dict) for value in expected):
            expected = None
    except ValueError:
        expected = None
    path = tmp_path_factory.mktemp("lists") / "a.json"
    path.write_text(f"[{text}")
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((byte_stream, "BLOCK_BYTES"), (json_container, "PIECE_BYTES")):
            patch.setattr(module, name, size)
        patch.setattr(byte_stream, "_HEAD_BYTES", 1)
        assert outcome(path) == expected
