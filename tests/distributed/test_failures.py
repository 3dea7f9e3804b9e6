"""What goes wrong with one of several processes ends all of them, and is told once, by the one that met it."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from packtrain.core import once
from packtrain.core.errors import UserError

TRAINING = "training: 17 examples, 6 steps, 2 x CPU, FSDP2, float32 compute, float32 master weights"
KEPT = "what was finished is kept; --resume goes on, where the command has it"
MINUTE_S = 60
EVERY_TWO = {"checkpoint_every_steps": 2}


@pytest.fixture
def signs(tmp_path: Path) -> Path:
    """Where processes put up a sign when they are where the test wants them."""
    folder = tmp_path / "signs"
    folder.mkdir()
    return folder


@pytest.fixture
def command(tiny_base: Path, two_sets: Path, tmp_path: Path, job_of: Any) -> list[object]:
    """The arguments of `packtrain train` for the recipe of these tests, into the folder `out`."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(job_of(tiny_base, tmp_path / "out")["recipe"]))
    return ["-m", "packtrain", "train", recipe, "--data", two_sets, "--out", tmp_path / "out"]


def left(out: Path) -> list[str]:
    """Checkpoints of a run that is not finished."""
    return sorted(path.name for path in (out.with_name(out.name + ".partial") / ".checkpoints").glob("step_*"))


def test_a_process_that_fails_ends_all_and_its_error_is_told_once(
    tiny_base: Path, tmp_path: Path, launcher: Any, job_of: Any
) -> None:
    """Also while a checkpoint is written, which nobody waits for any more."""
    faults = [{"kind": "slow disk"}, {"kind": "raise", "step": 3, "rank": 1}]
    begun = time.monotonic()
    job = job_of(tiny_base, tmp_path / "out", faults=faults, engine={"async_checkpoints": True}, **EVERY_TWO)
    launch = launcher.start_jobs([job])
    assert launch.end() == 1
    assert time.monotonic() - begun < MINUTE_S
    assert launch.told == [
        TRAINING,
        "error: unexpected ZeroDivisionError: the fault of this test",
        "hint: this is a bug: run it again with --debug and report it",
    ]
    assert "exitcode  : 70" in launch.stderr
    assert left(tmp_path / "out") == ["step_000000", "step_000002.partial"]


def test_a_process_that_is_killed_ends_all_and_the_others_say_so(
    tiny_base: Path, tmp_path: Path, signs: Path, launcher: Any, job_of: Any, trained: Any
) -> None:
    out = tmp_path / "out"
    job = job_of(tiny_base, out, **EVERY_TWO)
    launch = launcher.start_jobs([job | {"faults": [{"kind": "pause", "step": 3, "rank": 1, "signs": str(signs)}]}])
    launch.wait_for(lambda: (signs / "1").exists())
    begun = time.monotonic()
    os.kill(launch.workers()[1], signal.SIGKILL)
    assert launch.end() == 1
    assert time.monotonic() - begun < MINUTE_S
    assert launch.told == [
        TRAINING,
        "error: the connection to another process of this run was lost",
        f"hint: that one was killed (out of memory?) or failed on another machine; {KEPT}",
    ]
    assert "Signal 9 (SIGKILL) received" in launch.stderr
    assert left(out) == ["step_000002"]
    launcher.alone(job | {"resume": True})
    launcher.alone(job | {"out": str(tmp_path / "straight")})
    off = trained(out).off(trained(tmp_path / "straight"))
    assert all(value < 1e-5 for value in off.values()), off


def test_ctrl_c_saves_and_a_second_run_into_the_folder_is_refused_before(
    tiny_base: Path, tmp_path: Path, signs: Path, command: list[object], launcher: Any, job_of: Any, trained: Any
) -> None:
    """Of the two refused processes only the first looks at the folder; the other one fails for want of it."""
    out = tmp_path / "out"
    job = job_of(tiny_base, out)
    first = launcher.start_jobs([job | {"faults": [{"kind": "pause", "step": 3, "signs": str(signs)}]}])
    first.wait_for(lambda: len(list(signs.iterdir())) == 2)
    second = launcher.start(2, *command)
    assert second.end() == 1
    assert second.told == [f"error: another command is writing {out}", "hint: wait until it has ended"]
    for more in ("resume", "overwrite"):
        with pytest.raises(UserError, match="another command is writing"):
            launcher.alone(job | {more: True})
    first.process.send_signal(signal.SIGINT)
    first.wait_for(lambda: len(list(signs.glob("asked *"))) == 2)
    (signs / "go").touch()
    assert first.end() == 1
    assert first.told[0] == TRAINING
    assert first.told[-2:] == ["error: interrupted", f"hint: {KEPT}"]
    assert sum(line.startswith("error:") for line in first.told) == 1
    assert left(out) == ["step_000003"]
    launcher.alone(job | {"resume": True})
    launcher.alone(job | {"out": str(tmp_path / "straight")})
    off = trained(out).off(trained(tmp_path / "straight"))
    assert all(value < 1e-5 for value in off.values()), off


def test_what_all_processes_find_is_told_once(tmp_path: Path, launcher: Any) -> None:
    launch = launcher.start(2, "-m", "packtrain", "train", "no-such", "--data", "no.jsonl", "--out", tmp_path / "out")
    assert launch.end() == 1
    assert len(launch.told) == 2
    assert launch.told[0].startswith("error: unknown recipe: no-such")
    assert launch.told[1].startswith("hint: ")
    assert "exitcode  : 2" in launch.stderr
    assert list(tmp_path.iterdir()) == []


def test_groups_that_do_not_fit_the_batch_are_refused_with_sizes_that_would(
    tiny_base: Path, tmp_path: Path, launcher: Any, job_of: Any
) -> None:
    settings = {"loss_averaging": "microbatch_mean", "global_batch_size": 8, "micro_batch_size": 3}
    with pytest.raises(UserError, match=r"8 is no multiple of train\.micro_batch_size 3") as error:
        launcher.alone(job_of(tiny_base, tmp_path / "out", **settings))
    assert error.value.hint == ("give train.micro_batch_size=2 (divisors: 1, 2, 4, 8), or train.global_batch_size=9")
    assert list(tmp_path.iterdir()) == []


def test_settings_of_several_processes_are_refused_in_one(
    tiny_base: Path, tmp_path: Path, launcher: Any, job_of: Any
) -> None:
    for engine, message in (
        ({"strategy": "fsdp"}, "engine.strategy=fsdp needs several processes"),
        ({"replicas": 2}, "engine.cpu_offload and engine.replicas belong to several processes"),
    ):
        with pytest.raises(UserError, match=message):
            launcher.alone(job_of(tiny_base, tmp_path / "out", engine=engine))
    assert list(tmp_path.iterdir()) == []


def lost(text: str) -> RuntimeError:
    return RuntimeError(f"[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:547] {text}")


class DistBackendError(RuntimeError):
    """Named as torch's own."""


@pytest.mark.parametrize(
    ("error", "elsewhere"),
    [
        (lost("Connection closed by peer [127.0.0.1]:24061"), True),
        (DistBackendError("NCCL error: remote process exited"), True),
        (once.Stopped(), True),
        (RuntimeError("Connection closed by peer"), False),
        (ConnectionResetError("Connection reset by peer"), False),
        (UserError("no such file", "look again"), False),
    ],
)
def test_errors_that_only_follow_from_another_processs_end(error: BaseException, elsewhere: bool) -> None:
    assert once.has_cause_elsewhere(error) is elsewhere
    made = UserError("cannot write the checkpoint", "free some disk")
    made.__cause__ = error
    assert once.has_cause_elsewhere(made) is elsewhere


def test_the_first_process_of_an_attempt_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(once, "WAIT_S", 0.2)

    def process(attempt: int, rank: int) -> None:
        folder = tmp_path / f"attempt_{attempt}" / str(rank)
        folder.mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(folder / "error.json"))

    process(0, 1)
    begun = time.monotonic()
    once.wait_for_the_cause()
    assert time.monotonic() - begun >= 0.2
    assert once.first_to_tell()
    for rank in (0, 2):
        process(0, rank)
        once.wait_for_the_cause()
        assert not once.first_to_tell()
    process(1, 0)
    assert once.first_to_tell(), "a restarted attempt has errors of its own"


@pytest.mark.parametrize("file", [None, "", "/dev/null"])
def test_without_a_launcher_every_process_speaks(file: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_ERROR_FILE", raising=False)
    if file is not None:
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", file)
    for _ in range(2):
        once.wait_for_the_cause()
        assert once.first_to_tell()
    before = signal.getsignal(signal.SIGTERM)
    with once.stoppable():
        assert signal.getsignal(signal.SIGTERM) is before


def test_a_process_that_is_asked_to_end_does_but_not_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "attempt_0" / "0").mkdir(parents=True)
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "attempt_0" / "0" / "error.json"))
    before = signal.getsignal(signal.SIGTERM)
    finished = []
    with pytest.raises(once.Stopped), once.stoppable():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # on the way out already: what has to be put away is
            finished.append(True)
    assert finished
    assert signal.getsignal(signal.SIGTERM) is before
