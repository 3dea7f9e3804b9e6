"""Proves that every file of the corpus is refused with its name, and that the fuzzer's own valid files are read."""

import importlib
import mmap
import os
import time
from pathlib import Path
from typing import Any

import pytest

CORPUS = Path(__file__).parent / "corpus"
CASES = sorted(path.name for path in CORPUS.iterdir() if path.name != "README.md")
MAX_BYTES = 20_000


@pytest.fixture
def fuzzer(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[3] / "scripts")
    return importlib.import_module("fuzz_readers")


@pytest.mark.parametrize("case", CASES)
def test_every_file_of_the_corpus_is_refused(tmp_path: Path, fuzzer: Any, case: str) -> None:
    content = (CORPUS / case).read_bytes()
    assert len(content) < MAX_BYTES
    fuzzer.place(tmp_path, case[case.index(".") :], content)
    assert fuzzer.read(tmp_path) == "refused"


def test_the_corpus_says_of_each_file_what_is_wrong_with_it() -> None:
    listed = [line.split("`")[1] for line in (CORPUS / "README.md").read_text().splitlines() if line.startswith("| `")]
    assert sorted(listed) == CASES


def test_the_fuzzer_mutates_files_that_are_read(tmp_path: Path, fuzzer: Any) -> None:
    for form, suffix in fuzzer.SUFFIXES.items():
        for number, content in enumerate(fuzzer.seeds(form)):
            folder = tmp_path / f"{form} {number}"
            folder.mkdir()
            fuzzer.place(folder, suffix, content)
            assert fuzzer.read(folder) == "read"


def test_a_case_that_crashes_hangs_or_takes_memory_is_a_finding(monkeypatch: pytest.MonkeyPatch, fuzzer: Any) -> None:
    def read(folder: Path) -> str:
        content = (folder / "model.safetensors").read_bytes()
        if content == b"crash":
            os._exit(3)
        if content == b"hang":
            time.sleep(60)
        if content == b"memory":
            with mmap.mmap(-1, 200_000_000) as pages:  # new ones, whatever this process has freed and kept
                pages.write(bytes(200_000_000))
        assert content == b"good"
        return "read"

    monkeypatch.setattr(fuzzer, "read", read)
    monkeypatch.setattr(fuzzer, "MAX_SECONDS", 1)
    monkeypatch.setattr(fuzzer, "MAX_GROWTH_BYTES", 100_000_000)
    reader = fuzzer.Reader()
    outcomes = [reader.outcome(".safetensors", content) for content in (b"good", b"crash", b"hang", b"memory", b"bad")]
    reader._process.kill()
    assert outcomes[0] == "read"
    assert outcomes[1] == "finding: the process died with exit code 3"
    assert outcomes[2] == "finding: no answer in 1 seconds"
    assert outcomes[3].endswith("bytes of memory")
    assert "AssertionError" in outcomes[4]
