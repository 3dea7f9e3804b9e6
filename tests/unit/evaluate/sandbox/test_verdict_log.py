"""The log of verdicts: torn and foreign lines, and two writers."""

import json
from pathlib import Path

import pytest

from packtrain.core.errors import UserError
from packtrain.evaluate.sandbox.program import Program, Verdict
from packtrain.evaluate.sandbox.verdict_log import VerdictLog, take_over, verdicts_in


def test_verdicts_come_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "verdicts.jsonl"
    with VerdictLog(path) as log:
        log.add("a", "toy/0", Verdict("passed"))
        log.add("b", "toy/1", Verdict("exception", "KeyError: '\ud800ä'"))
        assert log.known == {"a": Verdict("passed"), "b": Verdict("exception", "KeyError: '\ud800ä'")}
    assert verdicts_in(path) == log.known
    assert json.loads(path.read_text().splitlines()[0]) == {
        "item": "toy/0",
        "program": "a",
        "verdict": "passed",
        "detail": "",
    }
    assert verdicts_in(tmp_path / "none") == {}


def test_lines_that_are_none_are_counted_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "verdicts.jsonl"
    good = '{"item": "i", "program": "a", "verdict": "passed", "detail": ""}\n'
    path.write_bytes(good.encode() + b'[]\n{"program": "x"}\n\xff\n' + good.encode()[:40])
    with VerdictLog(path) as log:
        assert log.known == {"a": Verdict("passed")}
        log.add("b", "i", Verdict("timeout"))
    assert capsys.readouterr().err == (
        f"note: 4 lines of {path} cannot be read (an interrupted write?); running their programs again\n"
    )
    assert verdicts_in(path) == {"a": Verdict("passed"), "b": Verdict("timeout")}


def test_verdicts_of_another_log_are_taken_over_as_far_as_they_are_wanted(tmp_path: Path) -> None:
    before, path = tmp_path / "before.jsonl", tmp_path / "verdicts.jsonl"
    with VerdictLog(before) as log:
        for program in ("a", "b", "c"):
            log.add(program, "toy/0", Verdict("passed"))
    with VerdictLog(path) as log:
        log.add("b", "toy/1", Verdict("timeout"))
    take_over(before, path, [("toy/0", "a"), ("toy/1", "b"), ("toy/2", "d")])
    assert verdicts_in(path) == {"a": Verdict("passed"), "b": Verdict("timeout")}
    take_over(tmp_path / "none", tmp_path / "new.jsonl", [("toy/0", "a")])
    assert not (tmp_path / "new.jsonl").exists()


def test_two_writers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    with VerdictLog(path), pytest.raises(UserError) as refused:
        VerdictLog(path)
    assert refused.value.message == f"another command is writing {path}"
    with VerdictLog(path) as log:
        assert log.known == {}


def test_a_digest_changes_with_everything_that_decides() -> None:
    first = Program("a", 0, "source", "test", "f", "known")
    same = [Program("b", 7, "source", "test", "f", "known")]
    other = [
        Program("a", 0, "source ", "test", "f", "known"),
        Program("a", 0, "source", "test ", "f", "known"),
        Program("a", 0, "source", "test", "g", "known"),
        Program("a", 0, "source", "test", "f"),
    ]
    assert {program.digest(3.0) for program in same} == {first.digest(3.0)}
    assert len({first.digest(3.0), first.digest(2.0), *(program.digest(3.0) for program in other)}) == 6
