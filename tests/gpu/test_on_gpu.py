"""What only a GPU can show: its kernels, sharding with NCCL, checkpoints beside training, and the whole command on it.

The measurements are those of bench/gpu.py; here they have to come out right.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.gpu
ARCHITECTURES = ("llama", "opt", "neox")
PRECISIONS = ("float32", "bfloat16")
EXACT = {"segments", "segments, one call each", "sdpa", "eager", "sdpa, padded", "segments, padded"}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_attention_keeps_conversations_apart(
    architecture: str, precision: str, bench: dict[str, Any], setting: Any
) -> None:
    found = bench["gpu_attention"].verdicts(setting, architecture, precision)
    assert set(found["exact"]) >= EXACT, found["verdicts"]
    assert found["chosen"] == "segments, packed"


@pytest.mark.parametrize(
    "case", ["heads of 128", "heads of 64, grouped", "heads of 80", "heads of 256", "window of 100", "own scale"]
)
def test_one_kernel_for_all_conversations_is_as_exact_as_one_call_for_each(
    case: str, bench: dict[str, Any], setting: Any
) -> None:
    found = bench["gpu_attention"].kernel(setting, **bench["gpu_attention"].KERNELS[case])
    assert found["equal"], found
    assert max(found["varlen"].values()) < 3 * max(found["one_call_each"].values()), found


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_batch_is_computed_alike_in_every_layout(architecture: str, bench: dict[str, Any], setting: Any) -> None:
    found = bench["gpu_equality"].layouts(setting, architecture)
    assert found["equal"], found["differences"]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_resumed_run_is_the_same_bit_by_bit(precision: str, bench: dict[str, Any], setting: Any) -> None:
    found = bench["gpu_equality"].resumed(setting, precision)
    assert not any(found["whole_run_twice"].values()), "kernels were to add alike each time"
    assert found["equal"], found


@pytest.mark.parametrize("way", ["recomputed", "sharded", "asynchronous", "compiled"])
def test_ways_of_holding_a_model_are_equal(way: str, bench: dict[str, Any], setting: Any) -> None:
    found = getattr(bench["gpu_equality"], way)(setting)
    assert found["equal"], found


@pytest.mark.parametrize("adapter", ["lora:r=8", "dora:r=8"])
def test_an_adapter_learns(adapter: str, bench: dict[str, Any], setting: Any) -> None:
    found = bench["gpu_equality"].adapter(setting, adapter)
    assert found["equal"], found["losses"]


def test_the_command_trains_on_the_gpu_and_goes_on_after_kill_9(
    tiny_base: Path, conversations_file: Path, tmp_path: Path, packtrain: Any
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    arguments = [
        "train", "default", "--data", conversations_file, f"base.path={tiny_base}", "train.epochs=4", "engine.probes=0",
        "data.sources.mine.path=unused", "train.global_batch_size=2", "train.checkpoint_every_steps=3",
        "train.precision=float32",
    ]  # fmt: skip
    finished = packtrain(*arguments, "--out", whole)
    assert finished.returncode == 0, finished.stderr
    _kill_after(3, [*arguments, "--out", killed], killed, packtrain)
    finished = packtrain(*arguments, "--out", killed, "--resume")
    assert finished.returncode == 0, finished.stderr
    assert "resuming after step" in finished.stderr
    one, other = (_steps(folder / "metrics.jsonl") for folder in (whole, killed))
    assert len(one) == len(other) == 48
    assert [step["loss"] for step in other] == pytest.approx([step["loss"] for step in one], abs=1e-4)
    assert all(0 < step["memory_gb"] < 1 for step in one), "of the GPU's memory, not of the process"


def _kill_after(steps: int, arguments: list[Any], out: Path, packtrain: Any) -> None:
    """Start the command, and kill it when so many steps are done and a checkpoint is there."""
    partial = out.with_name(f"{out.name}.partial")
    command = [sys.executable, "-m", "packtrain", *map(str, arguments)]
    process = subprocess.Popen(command, env=packtrain.environment(), stderr=subprocess.PIPE, text=True)
    while len(_steps(partial / "metrics.jsonl")) <= steps:
        if process.poll() is not None:
            raise AssertionError(process.communicate()[1])
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert partial.is_dir()


def _steps(metrics: Path) -> list[dict[str, Any]]:
    """The whole lines of a run's metrics."""
    text = metrics.read_text() if metrics.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
