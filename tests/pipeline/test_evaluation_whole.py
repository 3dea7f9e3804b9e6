"""All eleven columns from one command on a real, tiny model: killed once, resumed, and the same bytes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from packtrain.core.score import COLUMNS, read_scores

pytestmark = pytest.mark.real_data
FILES = ("answers.jsonl", "grades.jsonl", "questions.jsonl.zst", "scores.json")


def command(shared: Path, out: Path, *more: str) -> list[str]:
    data = shared / "data"
    asked = ["--data", str(data), "--out", str(out), "--template", "tulu", "--limit", "1", "--dtype", "float32"]
    start = [sys.executable, "-m", "packtrain", "evaluate", str(data / "stories260k"), *COLUMNS]
    return [*start, *asked, "--judge", "longest", *more]


def lines_in(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


def test_killed_and_resumed_to_the_same_bytes(shared: Path, tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    whole = subprocess.run(
        command(shared, tmp_path / "whole", "--compare", "tulu-7b"),
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert whole.returncode == 0, whole.stderr
    scores = read_scores(tmp_path / "whole/scores.json")
    assert tuple(score.column for score in scores) == COLUMNS
    assert all(score.n == 1 for score in scores)
    assert all(score.notes[-1] == "computed in float32" for score in scores)
    assert "no result of the benchmark, and in no Average" in " ".join(whole.stdout.split())
    assert all(f"{column} *" in whole.stdout for column in COLUMNS)
    assert json.loads((tmp_path / "whole/scores.json").read_text())["average"] is None

    out = tmp_path / "killed"
    log = out.with_name("killed.partial") / "asked.jsonl"
    with subprocess.Popen(command(shared, out), stderr=subprocess.DEVNULL, env=environment) as killed:
        while lines_in(log) < 20 and killed.poll() is None:
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL
    asked_before = lines_in(log)
    with open(log, "a") as file:
        file.write('{"key": "torn')
    resumed = subprocess.run(
        command(shared, out, "--resume"), capture_output=True, text=True, check=False, env=environment
    )
    assert resumed.returncode == 0, resumed.stderr
    assert asked_before >= 20
    assert "answers are there already" in resumed.stderr
    for name in FILES:
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
