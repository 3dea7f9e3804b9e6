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
from packtrain.core.recipe import Train
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
    def words(given: str | None) -> list[str]:
        return launcher_words(given, Train(lr=1e-5, epochs=1), Engine())

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert words(None) == ["torchrun", "--standalone", "--nproc_per_node=4"]
    assert words("") == []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert words(None) == []
    assert words("torchrun --nnodes 2 --rdzv_id 'a b'") == ["torchrun", "--nnodes", "2", "--rdzv_id", "a b"]
    with pytest.raises(UserError, match="cannot be read"):
        words("torchrun 'open")


@pytest.mark.parametrize(
    ("settings", "strategy", "processes", "why"),
    [
        ({"adapter": "qlora"}, "auto", 1, "qlora trains on one"),
        ({}, "single", 1, "engine.strategy=single is one process"),
        ({"global_batch_size": 3}, "fsdp", 3, "train.global_batch_size is 3"),
        ({"global_batch_size": 1}, "auto", 1, "train.global_batch_size is 1"),
        ({"adapter": "lora"}, "auto", 4, ""),
    ],
)
def test_no_more_gpus_are_used_than_the_training_can_use(
    settings: dict[str, Any],
    strategy: Any,
    processes: int,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    train = Train(lr=1e-5, epochs=1, **settings)
    words = launcher_words(None, train, Engine(strategy=strategy))
    assert words == (["torchrun", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else [])
    assert capsys.readouterr().err == (f"train: on {processes} of 4 GPUs, because {why}\n" if why else "")
    given = ["torchrun", "--nproc_per_node", "8"]
    assert launcher_words("torchrun --nproc_per_node 8", train, Engine(strategy=strategy)) == given


def test_engine_settings_are_handed_on_as_they_were_given() -> None:
    given = ["engine.packing=off", "engine.micro_batch_tokens=512", "engine.trackers=[tensorboard]"]
    engine, rest = split_engine(given)
    assert rest == []
    assert split_engine(engine_words(engine)) == (engine, [])
    assert engine_words(Engine()) == []
