"""A run whose training a launcher starts on several processes: the same stages, resumed and refused as ever."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from packtrain.core.engine import Engine, engine_words, split_engine
from packtrain.core.errors import UserError
from packtrain.pipeline.launch import launcher_words

TWO = "torchrun --standalone --nproc_per_node 2"


def results(finished: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What became of each stage."""
    assert finished.returncode == 0, finished.stderr
    return {stage["name"]: stage for stage in json.loads(finished.stdout)["stages"]}


def test_two_processes_train_killed_with_the_run_and_go_on(toy_recipe: Path, tmp_path: Path, packtrain: Any) -> None:
    work = tmp_path / "work"
    settings = ["train.epochs=24", "train.checkpoint_every_steps=4", "engine.probes=0"]
    command = ["run", str(toy_recipe), "--work", str(work), "--launch", TWO, *settings]
    process = subprocess.Popen(
        [sys.executable, "-m", "packtrain", *command],
        env=packtrain.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    checkpoints = work / "tuned.partial" / ".checkpoints"
    while process.poll() is None and not list(checkpoints.glob("step_*/COMPLETE")):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for _ in range(600):  # the launcher hears of it and ends what it has started
        finished = packtrain(*command, "--json")
        if "another" not in finished.stderr:
            break
        time.sleep(0.2)
    done = results(finished)
    assert "resuming after step" in done["train"]["reason"]
    assert done["train"]["figures"]["hardware"].startswith("2 ")
    assert done["recover"]["figures"]["share_equal"] == 1.0
    straight = results(packtrain("run", toy_recipe, "--work", tmp_path / "one", "--launch", "", *settings, "--json"))
    assert done["train"]["figures"]["final_loss"] == pytest.approx(straight["train"]["figures"]["final_loss"], rel=1e-4)
    again = results(packtrain(*command[:4], "--json", *settings))  # how it was computed makes nothing anew
    assert {stage["reason"] for stage in again.values()} == {"unchanged"}


def test_a_training_that_fails_ends_the_run(toy_recipe: Path, tmp_path: Path, packtrain: Any) -> None:
    failed = packtrain("run", toy_recipe, "--work", tmp_path / "work", "--launch", "false")
    assert failed.returncode == 2
    assert "error: training ended with status 1: false" in failed.stderr
    assert "the same command goes on" in failed.stderr
    assert (tmp_path / "work" / "data" / "train.jsonl").exists()
    refused = packtrain("run", toy_recipe, "--work", tmp_path / "other", "--launch", "no-such-launcher -n 2")
    assert refused.returncode == 2
    assert "--launch: there is no program no-such-launcher" in refused.stderr
    assert not (tmp_path / "other").exists()


def test_all_gpus_are_used_unless_something_else_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert launcher_words(None) == ["torchrun", "--standalone", "--nproc_per_node=4"]
    assert launcher_words("") == []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert launcher_words(None) == []
    assert launcher_words("torchrun --nnodes 2 --rdzv_id 'a b'") == ["torchrun", "--nnodes", "2", "--rdzv_id", "a b"]
    with pytest.raises(UserError, match="cannot be read"):
        launcher_words("torchrun 'open")


def test_engine_settings_are_handed_on_as_they_were_given() -> None:
    given = ["engine.packing=off", "engine.micro_batch_tokens=512", "engine.trackers=[tensorboard]"]
    engine, rest = split_engine(given)
    assert rest == []
    assert split_engine(engine_words(engine)) == (engine, [])
    assert engine_words(Engine()) == []
