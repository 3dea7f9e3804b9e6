"""An interrupted preparation, killed or stopped by Ctrl-C, goes on to the same bytes and leaves no half output."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import CommandLine

from packtrain.core.conversation import read_conversations
from packtrain.core.errors import UserError
from packtrain.core.manifest import sha256_of_file
from packtrain.core.recipe import Data, Source
from packtrain.data import prepare as prepare_module
from packtrain.data.prepare import prepare
from packtrain.data.sources import locate
from packtrain.data.spool import Spool

ROWS = 4000


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Source]:
    """Three sets that repeat one another in part; reading the later ones takes a while."""
    found = {}
    for place, name in enumerate("abc"):
        path = tmp_path / f"{name}.jsonl"
        rows = [
            {
                "instruction": f"Tell me about the number {n + place * 1500} again, please.",
                "input": "",
                "output": str(n),
            }
            for n in range(ROWS)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        drawn = 3000 if name == "b" else None
        found[name] = Source(format="alpaca", path=str(path), max_examples=drawn, wording="random")
    return found


def mixture(sources: dict[str, Source], path: Path) -> None:
    entries = "".join(f"  {name}: {json.dumps(source.model_dump(mode='json'))}\n" for name, source in sources.items())
    path.write_text(f"name: m\nheld_out: 30\nduplicates: near\nsources:\n{entries}")


def hashes(out: Path) -> dict[str, str]:
    return {name: sha256_of_file(out / name) for name in ("train.jsonl", "held_out.jsonl", "dropped.jsonl")}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill", "ctrl-c"])
def test_goes_on_to_the_same_bytes(
    sources: dict[str, Source], tmp_path: Path, packtrain: CommandLine, number: signal.Signals
) -> None:
    mixture(sources, tmp_path / "m.yaml")
    whole = packtrain("data", "mix", "m.yaml", "--out", "whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    command = [sys.executable, "-m", "packtrain", "data", "mix", "m.yaml", "--out", "out"]
    journal, taken = tmp_path / "out.partial" / ".journal.jsonl", 0
    for _ in range(6):
        arguments = [*command, "--resume"] if (tmp_path / "out.partial").exists() else command
        seen = len(journal.read_text().splitlines()) if journal.exists() else 0
        with subprocess.Popen(arguments, cwd=tmp_path, env=packtrain.environment(), stderr=subprocess.PIPE) as process:
            while process.poll() is None:
                if journal.exists() and len(journal.read_text().splitlines()) > seen:
                    time.sleep(0.05)
                    process.send_signal(number)
                    break
                time.sleep(0.002)
            assert process.stderr is not None
            said = process.stderr.read().decode()
        taken += "from the interrupted run" in said
        if (tmp_path / "out").exists():
            break  # the signal came when all was done
    if not (tmp_path / "out").exists():
        last = packtrain("data", "mix", "m.yaml", "--out", "out", "--resume", cwd=tmp_path)
        assert last.returncode == 0, last.stderr
        taken += "from the interrupted run" in last.stderr
    assert taken
    assert hashes(tmp_path / "out") == hashes(tmp_path / "whole")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "dropped.jsonl", "held_out.jsonl", "mixture.json", "run.json", "train.jsonl"
    ]  # fmt: skip
    reports = [json.loads((tmp_path / name / "run.json").read_text())["figures"] for name in ("out", "whole")]
    assert reports[0] == reports[1]


def interrupted_after(sources: dict[str, Source], out: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prepare, and be interrupted when `count` sources are complete."""
    read_chunks, seen = prepare_module.read_chunks, []

    def counted(paths: Any) -> Any:
        seen.append(paths)
        if len(seen) > count:
            raise KeyboardInterrupt
        return read_chunks(paths)

    with monkeypatch.context() as patch:
        patch.setattr(prepare_module, "read_chunks", counted)
        with pytest.raises(KeyboardInterrupt):
            prepare(Data(sources=sources, duplicates="exact"), out, seed=1, jobs=1)


def test_only_what_is_still_the_same_is_taken_over(
    sources: dict[str, Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    data = Data(sources=sources, duplicates="exact")
    interrupted_after(sources, tmp_path / "out", 2, monkeypatch)
    os.utime(sources["b"].file, (1, 1))
    prepare(data, tmp_path / "out", seed=1, resume=True, jobs=1)
    said = capfd.readouterr().err
    assert "a: 4,000 conversations from the interrupted run" in said
    assert "b:" not in said
    prepare(data, tmp_path / "whole", seed=1, jobs=1)
    whole = {name: sha256_of_file(tmp_path / "whole" / name) for name in ("train.jsonl", "dropped.jsonl")}
    assert {name: sha256_of_file(tmp_path / "out" / name) for name in whole} == whole


def test_an_interrupt_while_taking_over_loses_nothing(
    sources: dict[str, Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted_after(sources, tmp_path / "out", 2, monkeypatch)
    journal = tmp_path / "out.partial" / ".journal.jsonl"
    before = journal.read_bytes()

    def stopped(spool: Spool) -> Iterator[str]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Spool, "identities", stopped)
        with pytest.raises(KeyboardInterrupt):
            prepare(Data(sources=sources, duplicates="exact"), tmp_path / "out", seed=1, resume=True, jobs=1)
    assert journal.read_bytes() == before
    assert before.count(b"\n") == 2


def test_standard_input_is_never_taken_over(
    sources: dict[str, Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    piped = {"pipe": sources["a"].model_copy(update={"path": "-"}), "b": sources["b"]}
    for row in ("first", "second"):
        text = json.dumps({"instruction": row, "input": "", "output": row}).encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
        if row == "first":
            interrupted_after(piped, tmp_path / "out", 1, monkeypatch)
    prepare(Data(sources=piped, duplicates="exact"), tmp_path / "out", seed=1, resume=True, jobs=1)
    first = next(read_conversations(tmp_path / "out" / "train.jsonl"))
    assert "second" in first.messages[0].content


def test_a_file_inside_a_folder_that_a_format_reads_itself_changes_its_state(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "one.json").write_text("{}")
    located = locate(Source(format="super_ni", path=str(tmp_path)))
    before = located.state()
    assert located.state() == before
    (tmp_path / "tasks" / "one.json").write_text("{ }")
    assert located.state() != before


def test_without_resume_nothing_of_an_interrupted_run_is_lost_or_used(
    sources: dict[str, Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted_after(sources, tmp_path / "out", 1, monkeypatch)
    with pytest.raises(UserError, match="an interrupted run left"):
        prepare(sources, tmp_path / "out", seed=1)
    assert (tmp_path / "out.partial" / ".journal.jsonl").exists()
    prepare(sources, tmp_path / "out", seed=1, overwrite=True)
    assert not (tmp_path / "out.partial").exists()


def test_an_error_or_an_interrupt_before_the_first_source_leaves_nothing(
    sources: dict[str, Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted_after(sources, tmp_path / "out.jsonl", 0, monkeypatch)
    (tmp_path / "bad.jsonl").write_text('{"instruction": "a", "output": "b"}\n{"instr')
    bad = sources["a"].model_copy(update={"path": str(tmp_path / "bad.jsonl")})
    with pytest.raises(UserError, match="bad.jsonl:2"):
        prepare({"a": sources["a"], "bad": bad}, tmp_path / "out.jsonl", seed=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "b.jsonl", "bad.jsonl", "c.jsonl"]
