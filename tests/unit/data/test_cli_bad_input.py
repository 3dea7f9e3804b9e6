"""Bad input on the command line: each verb of `packtrain data` says what is wrong and where, and writes nothing.

The commands run in this process, through the function that the installed command calls.
"""

import gzip
import io
import json
import os
import re
import shlex
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.conftest import build_tokenizer

from packtrain.cli.main import main

Record = dict[str, Any]
ALPACA = {"instruction": "Count.", "input": "", "output": "1 2"}
FLAN = {"inputs": "Is it so?", "targets": "It is."}
GOOD: dict[str, Record] = {
    **dict.fromkeys(("alpaca", "code_alpaca", "gpt4_alpaca", "self_instruct"), ALPACA),
    **dict.fromkeys(("cot", "flan_v2"), FLAN),
    "dolly": {"instruction": "Count.", "context": "", "response": "1 2", "category": "open_qa"},
    "oasst1": {
        "message_tree_id": "t",
        "prompt": {"text": "hi", "role": "prompter", "replies": [{"text": "hello", "role": "assistant"}]},
    },
    "unnatural_instructions": {"instruction": "Add.", "instances": [{"input": "1 1", "output": "2"}]},
    "baize": {"input": "[|Human|] hi [|AI|] hello", "topic": "talk"},
    "sharegpt": {"id": "x", "conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]},
    "messages": {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]},
    "prompt_completion": {"prompt": "1 + 1 =", "completion": " 2"},
}
"""A record of every format that reads files."""
TASK = {
    "Definition": ["Add."],
    "Positive Examples": [{"input": "1 1", "output": "2"}],
    "Instances": [{"id": "task001-1", "input": "1 2", "output": ["3"]}],
}
NEEDED = {
    **dict.fromkeys(("alpaca", "code_alpaca", "gpt4_alpaca", "self_instruct"), ("instruction", "output")),
    "cot": ("inputs", "targets"),
    "flan_v2": ("inputs", "targets"),
    "dolly": ("instruction", "response"),
    "oasst1": ("prompt",),
    "unnatural_instructions": ("instruction", "instances"),
    "baize": ("input",),
    "sharegpt": ("conversations",),
    "messages": ("messages",),
    "prompt_completion": ("prompt", "completion"),
}
"""The fields without which a record is of another kind."""
WRONG: tuple[Any, ...] = (None, 5, True, 1.5, {"a": 1}, [5], [None], [[]])
"""What is not in any of these fields."""


class Outcome(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    lines: list[str]
    """Of stderr."""


Command = Callable[..., Outcome]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Runs the command line in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["packtrain", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Outcome(ended.value.code, captured.out, captured.err.splitlines())

    return run


def check_refused(command: Command, arguments: list[object], error: str, hint: str) -> None:
    """Assert that a command ends as the user's error with these two lines (regular expressions), and writes nothing."""
    before = listing()
    found = command(*arguments)
    told = "\n".join(found.lines)
    assert found.status == 2, told
    assert found.out == ""
    assert re.fullmatch(f"error: .*{error}.*", found.lines[-2]), told
    assert re.fullmatch(f"hint: .*{hint}.*", found.lines[-1]), told
    assert "Traceback" not in told
    assert listing() == before


def listing() -> dict[str, bytes]:
    """Every file of the current folder with its content."""
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(Path().rglob("*"))}


def json_line(record: object) -> bytes:
    return json.dumps(record).encode() + b"\n"


CUT = "may be cut short"
NOTHING = "nothing left to train on: .*"
Fault = tuple[str, Callable[[bytes], bytes], str, str]
FAULTS: dict[str, Fault] = {
    "line cut short": ("f.jsonl", lambda good: good + good[:-4], r"f\.jsonl:2: not valid JSON", CUT),
    "list cut short": ("f.json", lambda good: b"[" + good + b"," + good[:-4], r"record 2 \(line 2\): not valid", CUT),
    "list without end": ("f.json", lambda good: b"[" + good, "the list does not end after record 1", CUT),
    "other fields": (
        "f.jsonl",
        lambda good: b'{"x": 1, "y": 2}\n',
        r"f\.jsonl:1: missing .*\(found: x, y; exp",
        "fits",
    ),
    "other fields later": (
        "f.jsonl",
        lambda good: good + b'{"x": 1}\n',
        r"f\.jsonl:2: missing .*\(found: x; exp",
        "fit",
    ),
    "no fields": ("f.jsonl", lambda good: b"{}\n", r"f\.jsonl:1: missing .*\(found: none; expected", "fits"),
    "Latin-1": ("f.jsonl", lambda good: good + b'{"x": "\xfc"}\n', r"f\.jsonl:2: not valid UTF-8 \(byte", "to UTF-8"),
    "UTF-16": ("f.jsonl", lambda good: good.decode().encode("utf-16"), "is UTF-16 or UTF-32", "iconv"),
    "NUL in a text": ("f.jsonl", lambda good: b'{"a": "x\0y"}\n' + good, r"f\.jsonl:1: holds NUL bytes", "damaged"),
    "NUL behind": ("f.jsonl", lambda good: good + b"\0" * 99, r"f\.jsonl:2: holds NUL bytes", "damaged"),
    "nothing but NUL": ("f.jsonl", lambda good: b"\0" * 999, "begins with NUL bytes", "damaged"),
    "gzip cut short": ("f.jsonl.gz", lambda good: gzip.compress(good)[:-4], "is cut short", "again"),
    "gzip damaged": ("f.jsonl.gz", lambda good: gzip.compress(good)[:-8] + bytes(8), "is a damaged gzip", "again"),
    "0 bytes": ("f.jsonl", lambda good: b"", NOTHING, "check"),
    "blank lines": ("f.jsonl", lambda good: b"\n \r\n", NOTHING, "check"),
    "empty list": ("f.json", lambda good: b"[]", NOTHING, "check"),
    "null": ("f.jsonl", lambda good: b"null\n", "f.jsonl:1: expected a JSON object, found null", "one JSON object per"),
    "number": ("f.jsonl", lambda good: good + b"5\n", "f.jsonl:2: expected a JSON object, found a number", "per line"),
    "list of lists": ("f.json", lambda good: b"[[1]]", "record 1: expected a JSON object, found a list", "list of obj"),
    "one object": ("f.json", lambda good: b'{\n "data": []\n}', "one JSON object over several lines", "jq"),
    "single quotes": ("f.jsonl", lambda good: b"{'a': 1}", "f.jsonl:1: not valid JSON", CUT),
    "words": ("f.jsonl", lambda good: b"x" * 10**6, "f.jsonl:1: not valid JSON", CUT),
    "nested deeply": ("f.jsonl", lambda good: b'{"a": ' * 10**5, "f.jsonl:1: nested too deeply", "texts, lists"),
    "long number": ("f.jsonl", lambda good: b'{"a": ' + b"1" * 5000 + b"}", "f.jsonl:1: holds a number of", "not data"),
    "web page": ("f.json", lambda good: b"<!DOCTYPE html><html></html>", "is a web page", "fetch the raw file"),
    "Git LFS": (
        "f.jsonl",
        lambda good: b"version https://git-lfs.github.com/spec/v1\n",
        "is a Git LFS",
        "git lfs pull",
    ),
    "CSV of others": (
        "f.csv",
        lambda good: b"question,answer\nq,a\n",
        r"f\.csv:2: missing .*\(found: question, ans",
        "fi",
    ),
    "Parquet of others": (
        "f.parquet",
        lambda good: parquet({"question": ["q"]}),
        r"f\.parquet: record 1: missing .*\(found: question; expected",
        "fits",
    ),
    "Parquet cut": (
        "f.parquet",
        lambda good: parquet({"a": ["b"]})[:-9],
        "is not a whole Parquet file",
        "fetch it aga",
    ),
}


def parquet(columns: dict[str, list[Any]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("fault", FAULTS)
def test_every_format_tells_every_fault_of_a_file(command: Command, name: str, fault: str) -> None:
    file, damaged, error, hint = FAULTS[fault]
    Path(file).write_bytes(damaged(json_line(GOOD[name])))
    check_refused(command, ["data", "prepare", name, file, "--out", "out"], error, hint)


@pytest.mark.parametrize("name", GOOD)
def test_every_format_names_the_fields_found_and_expected_and_the_format_that_fits(command: Command, name: str) -> None:
    for other, record in GOOD.items():
        if set(NEEDED[name]) <= record.keys() and (name != "baize" or other == "baize"):
            continue
        Path("f.jsonl").write_bytes(json_line(record))
        found = re.escape(", ".join(record))
        check_refused(
            command,
            ["data", "prepare", name, "f.jsonl", "--out", "out"],
            rf"f\.jsonl:1: .*\(found: {found}; expected: .*{NEEDED[name][0]}.*\)",
            rf"these fields fit the format .*\b{other}\b.*, not {name}",
        )


@pytest.mark.parametrize("name", GOOD)
def test_every_format_drops_or_refuses_wrong_types_in_its_fields(command: Command, name: str) -> None:
    for field in NEEDED[name]:
        for value in WRONG:
            Path("f.jsonl").write_bytes(json_line({**GOOD[name], field: value}) + json_line(GOOD[name]))
            found = command("data", "prepare", name, "f.jsonl", "--out", "out.jsonl", "--json")
            if found.status == 0:
                (counts,) = json.loads(found.out)["sources"].values()
                assert counts["train"] == 1, (field, value)
                assert sum(counts["dropped"].values()) == counts["read"] - 1 > 0, (field, value)
                assert len(Path("out.dropped.jsonl").read_text().splitlines()) == counts["read"] - 1
            else:
                assert found.status == 2
                assert re.match(r"error: f\.jsonl:1: ", found.lines[-2]), found.lines
                assert found.lines[-1].startswith("hint: ")
                assert list(Path().iterdir()) == [Path("f.jsonl")]
            for made in Path().glob("out*"):
                made.unlink()


@pytest.mark.parametrize("name", GOOD)
def test_every_format_takes_a_byte_order_mark_and_counts_repeated_ids(command: Command, name: str) -> None:
    record = {**GOOD[name], "id": "same"}
    Path("f.jsonl").write_bytes(b"\xef\xbb\xbf" + json_line(record) * 3)
    found = command("data", "prepare", name, "f.jsonl", "--out", "out", "--json")
    assert found.status == 0, found.lines
    (counts,) = json.loads(found.out)["sources"].values()
    own_ids = name in ("sharegpt", "messages")
    assert counts["read"] == 3
    assert counts["train"] == (1 if own_ids else 3)
    assert counts["dropped"] == ({"id already taken": 2} if own_ids else {})


TASKS: dict[str, tuple[bytes, bytes, str, str]] = {
    "task cut short": (b"task001_a", json_line(TASK)[:-9], r"task001_a\.json .*not valid JSON \(line 1", "anew"),
    "task of 0 bytes": (b"task001_a", b"", r"task001_a\.json .*not valid JSON \(line 1", "anew"),
    "task in Latin-1": (b"task001_a", b'{"x": "\xfc"}', r"task001_a\.json .*not valid UTF-8 \(byte 7\)", "anew"),
    "task with NUL bytes": (
        b"task001_a",
        json_line(TASK) + b"\0",
        r"task001_a\.json .*not valid JSON \(line 2",
        "anew",
    ),
    "task nested deeply": (b"task001_a", b"[" * 10**5, r"task001_a\.json .*nested too deeply", "anew"),
    "task with a long number": (b"task001_a", b"1" * 5000, r"task001_a\.json .*thousands of digits", "anew"),
    "other fields": (b"task001_a", json_line(ALPACA), r"not a task \(found: instruction, .*; expected: Def", "anew"),
    "a list": (b"task001_a", b"[]", r"not a task \(found: a list; expected: Definition, Positive Ex", "anew"),
    "no definition": (b"task001_a", json_line({**TASK, "Definition": []}), "is not a task", "a definition is text"),
    "instances as text": (b"task001_a", json_line({**TASK, "Instances": "x"}), "is not a task", "are lists"),
    "bad example": (b"task001_a", json_line({**TASK, "Positive Examples": [5]}), "positive example without", "mend"),
    "no instances": (b"task001_a", json_line({**TASK, "Instances": []}), NOTHING + "no instances drawn", "check"),
    "a task that is missing": (
        b"task001_a task002_b",
        json_line(TASK),
        "1 tasks of .*: task002_b.json",
        "whole folder",
    ),
    "no tasks": (b"", json_line(TASK), NOTHING, "check"),
    "tasks in Latin-1": (b"t\xfc", json_line(TASK), r"train_tasks\.txt: not valid UTF-8", "natural-instructions"),
}


@pytest.mark.parametrize(("tasks", "task", "error", "hint"), TASKS.values(), ids=TASKS)
def test_super_ni_tells_every_fault_of_its_folder(
    command: Command, tasks: bytes, task: bytes, error: str, hint: str
) -> None:
    for folder in ("splits/xlingual", "tasks"):
        Path("raw", folder).mkdir(parents=True)
    Path("raw/splits/xlingual/train_tasks.txt").write_bytes(tasks)
    Path("raw/tasks/task001_a.json").write_bytes(task)
    check_refused(command, ["data", "prepare", "super_ni", "raw", "--out", "out"], error, hint)


CHAT = {"dataset": "d", "id": "x", **GOOD["messages"]}


def messages(*found: object) -> bytes:
    return json_line({**CHAT, "messages": list(found)})


CONVERSATIONS: dict[str, tuple[bytes, str, str]] = {
    "0 bytes": (b"", "no conversations|no instruction", "data prepare|give a"),
    "blank lines": (b"\n\n", "no conversations|no instruction", "data prepare|give a"),
    "line cut short": (json_line(CHAT) + json_line(CHAT)[:-4], r"f\.jsonl:2: not valid JSON", CUT),
    "a list": (b"[" + json_line(CHAT)[:-1] + b"]", r"f\.jsonl:1: expected a JSON object", "each line must be"),
    "raw data": (
        json_line(ALPACA),
        r"f\.jsonl:1: missing dataset, id, messages \(found: instruction",
        "each line must",
    ),
    "Latin-1": (json_line(CHAT) + b"\xfc\n", "f.jsonl.*not valid UTF-8", "UTF-8"),
    "UTF-16": (json.dumps(CHAT).encode("utf-16"), "f.jsonl.*not valid UTF-8", "UTF-8"),
    "gzip": (gzip.compress(json_line(CHAT)), "f.jsonl.*not valid UTF-8", "UTF-8"),
    "NUL bytes": (json_line(CHAT) + b"\0\n", r"f\.jsonl:2: not valid JSON", CUT),
    "nested deeply": (b'{"a": ' * 10**5, r"f\.jsonl:1: nested too deeply", "one record"),
    "long number": (b'{"a": ' + b"1" * 5000 + b"}", r"f\.jsonl:1: holds a number of thousands", "one record"),
    "no messages": (messages(), r"f\.jsonl:1: `messages` must be a list with at least one", "each line must be"),
    "null as message": (messages(None), r"f\.jsonl:1: message 0: expected an object", "roles are"),
    "id of no text": (json_line({**CHAT, "id": None}), r"f\.jsonl:1: `id` must be text", "each line must be"),
    "no role": (messages({"content": "x"}), r"f\.jsonl:1: message 0: unknown role", "roles are"),
    "role of nobody": (messages({"role": "tool", "content": "x"}), "message 0: unknown role 'tool'", "roles are"),
    "role as a list": (messages({"role": ["user"], "content": "x"}), "message 0: unknown role", "roles are"),
    "no content": (messages({"role": "user"}), "message 0: `content` and `context` must be strings", "roles are"),
    "number as content": (messages({"role": "user", "content": 5}), "message 0: `content` and", "roles are"),
    "learnt perhaps": (
        messages({"role": "user", "content": "x", "learnt": 1}),
        "`learnt` must be true or",
        "roles are",
    ),
    "provenance as text": (json_line({**CHAT, "provenance": "x"}), "`provenance` must be an object", "each line must"),
}
VERBS: dict[str, list[object]] = {
    "stats": ["stats", "f.jsonl"],
    "stats in tokens": ["stats", "f.jsonl", "--tokenizer", "tokenizer", "--template", "tulu", "--json"],
    "lint": ["lint", "f.jsonl", "--out", "found.jsonl"],
    "inspect": ["inspect", "f.jsonl", "--tokenizer", "tokenizer", "--template", "tulu", "--count", "9"],
    "inspect by id": ["inspect", "f.jsonl", "--tokenizer", "tokenizer", "--template", "tulu", "--id", "x"],
    "diversity": ["diversity", "f.jsonl", "--parser", "lexicon", "--out", "page.html"],
    "dedup": ["dedup", "f.jsonl", "--out", "out.jsonl", "--report", "pairs.jsonl"],
    "decontaminate": ["decontaminate", "f.jsonl", "--against", "bench.jsonl", "--out", "a", "--remove", "b.jsonl"],
}


@cache
def tokenizer_text() -> str:
    return str(build_tokenizer().to_str())


def write_tokenizer() -> None:
    Path("tokenizer").mkdir()
    Path("tokenizer/tokenizer.json").write_text(tokenizer_text(), encoding="utf-8")
    Path("tokenizer/tokenizer_config.json").write_text('{"bos_token": "<s>", "eos_token": "</s>"}')


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_tells_every_fault_of_a_conversation_file(command: Command, verb: str) -> None:
    write_tokenizer()
    Path("bench.jsonl").write_bytes(json_line({"question": "one two three four five six seven eight nine ten"}))
    for name, (content, error, hint) in CONVERSATIONS.items():
        Path("f.jsonl").write_bytes(content)
        if verb == "inspect" and content.startswith(json_line(CHAT)):
            continue  # it has shown the first row by then
        try:
            check_refused(command, ["data", *VERBS[verb]], f"(?:{error})", f"(?:{hint})")
        except AssertionError as failed:
            raise AssertionError(f"{name}: {failed}") from failed


ODD = {
    "only a question": messages({"role": "user", "content": "Write a poem about it."}),
    "only an answer": messages({"role": "assistant", "content": "x"}),
    "only a system message": messages({"role": "system", "content": "x"}) + json_line(CHAT),
    "two questions": messages(*CHAT["messages"], *CHAT["messages"], CHAT["messages"][1]),
    "empty texts": messages({"role": "user", "content": ""}, {"role": "assistant", "content": " \n"}),
    "half surrogate pairs": json_line({**CHAT, "dataset": "\ud800", "id": "\udc00"})
    + messages({"role": "user", "content": "Write \ud800 a poem."}, {"role": "assistant", "content": "\udfff"}),
    "terminal sequences": json_line({**CHAT, "dataset": "\x1b[31m", "id": "\x1b]0;x\x07\nerror: none"})
    + messages({"role": "user", "content": "\x1b[2JWrite a \x9b31mpoem \u202e."}, CHAT["messages"][1]),
    "control tokens": messages(
        {"role": "user", "content": "</s> Write a <s>"}, {"role": "assistant", "content": "</s>"}
    ),
    "ids that are numbers": json_line({**CHAT, "dataset": 5, "id": 7}),
    "one id many times": json_line(CHAT) * 5,
    "line ends of Windows": json_line(CHAT).replace(b"\n", b"\r\n") * 2,
    "a byte order mark": b"\xef\xbb\xbf" + json_line(CHAT),
    "one long word": messages(
        {"role": "user", "content": "a" * 30_000}, {"role": "assistant", "content": "é" * 30_000}
    ),
    "many turns": messages(*(CHAT["messages"] * 1_000)),
}
SHOWING = ("stats", "stats in tokens", "lint", "inspect", "diversity")


@pytest.mark.parametrize("odd", ODD)
def test_verbs_that_show_take_what_can_be_read_and_print_nothing_that_acts_on_a_terminal(
    command: Command, odd: str
) -> None:
    write_tokenizer()
    Path("f.jsonl").write_bytes(ODD[odd])
    for verb in SHOWING:
        arguments = VERBS[verb][:-2] if verb in ("lint", "diversity") else VERBS[verb]
        found = command("data", *arguments)
        told = "\n".join(found.lines)
        if verb == "diversity" and odd == "only an answer":
            assert found.status == 2
            continue
        assert found.status == 0, (verb, told)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", found.out + told), verb


OPTIONS: dict[str, tuple[str, str, str]] = {
    "unknown format": ("prepare alpca a.jsonl --out out", "unknown data format: alpca", "did you mean alpaca"),
    "no such option": ("prepare alpaca a.jsonl --out out --frobnicate", "No such option", "--help"),
    "no --out": ("prepare alpaca a.jsonl", "Missing option '--out'", "data prepare --help"),
    "empty path": ("prepare alpaca '' --out out", "the path of the raw data is empty", "give a file, a folder"),
    "no such file": ("prepare alpaca none.jsonl --out out", r"none\.jsonl", "."),
    "empty folder": ("prepare alpaca folder --out out", "alpaca_data.json or one data file; it holds nothing", "name"),
    "folder of super_ni": ("prepare super_ni folder --out out", "cannot read folder/splits", "natural-instructions"),
    "messages of oasst1": ("prepare oasst1 oasst.jsonl --out out", "a single message, not a tree", "the file of trees"),
    "turns of messages": ("prepare sharegpt roles.jsonl --out out", r"\(found: role, content; exp", "format messages"),
    "turns of ShareGPT": ("prepare messages from.jsonl --out out", r"\(found: from, value; exp", "format sharegpt"),
    "option of none": ("prepare alpaca a.jsonl --out out --option x=1", "alpaca has no options", "leave"),
    "option of nothing": ("prepare alpaca a.jsonl --out out --option x", "not an option of a format: 'x'", "--opt"),
    "option of oasst1": ("prepare oasst1 a.jsonl --out out --option top_k=0", "top_k: .*1", "paths=leaf"),
    "template alone": ("prepare sharegpt a.jsonl --out out --option template=x", "needs the option tok", "template"),
    "limit alone": ("prepare sharegpt a.jsonl --out out --option max_length_tokens=9", "needs the option", "tokeniz"),
    "no tokenizer": ("prepare sharegpt s.jsonl --out out --option tokenizer=none", "no tokenizer at none", "give a"),
    "no home": ("prepare sharegpt s.jsonl --out out --option tokenizer=~none-x/y", "there is no such home", "give"),
    "cleaning rule": ("prepare alpaca a.jsonl --out out --clean htlm", "unknown cleaning rule: htlm", "html"),
    "fraction": ("prepare alpaca a.jsonl --out out --fraction 2", "fraction.*less than or equal to 1", "--help"),
    "held out": ("prepare alpaca a.jsonl --out out --held-out 9", "held.out is 9, but only 1 conversation", "lower"),
    "wording": ("prepare alpaca a.jsonl --out out --wording fancy", "wording.*'apart', 'plain' or 'random'", "--help"),
    "out under a file": ("prepare alpaca a.jsonl --out a.jsonl/out", "a.jsonl/out.*[Nn]ot a (?:dir|fold)", "."),
    "out is the input": ("prepare alpaca a.jsonl --out a.jsonl --overwrite", "its own input", "another --out"),
    "stats: template alone": ("stats c.jsonl --template tulu", "needs a tokenizer", "--tokenizer"),
    "stats: no tokenizer": ("stats c.jsonl --tokenizer none", "no tokenizer at none", "give a model"),
    "stats: no file": ("stats none", "cannot read none: No such file", "check the path"),
    "stats: folder": ("stats folder", "cannot read folder: Is a directory", "check the path"),
    "stats: limit": ("stats c.jsonl --max-length 0", "--max-length", "data stats --help"),
    "lint: rule": ("lint c.jsonl --rule lop", "unknown lint rule: lop", "did you mean loop"),
    "lint: out exists": ("lint c.jsonl --out a.jsonl", "a.jsonl exists already", "--overwrite"),
    "lint: out is the input": ("lint c.jsonl --out c.jsonl --overwrite", "its own input", "another"),
    "lint: out under a file": ("lint c.jsonl --out a.jsonl/x", "a.jsonl", "check the path"),
    "inspect: id": (
        "inspect c.jsonl --tokenizer tokenizer --template tulu --id y",
        "has no conversation y",
        "the closest are: d/x",
    ),
    "inspect: row": (
        "inspect c.jsonl --tokenizer tokenizer --template tulu --row 9",
        "has no row 9",
        "its last row is 1",
    ),
    "inspect: both": ("inspect c.jsonl --tokenizer tokenizer --row 1 --id x", "both --id and --row", "one of them"),
    "inspect: format": ("inspect c.jsonl --tokenizer tokenizer --template tulo", "unknown template: tulo", "mean tulu"),
    "diversity: ending": ("diversity c.jsonl --out x.gif", "cannot tell what to draw", ".png, .svg"),
    "diversity: parser": ("diversity c.jsonl --parser x", "no parser is called x", "spacy"),
    "diversity: exists": ("diversity c.jsonl --out old.html", "old.html exists", "--overwrite"),
    "resample: set": ("resample flan folder --out out", "unknown set to resample: flan", "flan_v2"),
    "resample: no files": ("resample flan_v2 folder --out out", "no file in folder for 14 of", "names"),
    "resample: folder as out": ("resample flan_v2 x --out folder", "folder is a folder", "a file"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_wrong_options_are_told_and_nothing_is_written(command: Command, name: str) -> None:
    line, error, hint = OPTIONS[name]
    write_tokenizer()
    Path("folder").mkdir()
    Path("old.html").write_text("mine")
    Path("a.jsonl").write_bytes(json_line(ALPACA))
    Path("s.jsonl").write_bytes(json_line(GOOD["sharegpt"]))
    Path("c.jsonl").write_bytes(json_line(CHAT))
    Path("roles.jsonl").write_bytes(json_line({"conversations": GOOD["messages"]["messages"]}))
    Path("from.jsonl").write_bytes(json_line({"messages": GOOD["sharegpt"]["conversations"]}))
    Path("oasst.jsonl").write_bytes(json_line({"message_id": "a", "parent_id": None, "text": "hi", "role": "prompter"}))
    check_refused(command, ["data", *shlex.split(line)], error, hint)


@pytest.mark.parametrize("verb", ["inspect by id"])
def test_what_can_be_read_only_once_is_refused_where_it_is_read_twice(command: Command, verb: str) -> None:
    write_tokenizer()
    os.mkfifo("f.jsonl")
    found = command("data", *VERBS[verb])
    assert found.status == 2
    assert found.lines[-2:] == [
        "error: f.jsonl is no file on disk, and --id has to read it twice",
        "hint: save it to a file, or give --row",
    ]


@pytest.mark.parametrize("verb", [["prepare", "alpaca", "f.jsonl", "--out", "out"], ["stats", "f.jsonl"]])
def test_names_of_fields_cannot_forge_an_error_nor_flood_the_terminal(command: Command, verb: list[str]) -> None:
    for name, shown in (("\x1b[31m\nhint: none", r"\x1b[31m\nhint: none"), ("k" * 10**6, "kkk"), ("\ud800", r"\ud800")):
        Path("f.jsonl").write_bytes(json_line({name: 1}))
        found = command("data", *verb)
        assert found.status == 2
        assert [line.partition(":")[0] for line in found.lines[-2:]] == ["error", "hint"]
        assert shown in found.lines[-2]
        assert len(found.lines[-2]) < 3000
        assert found.lines[-2].isprintable()
