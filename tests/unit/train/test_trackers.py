"""TensorBoard, for real, and Weights & Biases, as a module that notes what it is told."""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, get_args

import pytest

from packtrain.core.engine import Tracker
from packtrain.core.errors import UserError
from packtrain.core.folder import names
from packtrain.train.metrics import TRACKERS, MetricsLog, check_trackers, open_trackers

CONFIG = {"train": {"lr": 2e-5}, "api_key": "not for others"}


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of the event files in `folder`."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return {tag: [(each.step, each.value) for each in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def train(folder: Path, steps: range) -> None:
    done = steps.start - 1
    with MetricsLog(folder / "metrics.jsonl", open_trackers(["tensorboard"], folder, CONFIG, done)) as log:
        for step in steps:
            log.write({"step": step, "loss": 2.0 / step, "loss_by_dataset": {"a": 0.5}, "mfu": None})


def test_every_tracker_can_be_asked_for() -> None:
    assert tuple(names(TRACKERS, ".py")) == get_args(Tracker)
    check_trackers(["tensorboard", "tensorboard"])
    check_trackers([])


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    train(tmp_path, range(1, 4))
    found = scalars(tmp_path)
    assert found["loss"] == [(1, 2.0), (2, 1.0), (3, pytest.approx(2 / 3))]
    assert found["loss_by_dataset/a"] == [(1, 0.5), (2, 0.5), (3, 0.5)]
    assert set(found) == {"loss", "loss_by_dataset/a"}
    written = b"".join(file.read_bytes() for file in (tmp_path / "tensorboard").iterdir())
    assert b"2e-05" in written
    assert b"not for others" not in written


def test_after_a_resume_tensorboard_shows_each_step_once(tmp_path: Path) -> None:
    train(tmp_path, range(1, 7))
    train(tmp_path, range(4, 6))
    assert [step for step, _ in scalars(tmp_path)["loss"]] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("name", "module"), [("tensorboard", "torch.utils.tensorboard"), ("wandb", "wandb")])
def test_a_missing_package_is_told_with_the_extra(
    name: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError):
        check_trackers([name])
    with pytest.raises(UserError) as caught:
        open_trackers([name], tmp_path, CONFIG)
    assert caught.value.message == f"engine.trackers={name}: {name} is not installed"
    assert caught.value.hint == f"pip install 'packtrain[{name}]', or leave it out: metrics.jsonl is written always"
    assert list(tmp_path.iterdir()) == []


class FakeWandb(ModuleType):
    """The part of wandb that is used, as its documentation has it."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__("wandb")
        self.error = error
        self.given: list[dict[str, Any]] = []
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.finished = 0

    def Settings(self, **settings: object) -> dict[str, object]:
        return settings

    def init(self, **given: Any) -> SimpleNamespace:
        if self.error:
            raise self.error
        self.given.append(given)
        return SimpleNamespace(log=self._log, finish=self._finish)

    def _log(self, figures: dict[str, float], step: int) -> None:
        self.logged.append((step, figures))

    def _finish(self) -> None:
        self.finished += 1


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for name in ("WANDB_PROJECT", "WANDB_NAME"):
        monkeypatch.delenv(name, raising=False)
    return fake


def test_wandb_gets_figures_and_a_config_without_secrets(tmp_path: Path, wandb: FakeWandb) -> None:
    folder = tmp_path / "tuned.partial"
    folder.mkdir()
    with MetricsLog(folder / "metrics.jsonl", open_trackers(["wandb"], folder, CONFIG)) as log:
        log.write({"step": 1, "loss": 2.0, "loss_by_dataset": {"a": 0.5}})
    (given,) = wandb.given
    assert (given["project"], given["name"], given["resume"]) == ("packtrain", "tuned", "allow")
    assert given["config"] == {"train": {"lr": 2e-5}, "api_key": "..."}
    assert given["settings"] == {"console": "off", "disable_git": True, "disable_code": True}
    assert "mode" not in given, "WANDB_MODE decides"
    assert "dir" not in given, "nothing of wandb's lies in the model's folder"
    assert wandb.logged == [(1, {"loss": 2.0, "loss_by_dataset/a": 0.5})]
    assert wandb.finished == 1


def test_a_resumed_run_goes_on_in_wandb_and_a_new_one_does_not(
    tmp_path: Path, wandb: FakeWandb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    for done in (0, 7, 0):
        for tracker in open_trackers(["wandb"], tmp_path, CONFIG, done):
            tracker.close()
    first, resumed, again = (given["id"] for given in wandb.given)
    assert first == resumed != again
    assert all(given["project"] == "mine" for given in wandb.given)
    assert [file.name for file in tmp_path.iterdir()] == [".wandb_run"], "hidden: no output of the run"


def test_what_cannot_be_opened_is_told_before_training(tmp_path: Path, wandb: FakeWandb) -> None:
    wandb.error = RuntimeError("api_key not configured (no-tty)\ncall wandb.login()")
    with pytest.raises(UserError) as caught:
        open_trackers(["tensorboard", "wandb"], tmp_path, json.loads("{}"))
    assert "api_key not configured (no-tty) call wandb.login()" in caught.value.message
    assert "WANDB_MODE=offline" in caught.value.hint
