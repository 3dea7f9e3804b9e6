"""The token cache: what is read from it is what was encoded, whoever made it and however often it was interrupted."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from packtrain.core.conversation import read_conversations
from packtrain.core.errors import UserError
from packtrain.core.manifest import sha256_of_file
from packtrain.prompts import token_cache
from packtrain.prompts.encode import Example, encode
from packtrain.prompts.template import load_template
from packtrain.prompts.token_cache import Encoding, encode_file
from packtrain.prompts.token_file import IDS, SUMMARY, TokenFile
from packtrain.prompts.tokenizer import load_tokenizer


@pytest.fixture
def encoding(tiny_base: Path) -> Encoding:
    return Encoding(load_template("tulu"), load_tokenizer(tiny_base), 120)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six hundred conversations, some too long, some with nothing to learn, one with a control token."""
    rows = []
    for number in range(600):
        question = "Why? " * (60 if number % 50 == 7 else 1 + number % 9)
        answer = "</s>" if number == 11 else " ".join(map(str, range(number % 40 + 1)))
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        rows.append({"dataset": "d\u00e9", "id": f'"{number}"\u4f60', "messages": messages})
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=number % 2 == 0) + "\n" for number, row in enumerate(rows)))
    return path


def plain(example: Example) -> tuple[Any, ...]:
    return example.dataset, example.id, list(example.input_ids), list(example.labels)


def check(found: TokenFile, data: Path, encoding: Encoding) -> None:
    settings = (encoding.template, encoding.tokenizer, encoding.max_length_tokens, encoding.mode)
    expected = encode(list(read_conversations(data)), *settings)
    assert [plain(example) for example in found] == [plain(example) for example in expected.examples]
    assert (found.dropped, found.cut_at_limit, found.conversations) == (expected.dropped, expected.cut_at_limit, 600)
    assert len(expected.examples) < 600


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("mode", ["default", "compat"])
def test_the_file_holds_what_encoding_gives(
    data: Path, encoding: Encoding, tmp_path: Path, jobs: int, mode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_cache, "PIECE_BYTES", 5_000)
    encoding = replace(encoding, mode=mode)
    check(encode_file(data, encoding, jobs=jobs, cache=tmp_path / "cache"), data, encoding)
    [folder] = (tmp_path / "cache").iterdir()
    assert sorted(path.suffix for path in folder.iterdir()) == [".i32", ".i64", ".i64", ".json", ".jsonl", ".u8"]


def test_the_second_time_nothing_is_encoded(
    data: Path, encoding: Encoding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode_file(data, encoding, cache=tmp_path / "cache")
    monkeypatch.setattr(token_cache, "encode_rows", None)
    check(encode_file(data, encoding, cache=tmp_path / "cache"), data, encoding)


def test_whatever_decides_the_tokens_is_in_the_key(encoding: Encoding, tiny_base: Path) -> None:
    padded = encoding.tokenizer.with_pad("<more>")
    others = [
        replace(encoding, max_length_tokens=121),
        replace(encoding, mode="compat"),
        replace(encoding, template=load_template("alpaca")),
        replace(encoding, tokenizer=padded),
        replace(encoding, tokenizer=replace(encoding.tokenizer, eos_token="<s>")),
    ]
    keys = {each.key("0" * 64) for each in (encoding, *others)} | {encoding.key("1" * 64)}
    assert len(keys) == 7
    again = Encoding(load_template("tulu"), load_tokenizer(tiny_base), 120)
    assert again.key("0" * 64) == encoding.key("0" * 64)


@pytest.mark.parametrize("damage", ["cut", "gone", "summary"])
def test_a_damaged_cache_is_made_again(data: Path, encoding: Encoding, tmp_path: Path, damage: str) -> None:
    encode_file(data, encoding, cache=tmp_path / "cache")
    [folder] = (tmp_path / "cache").iterdir()
    if damage == "cut":
        os.truncate(folder / IDS, 10)
    elif damage == "gone":
        (folder / IDS).unlink()
    else:
        (folder / SUMMARY).write_text('{"dropped"')
    check(encode_file(data, encoding, cache=tmp_path / "cache"), data, encoding)


KILLED = """
import sys, time
from pathlib import Path
from packtrain.prompts import token_cache
from packtrain.prompts.template import load_template
from packtrain.prompts.tokenizer import load_tokenizer
token_cache.PIECE_BYTES = 2000
whole = token_cache._encode_piece
def slow(piece):
    time.sleep(0.02)
    return whole(piece)
token_cache._encode_piece = slow
encoding = token_cache.Encoding(load_template("tulu"), load_tokenizer(Path(sys.argv[2])), 120)
print("ready", flush=True)
token_cache.encode_file(Path(sys.argv[1]), encoding, jobs=1, cache=Path(sys.argv[3]))
"""


def test_a_killed_run_goes_on_where_it_was(
    data: Path, encoding: Encoding, tmp_path: Path, tiny_base: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    for delay in (0.25, 0.4, 0.3):
        arguments = [sys.executable, "-c", KILLED, str(data), str(tiny_base), str(cache)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
    [left] = cache.iterdir()
    assert left.suffix == ".partial"
    with open(left / IDS, "ab") as file:
        file.write(b"torn")
    found = encode_file(data, encoding, jobs=2, cache=cache)
    assert "going on after" in capfd.readouterr().err
    check(found, data, encoding)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"dataset": "d", "id": "1", "mess', r":601: not valid JSON"),
        (b"[]", r":601: expected a JSON object"),
        (b'{"dataset": "d", "id": "1", "messages": "\xff"}', r":601: not valid UTF-8"),
        (b'{"a": ' * 100_000, r":601: "),
    ],
)
def test_a_wrong_line_is_named_and_nothing_is_kept_of_it(
    data: Path, encoding: Encoding, tmp_path: Path, line: bytes, message: str
) -> None:
    with open(data, "ab") as file:
        file.write(line + b"\n")
    with pytest.raises(UserError, match=message):
        encode_file(data, encoding, jobs=2, cache=tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".partial"]


def test_what_nobody_used_for_a_month_goes(data: Path, encoding: Encoding, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    encode_file(data, encoding, cache=cache)
    [old] = cache.iterdir()
    os.utime(old, (0, time.time() - 31 * 86400))
    encode_file(data, replace(encoding, max_length_tokens=50), cache=cache)
    assert old not in list(cache.iterdir())


def test_examples_are_a_sequence(data: Path, encoding: Encoding, tmp_path: Path) -> None:
    found = encode_file(data, encoding, cache=tmp_path / "cache")
    assert plain(found[-1]) == plain(list(found)[-1])
    assert [plain(example) for example in found[2:5]] == [plain(found[row]) for row in (2, 3, 4)]
    with pytest.raises(IndexError):
        found[len(found)]


def conversation_line(number: int, answer: str = "Yes.", **extra: Any) -> str:
    messages = [{"role": "user", "content": f"Is it {number}?"}, {"role": "assistant", "content": answer}]
    return json.dumps({"dataset": "d", "id": f"i{number}", "messages": messages, **extra}, ensure_ascii=False)


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(map(conversation_line, range(9))),
        "\r\n".join(map(conversation_line, range(9))) + "\r\n",
        "\ufeff" + "\n".join(map(conversation_line, range(9))) + "\n",
        "\n \n\t\n".join(map(conversation_line, range(9))) + "\n\n",
        "\n".join(conversation_line(number, "a\u2028b\u2029c\x85d\x1c.") for number in range(9)),
        "\ufeff\n\n",
        "",
    ],
    ids=["no-final-newline", "crlf", "bom", "blank-lines", "line-separators", "only-blank", "empty"],
)
@pytest.mark.parametrize("jobs", [1, 2])
def test_odd_files_are_read_as_elsewhere(
    text: str, jobs: int, encoding: Encoding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_cache, "PIECE_BYTES", 200)
    path = tmp_path / "odd.jsonl"
    path.write_bytes(text.encode())
    conversations = list(read_conversations(path))
    assert len(conversations) == text.count("role") // 2
    found = encode_file(path, encoding, jobs=jobs, cache=tmp_path / "cache")
    expected = encode(conversations, encoding.template, encoding.tokenizer, encoding.max_length_tokens)
    assert [plain(example) for example in found] == [plain(example) for example in expected.examples]
    assert (len(found), found.conversations) == (len(conversations), len(conversations))


@pytest.mark.parametrize("mode", ["default", "compat"])
def test_text_that_is_no_unicode_is_counted_and_left_out(encoding: Encoding, tmp_path: Path, mode: Any) -> None:
    rows = [json.loads(conversation_line(number)) for number in range(4)]
    rows[1]["messages"][1]["content"] = "half \ud800"
    rows[2]["id"] = "\udc00"
    rows[3]["provenance"] = {"told": "\ud83d"}
    path = tmp_path / "half.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = encode_file(path, replace(encoding, mode=mode), cache=tmp_path / "cache")
    assert [example.id for example in found] == ["i0", "i3"]
    assert found.dropped == {"text is not valid Unicode": 2}


def test_a_number_of_thousands_of_digits_is_refused_with_its_line(encoding: Encoding, tmp_path: Path) -> None:
    path = tmp_path / "number.jsonl"
    path.write_text(f'{conversation_line(0)}\n{{"id": {"1" * 5000}}}\n')
    for read in (lambda: list(read_conversations(path)), lambda: encode_file(path, encoding, cache=tmp_path / "cache")):
        with pytest.raises(UserError, match="number.jsonl:2: holds a number of thousands of digits"):
            read()


def test_a_cache_that_cannot_be_written_says_what_to_do(
    data: Path, encoding: Encoding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the token cache in .*Not a directory") as raised:
        encode_file(data, encoding, cache=tmp_path / "file" / "tokens")
    assert "PACKTRAIN_CACHE=FOLDER" in raised.value.hint

    def full(writer: Any, done: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(token_cache.TokenWriter, "add", full)
    with pytest.raises(UserError, match="cannot write the token cache in .*No space left"):
        encode_file(data, encoding, cache=tmp_path / "cache")
    with pytest.raises(FileNotFoundError, match="nothing.jsonl"):
        encode_file(tmp_path / "nothing.jsonl", encoding, cache=tmp_path / "cache")


def test_a_file_that_changes_meanwhile_is_refused_and_nothing_is_kept(
    data: Path, encoding: Encoding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode_rows = token_cache.encode_rows

    def and_append(*given: Any) -> Any:
        with open(data, "a") as file:
            file.write(conversation_line(1000) + "\n")
        return encode_rows(*given)

    monkeypatch.setattr(token_cache, "encode_rows", and_append)
    with pytest.raises(UserError, match="data.jsonl changed while it was being encoded"):
        encode_file(data, encoding, jobs=1, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_two_processes_at_once_encode_once(data: Path, encoding: Encoding, tmp_path: Path, tiny_base: Path) -> None:
    cache = tmp_path / "cache"
    arguments = [sys.executable, "-c", KILLED, str(data), str(tiny_base), str(cache)]
    others = [subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    said = [other.communicate(timeout=60)[1].decode() for other in others]
    assert [other.returncode for other in others] == [0, 0], said
    check(encode_file(data, encoding, cache=cache), data, encoding)
    [folder] = cache.iterdir()
    assert folder.suffix == ""


def test_nothing_of_others_is_removed_from_the_cache(data: Path, encoding: Encoding, tmp_path: Path) -> None:
    theirs = tmp_path / "cache" / "models"
    theirs.mkdir(parents=True)
    os.utime(theirs, (0, 0))
    encode_file(data, encoding, cache=tmp_path / "cache")
    assert theirs.is_dir()


@pytest.mark.parametrize("torn", [b"\0\0\0\n", b'{"end": 12}\n', b"7\n", b""])
def test_a_torn_journal_is_begun_again(data: Path, encoding: Encoding, tmp_path: Path, torn: bytes) -> None:
    left = tmp_path / "cache" / f"{encoding.key(sha256_of_file(data))}.partial"
    left.mkdir(parents=True)
    (left / "journal.jsonl").write_bytes(torn)
    check(encode_file(data, encoding, cache=tmp_path / "cache"), data, encoding)
