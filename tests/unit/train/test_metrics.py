"""`metrics.jsonl` survives kills and resumes, and no tracker stops training."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from packtrain.core.errors import UserError
from packtrain.train.metrics import MetricsLog, figures_so_far, flat, open_trackers, shareable


def line(step: int, **more: object) -> dict[str, object]:
    return {"step": step, "loss": 1.5 / step, "lr": 1e-5, "grad_norm": 2.0, "learnt_tokens": 7, "tokens": 9, **more}


def write(path: Path, steps: int) -> None:
    with MetricsLog(path) as log:
        for step in range(1, steps + 1):
            log.write(line(step))


class Collected:
    """A tracker that keeps what it gets."""

    def __init__(self, fails_at: int = 0) -> None:
        self.got: list[tuple[int, dict[str, float]]] = []
        self.fails_at, self.closed = fails_at, 0

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        if step == self.fails_at:
            raise ConnectionError("no network\nat all")
        self.got.append((step, dict(scalars)))

    def close(self) -> None:
        self.closed += 1
        if self.fails_at < 0:
            raise TimeoutError("still no network")


def test_every_line_can_be_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as log:
        for step in (1, 2):
            log.write(line(step))
            assert [json.loads(text)["step"] for text in path.read_text().splitlines()] == list(range(1, step + 1))
        log.sync()
    assert json.loads(path.read_text().splitlines()[0]) == line(1)


def test_numbers_that_are_not_finite_are_null(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as log:
        log.write({"step": 1, "mfu": float("inf"), "loss_by_dataset": {"é": float("nan"), "b": 1.0}})
    assert path.read_text() == '{"step": 1, "mfu": null, "loss_by_dataset": {"é": null, "b": 1.0}}\n'


def test_lines_behind_the_checkpoint_are_taken_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, 10)
    assert figures_so_far(path, 6) == [line(step) for step in range(1, 7)]
    assert [json.loads(text)["step"] for text in path.read_text().splitlines()] == [1, 2, 3, 4, 5, 6]
    assert list(tmp_path.iterdir()) == [path]
    with MetricsLog(path) as log:
        log.write(line(7))
    assert len(figures_so_far(path, 7)) == 7
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("rest", ['{"step": 7, "lo', '{"step": 7}', "\0" * 512, '"text"\n', "[1]\n", '{"loss": 1}\n'])
def test_what_a_kill_left_is_dropped(tmp_path: Path, rest: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, 6)
    whole = path.read_bytes()
    path.write_bytes(whole + rest.encode())
    assert [figures["step"] for figures in figures_so_far(path, 6)] == [1, 2, 3, 4, 5, 6]
    assert path.read_bytes() == whole
    assert capsys.readouterr().err == ""


def test_an_unchanged_file_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, 3)
    before = path.stat().st_ino
    figures_so_far(path, 3)
    assert path.stat().st_ino == before


def test_lost_figures_are_told_and_stop_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, 4)
    assert len(figures_so_far(path, 6)) == 4
    assert f"{path} has the figures of 4 of the 6 steps" in capsys.readouterr().err.replace("\n", "")
    assert figures_so_far(tmp_path / "absent.jsonl", 0) == []
    assert not (tmp_path / "absent.jsonl").exists()


def test_trackers_get_flat_finite_numbers(tmp_path: Path) -> None:
    tracker = Collected()
    with MetricsLog(tmp_path / "m.jsonl", [tracker]) as log:
        log.write(line(3, mfu=None, loss_by_dataset={"a": 0.5, "b": float("nan")}, note="text"))
    numbers = {"loss": 0.5, "lr": 1e-5, "grad_norm": 2.0, "learnt_tokens": 7.0, "tokens": 9.0}
    assert tracker.got == [(3, {**numbers, "loss_by_dataset/a": 0.5})]
    assert tracker.closed == 1
    assert flat({"huge": 10**400, "step": 1}) == {}


def test_a_tracker_that_fails_is_told_once_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken, well = Collected(fails_at=2), Collected()
    with MetricsLog(tmp_path / "m.jsonl", [broken, well]) as log:
        for step in (1, 2, 3):
            log.write(line(step))
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("failed") == 1
    assert "ConnectionError: no network at all" in said
    assert [step for step, _ in broken.got] == [1]
    assert [step for step, _ in well.got] == [1, 2, 3]
    assert len((tmp_path / "m.jsonl").read_text().splitlines()) == 3


def test_a_tracker_that_fails_at_the_end_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with MetricsLog(tmp_path / "m.jsonl", [Collected(fails_at=-1)]) as log:
        log.write(line(1))
    assert "may lack the last figures" in " ".join(capsys.readouterr().err.split())


def test_an_unknown_tracker_names_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        open_trackers(["tensorbord"], tmp_path, {})
    assert caught.value.message == "unknown tracker: tensorbord"
    assert caught.value.hint == "did you mean tensorboard? there are: tensorboard, wandb"
    assert open_trackers([], tmp_path, {}) == []


def test_secrets_stay_here() -> None:
    given = {
        "train": {"max_length_tokens": 512, "lr": 1e-5, "adam_betas": (0.9, 0.999)},
        "options": [{"hf_token": "abc", "api_key": "abc", "password": "abc"}],
        "path": "https://jane:abc@example.org/data",
    }
    assert shareable(given) == {
        "train": {"max_length_tokens": 512, "lr": 1e-5, "adam_betas": [0.9, 0.999]},
        "options": [{"hf_token": "...", "api_key": "...", "password": "..."}],
        "path": "https://...@example.org/data",
    }
