"""Killed, interrupted, out of disk, with another number of processes: what a run left is gone on with exactly."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from packtrain.core.errors import UserError
from packtrain.train import checkpoint

MODEL = "model.safetensors"
CLOSE = {"loss": 1e-5, "loss_by_dataset": 1e-5, "norm": 1e-5, "weights": 1e-5}
EVERY_TWO = {"checkpoint_every_steps": 2}
EXAMPLE = "optimizer.exp_avg.lm_head.weight"
SLOW = {"kind": "slow disk"}


def stopped(step: int) -> dict[str, Any]:
    """All processes are interrupted at a step, before it is told and saved."""
    return {"kind": "interrupt", "step": step}


def kept(out: Path) -> list[str]:
    """The checkpoints of a run that is not finished."""
    return sorted(path.name for path in (out.with_name(out.name + ".partial") / ".checkpoints").glob("step_*"))


def copy_left(out: Path, to: Path) -> Path:
    """The same unfinished run once more."""
    shutil.copytree(out.with_name(out.name + ".partial"), to.with_name(to.name + ".partial"))
    return to


def same(one: Path, other: Path, steps_of: Any) -> bool:
    """Whether two runs gave the same bytes, and the same figures but for those of time and memory."""
    keys = ("step", "loss", "lr", "grad_norm", "learnt_tokens", "tokens")
    figures = [[[step[key] for key in keys] for step in steps_of(out)] for out in (one, other)]
    assert len(figures[0]) == 6
    return (one / MODEL).read_bytes() == (other / MODEL).read_bytes() and figures[0] == figures[1]


def state_in(checkpoint: Path, file: Path) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint."""
    dcp_to_torch_save(checkpoint / "state", file)
    state: dict[str, torch.Tensor] = torch.load(file, weights_only=True)
    return state


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module")
def killed(tiny_base: Path, folder: Path, launcher: Any, job_of: Any) -> Path:
    """A run in two processes, killed while it wrote the checkpoint of step 4."""
    out, signs = folder / "killed", folder / "signs"
    signs.mkdir()
    fault = {"kind": "stop while saving", "step": 4, "signs": str(signs)}
    launch = launcher.start_jobs([job_of(tiny_base, out, faults=[fault], **EVERY_TWO)])
    launch.wait_for(lambda: len(list(signs.iterdir())) == 2)
    launch.kill()
    return out


@pytest.fixture(scope="module")
def of_one(tiny_base: Path, folder: Path, launcher: Any, job_of: Any) -> Path:
    """A run in one process, interrupted in its fourth step."""
    out = folder / "of one"
    launcher.alone(job_of(tiny_base, out, faults=[stopped(4)], **EVERY_TWO) | {"may_fail": True})
    return out


@pytest.fixture(scope="module")
def with_dropout(tiny_opt: Path, folder: Path) -> Path:
    base = shutil.copytree(tiny_opt, folder / "base with dropout")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"dropout": 0.3}))
    return base


@pytest.fixture(scope="module")
def resumed(
    tiny_base: Path, with_dropout: Path, folder: Path, killed: Path, of_one: Path, launcher: Any, job_of: Any
) -> dict[str, Any]:
    """Everything that two processes do here, in one launch: name to (folder, what each process found)."""
    damaged = copy_left(killed, folder / "damaged")
    shutil.rmtree(folder / "damaged.partial/.checkpoints/step_000004.partial")
    file = folder / "damaged.partial/.checkpoints/step_000002/state/__1_0.distcp"
    file.write_bytes(file.read_bytes()[:1000])
    every_one: dict[str, Any] = {"checkpoint_every_steps": 1, "fails": True}
    ask = {"kind": "ask", "step": 5}
    jobs: dict[str, Any] = {}

    def add(
        name: str, out: str, base: Path = tiny_base, *, resume: bool = False, fails: bool = False, **more: Any
    ) -> None:
        job = job_of(base, folder / out, **{**EVERY_TWO, **more})
        jobs[name] = job | {"resume": resume, "may_fail": fails}

    copy_left(killed, folder / "killed, again")
    copy_left(of_one, folder / "one to two")
    add("straight", "straight")
    add("killed", "killed, again", resume=True)
    add("from one", "one to two", resume=True)
    add("damaged", damaged.name, resume=True, fails=True)
    add("at once", "at once", engine={"keep_last": 9}, faults=[ask], **every_one)
    meanwhile = {"keep_last": 9, "async_checkpoints": True}
    add("meanwhile", "meanwhile", engine=meanwhile, faults=[SLOW, ask], **every_one)
    add("async", "async", engine={"async_checkpoints": True}, faults=[SLOW])
    add("dropout, straight", "dropout, straight", with_dropout)
    add("dropout, stopped", "dropout", with_dropout, faults=[stopped(4)], fails=True)
    add("dropout", "dropout", with_dropout, resume=True)
    add("full disk", "full", faults=[{"kind": "full disk", "step": 3, "rank": 1}], fails=True)
    add("full disk, resumed", "full", resume=True)
    add("no disk", "no disk", faults=[{"kind": "full disk from the start", "rank": 1}], fails=True)
    found = launcher.run(list(jobs.values()))
    return {name: (Path(job["out"]), ranks) for (name, job), ranks in zip(jobs.items(), found, strict=True)}


def test_a_run_killed_while_it_saved_goes_on_to_the_same_bytes(killed: Path, resumed: Any, steps_of: Any) -> None:
    assert kept(killed) == ["step_000002", "step_000004.partial"]
    assert same(resumed["killed"][0], resumed["straight"][0], steps_of)


def test_one_process_goes_on_with_what_two_left(
    killed: Path, tiny_base: Path, folder: Path, launcher: Any, job_of: Any, trained: Any, resumed: Any
) -> None:
    out = copy_left(killed, folder / "two to one")
    launcher.alone(job_of(tiny_base, out, **EVERY_TWO) | {"resume": True})
    off = trained(out).off(trained(resumed["straight"][0]))
    assert all(off[key] <= bound for key, bound in CLOSE.items()), off


def test_two_processes_go_on_with_what_one_left(resumed: Any, trained: Any) -> None:
    off = trained(resumed["from one"][0]).off(trained(resumed["straight"][0]))
    assert all(off[key] <= bound for key, bound in CLOSE.items()), off


def test_checkpoints_that_are_written_meanwhile_hold_their_own_step(
    resumed: Any, steps_of: Any, tmp_path: Path
) -> None:
    """The disk is slower than a step: what is written is what was, not what has become of it."""
    assert resumed["meanwhile"][1][0]["error"] == ["interrupted", ""]
    assert kept(resumed["meanwhile"][0]) == kept(resumed["at once"][0]) == [f"step_{n:06d}" for n in range(6)]
    before: dict[str, torch.Tensor] = {}
    for step in range(6):
        state, wanted = (
            state_in(resumed[name][0].with_name(f"{name}.partial") / f".checkpoints/step_{step:06d}", tmp_path / name)
            for name in ("meanwhile", "at once")
        )
        assert state.keys() == wanted.keys()
        assert all(torch.equal(value, wanted[name]) for name, value in state.items())
        assert not before or not torch.equal(before[EXAMPLE], state[EXAMPLE])
        before = state
    assert same(resumed["async"][0], resumed["straight"][0], steps_of)


def test_dropout_goes_on_where_it_stopped_in_each_process(resumed: Any, steps_of: Any, trained: Any) -> None:
    out, straight = resumed["dropout"][0], resumed["dropout, straight"][0]
    assert same(out, straight, steps_of)
    assert trained(out).column("loss") != trained(resumed["straight"][0]).column("loss")


def test_a_damaged_checkpoint_is_named_by_all_processes(resumed: Any) -> None:
    """One file of the two is cut short: the process that reads it tells the other."""
    for found in resumed["damaged"][1]:
        message, hint = found["error"]
        assert message.startswith("cannot read the checkpoint ")
        assert "damaged.partial/.checkpoints/step_000002" in message
        assert hint == "remove this folder to go on from the one before it"
    assert kept(resumed["damaged"][0]) == ["step_000002"]


def test_a_full_disk_leaves_the_last_checkpoint(resumed: Any, steps_of: Any) -> None:
    """Of the second process alone: both stop, and say why."""
    for found in resumed["full disk"][1]:
        message, hint = found["error"]
        assert re.fullmatch(r"cannot write the checkpoint \S+/step_000004\.partial: is the disk full\? \(.+\)", message)
        assert hint == "the last complete one is intact: free some disk, then --resume"
    assert resumed["full disk"][1][0]["left"] == ["step_000002"]
    assert same(resumed["full disk, resumed"][0], resumed["straight"][0], steps_of)


def test_a_disk_that_cannot_hold_checkpoints_is_found_before_the_first_step(resumed: Any) -> None:
    out, ranks = resumed["no disk"]
    assert all("cannot write the checkpoint" in found["error"][0] for found in ranks)
    assert not out.exists()
    assert not out.with_name("no disk.partial").exists()


def test_too_little_space_is_told_with_figures(
    tiny_base: Path, tmp_path: Path, launcher: Any, job_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = shutil.disk_usage(tmp_path)._replace(free=200_000)
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda _: space)
    with pytest.raises(UserError, match=r"not enough disk space for checkpoints in .*: \S+ MB needed, 0\.20 MB free"):
        launcher.alone(job_of(tiny_base, tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_the_checkpoints_that_are_kept(tiny_base: Path, tmp_path: Path, launcher: Any, job_of: Any) -> None:
    engine = {"keep_last": 2, "keep_every_steps": 3}
    job = job_of(tiny_base, tmp_path / "out", epochs=3, checkpoint_every_steps=1, engine=engine, faults=[stopped(9)])
    launcher.alone(job | {"may_fail": True})
    assert kept(tmp_path / "out") == ["step_000003", "step_000006", "step_000007", "step_000008"]


def test_another_recipe_or_data_is_refused(
    of_one: Path, tiny_base: Path, two_sets: Path, tmp_path: Path, launcher: Any, job_of: Any
) -> None:
    out = copy_left(of_one, tmp_path / "out")
    fewer = tmp_path / "fewer.jsonl"
    fewer.write_text("".join((two_sets / "train.jsonl").read_text().splitlines(keepends=True)[1:]))
    for other, said in (
        ({"lr": 1e-4}, r"train\.lr .* -> 0\.0001"),
        ({"data": fewer}, "another data, another held_out"),
    ):
        with pytest.raises(UserError, match=f"is of a run with another recipe, base or data: {said}$"):
            launcher.alone(job_of(tiny_base, out, **EVERY_TWO, **other) | {"resume": True})
        assert kept(out) == ["step_000002"]


@pytest.mark.parametrize("file", ["state/__0_0.distcp", "state/.metadata", "position.json"])
@pytest.mark.parametrize("left", [0, 40])
def test_a_damaged_checkpoint_is_named(
    file: str, left: int, of_one: Path, tiny_base: Path, tmp_path: Path, launcher: Any, job_of: Any
) -> None:
    out = copy_left(of_one, tmp_path / "out")
    path = tmp_path / "out.partial/.checkpoints/step_000002" / file
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(UserError, match=r"cannot read the checkpoint \S+/step_000002 \(") as error:
        launcher.alone(job_of(tiny_base, out, **EVERY_TWO) | {"resume": True})
    assert error.value.hint == "remove this folder to go on from the one before it"
    assert kept(out) == ["step_000002"]
