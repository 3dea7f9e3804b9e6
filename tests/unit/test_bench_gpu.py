"""bench/gpu.py: all of it runs, on a CPU with tiny models; what fails, dies or takes too long costs nothing else."""

import argparse
import importlib
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
SECTIONS = ("environment", "self_test", "equality", "main", "memory", "trainer", "tests")
"""All but TRL's: it is measured the same way as the Trainer, is installed nowhere but on benches, and loads slowly."""
ROWS = [
    {"instruction": "Name a colour.", "input": "", "output": "Red."},
    {"instruction": "Count the letters.", "input": "lamp", "output": "Four letters."},
] * 30


def run(*arguments: object, packtrain: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCH / "gpu.py"), *map(str, arguments)]
    environment = packtrain.environment(OMP_NUM_THREADS="1")
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, packtrain: Any) -> dict[str, Any]:
    """What the whole bench writes, on real rows."""
    folder = tmp_path_factory.mktemp("bench")
    rows = folder / "rows.json"
    rows.write_text(json.dumps(ROWS))
    more = ("--rows", rows, "--tokenizer", tiny_base, "--sections", *SECTIONS)
    finished = run("--tiny", "--device", "cpu", "--out", folder / "gpu.json", *more, packtrain=packtrain)
    assert finished.returncode == 0, finished.stderr
    assert "tokens/s" in finished.stdout
    written: dict[str, Any] = json.loads((folder / "gpu.json").read_text())
    return written


def test_every_section_is_measured_or_says_why_not(found: dict[str, Any]) -> None:
    states = {one["name"]: one["status"] for section in SECTIONS for one in found[section].values()}
    assert set(states.values()) <= {"ok", "left out"}, found["summary"]["trouble"]
    reasons = {name: one["reason"] for section in SECTIONS for name, one in found[section].items() if "reason" in one}
    assert reasons["compiled"] == "compilation for a CPU is not this bench's matter"
    assert reasons["tests/gpu"] == "needs a GPU"
    assert set(found["summary"]["trouble"]) == {name for name, state in states.items() if state == "left out"}


def test_what_is_exact_and_equal_is_in_the_summary(found: dict[str, Any]) -> None:
    short = found["summary"]
    assert set(short["exact"]["llama, bfloat16"]) >= {"segments", "segments, one call each", "sdpa", "eager"}
    assert short["chosen"]["llama, bfloat16"] == "segments, packed"
    verdict = found["self_test"]["llama, bfloat16"]["verdicts"]["flash_attention_2"]
    assert not verdict["exact"]
    assert verdict["difference"] == "inf", "a number that JSON has not"
    assert {"llama", "resumed, bfloat16", "recomputed", "sharded", "asynchronous"} <= set(short["equal"])
    assert all(short["equal"].values()), short["equal"]


def test_the_main_figure_has_everything(found: dict[str, Any]) -> None:
    best, rows = found["summary"]["best"], found["environment"]["rows"]
    assert rows["rows"] == "Alpaca"
    assert rows["count"] == len(ROWS)
    long = found["main"]["long"]
    assert long["tokens_per_s"] == best["tokens_per_s"] == pytest.approx(long["tokens"] / long["seconds"])
    assert best["recipe_minutes"] == pytest.approx(rows["recipe_tokens"] / best["tokens_per_s"] / 60)
    assert best["mfu"] is None, "the peak of a CPU is not known"
    assert long["peak_gb"] is None
    assert long["planned_gb"] > 0, long
    assert long["packed"]
    assert long["attention"] == "segments"
    assert found["main"]["profile"]["parts"]["update_s"] > 0
    assert found["main"]["profile"]["kernels"]
    assert found["main"]["8k"]["loss_off"] < 0.05


def test_the_trainer_is_measured_at_the_same_work(found: dict[str, Any]) -> None:
    theirs = found["trainer"]["7b, 4"]
    assert theirs["losses"][0] == pytest.approx(found["main"]["long"]["losses"][0], abs=0.05)
    assert found["summary"]["peers"]["trainer"]["ours_times_as_fast"] == pytest.approx(
        found["main"]["long"]["tokens_per_s"] / theirs["tokens_per_s"]
    )


def test_without_a_gpu_it_says_so(tmp_path: Path, packtrain: Any) -> None:
    finished = run("--out", tmp_path / "gpu.json", "--device", "cuda:63", packtrain=packtrain)
    assert finished.returncode == 1
    assert finished.stderr.splitlines() == [
        "error: torch finds no such GPU on this machine",
        "hint: --tiny --device cpu goes through it without one",
    ]


def test_rows_need_a_tokenizer(tmp_path: Path, packtrain: Any) -> None:
    finished = run("--out", tmp_path / "gpu.json", "--rows", tmp_path / "rows.json", packtrain=packtrain)
    assert finished.returncode == 2
    assert "--rows and --tokenizer belong together" in finished.stderr


@pytest.fixture(scope="module")
def modules() -> Iterator[Any]:
    """Imports a module of bench/."""
    sys.path.insert(0, str(BENCH))
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(str(BENCH))


DIES = """
import json, os, sys, time
work, sections = sys.argv[1], [text.partition("=")[0] for text in sys.argv[2:]]
path = work + "/records.jsonl"
done = open(path).read() if os.path.exists(path) else ""
def note(**record):
    with open(path, "a") as file:
        file.write(json.dumps(record) + chr(10))
for section in sections:
    for item in ("first", "second", "third"):
        name = section + "." + item
        if name in done:
            continue
        note(name=name, status="under way")
        if name == "self_test.second":
            print("assertion in a kernel", flush=True)
            os._exit(9)
        if name == "equality.first":
            print("hanging", flush=True)
            time.sleep(600)
        note(name=name, status="ok", figure=1)
"""
"""A worker one of whose measurements takes its process with it, and one never ends."""


def test_a_process_that_dies_or_hangs_costs_one_measurement_or_one_section(
    modules: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = modules("gpu")
    worker = tmp_path / "worker.py"
    worker.write_text(DIES)
    monkeypatch.setattr(gpu, "WORKER", worker)
    monkeypatch.setattr(gpu, "GRACE_S", 0.0)
    shares = {"environment": 0.5, "self_test": 0.05, "equality": 0.05, "main": 0.4}
    monkeypatch.setattr(gpu, "SECTIONS", shares)
    arguments = argparse.Namespace(
        out=tmp_path / "gpu.json",
        minutes=0.2,
        tiny=False,
        device="cpu",
        sections=list(shares),
    )
    gpu.Bench(arguments, tmp_path).run()
    written = json.loads(arguments.out.read_text())
    assert [one["status"] for one in written["environment"].values()] == ["ok"] * 3
    assert [one["status"] for one in written["self_test"].values()] == ["ok", "its process died (9)", "ok"]
    assert "assertion in a kernel" in written["self_test"]["second"]["error"]
    assert {name: one["status"] for name, one in written["equality"].items()} == {"first": "out of time"}
    assert "hanging" in written["equality"]["first"]["error"]
    assert [one["status"] for one in written["main"].values()] == ["ok"] * 3
    assert written["summary"]["trouble"].keys() == {"self_test.second", "equality.first"}


def test_records_half_written_are_left_out_and_the_newest_counts(modules: Any, tmp_path: Path) -> None:
    worker = modules("gpu_worker")
    path = tmp_path / "records.jsonl"
    worker.note(path, {"name": "a.b", "status": "under way"})
    worker.note(path, {"name": "a.b", "status": "ok", "leak": math.inf})
    with open(path, "a") as file:
        file.write('{"name": "a.c", "sta')
    assert worker.records_in(path) == {"a.b": {"name": "a.b", "status": "ok", "leak": "inf"}}


def test_the_summary_sets_our_long_run_beside_the_fastest_of_the_peers(modules: Any) -> None:
    def at(speed: float, **more: Any) -> dict[str, Any]:
        return {
            "status": "ok",
            "tokens_per_s": speed,
            "peak_gb": 100.0,
            "model": "7b",
            "batch": 4,
            "recomputed": False,
        } | more

    records = {
        "main.8k": at(9e3),
        "main.long": at(8e3, peak_gb=50.0),
        "trainer.7b, 4": at(2e3),
        "trainer.7b, 8": at(4e3),
        "trl.7b, 4": {"status": "out of memory", "error": "no room\nfor it"},
        "trl.1.3b, 4": at(5e3, model="1.3b"),
        "trl.1.3b, ours": at(2e4),
        "memory.160m": {"status": "ok", "peak_by_plan": 1.02},
    }
    found = modules("gpu_summary").summary(records)
    assert found["best"]["tokens_per_s"] == 8e3
    assert found["peers"]["trainer"]["ours_times_as_fast"] == 2.0
    assert found["peers"]["trainer"]["our_peak_by_theirs"] == 0.5
    assert found["peers"]["trl"]["ours_times_as_fast"] == 4.0
    assert found["peak_by_plan"] == {"160m": 1.02}
    assert found["trouble"] == {"trl.7b, 4": "out of memory: no room"}
    empty = modules("gpu_summary").summary({})
    assert not empty["fits_one_device"]
    assert modules("gpu_summary").told({"summary": empty})
