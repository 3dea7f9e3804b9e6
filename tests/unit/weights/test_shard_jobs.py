"""Proves that shards are written by many threads as by one, and that a failure stops all and loses nothing finished."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from packtrain.core.atomic import JOURNAL
from packtrain.core.errors import UserError
from packtrain.weights import shard_jobs
from packtrain.weights.info import TensorInfo
from packtrain.weights.shard_file import ShardFile
from packtrain.weights.shard_jobs import Advance, ShardResult, begun_as, run_jobs, worker_count


@dataclass
class Job:
    """Writes two tensors of its number; `before` is called first."""

    number: int
    before: Callable[[Advance], None] = lambda advance: None

    @property
    def file_name(self) -> str:
        return f"part-{self.number}.safetensors"

    @property
    def nbytes(self) -> int:
        return 16

    def run(self, folder: Path, advance: Advance) -> ShardResult:
        self.before(advance)
        names = [f"{self.number}.a", f"{self.number}.b"]
        with ShardFile(folder / self.file_name, [TensorInfo(name, "int32", (2,)) for name in names]) as file:
            for name in names:
                file.write(name, torch.full((2,), self.number, dtype=torch.int32))
                advance(8, name)
        return ShardResult(file.records, {"seen": {name: {"number": self.number} for name in names}})


def fail(advance: Advance) -> None:
    raise UserError("this one fails", "no hint")


def wait_until_stopped(advance: Advance) -> None:
    """Goes on until the whole work is stopped; the test's time limit ends it otherwise."""
    while True:
        advance(0, "still here")
        time.sleep(0.001)


def times_of_change(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}


@pytest.mark.parametrize("workers", [1, 3])
def test_what_the_jobs_learnt_is_merged_in_their_order(tmp_path: Path, workers: int) -> None:
    result = run_jobs(tmp_path, [Job(number) for number in range(7)], "me", "test", workers)
    names = [f"{number}.{letter}" for number in range(7) for letter in "ab"]
    assert list(result.written) == names
    assert list(result.facts["seen"]) == names
    assert result.facts["seen"]["4.b"] == {"number": 4}
    assert result.written["4.b"].shape == (2,)
    assert {path.name for path in tmp_path.iterdir()} == {f"part-{number}.safetensors" for number in range(7)} | {
        JOURNAL
    }


def test_finished_files_are_kept_and_what_they_said_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = run_jobs(tmp_path, [Job(0), Job(1)], "me", "test", 1)
    before = times_of_change(tmp_path)
    again = run_jobs(tmp_path, [Job(0, fail), Job(1, fail), Job(2)], "me", "test", 2)
    assert before.items() <= times_of_change(tmp_path).items()
    assert {name: again.written[name] for name in first.written} == first.written
    assert again.facts["seen"]["1.a"] == {"number": 1}
    assert "resumed: 2 of 3 files were complete and verified" in capsys.readouterr().err


@pytest.mark.parametrize("workers", [2, 5])
def test_a_failure_stops_the_others_and_is_the_one_that_is_raised(tmp_path: Path, workers: int) -> None:
    """Jobs that would go on for ever are stopped, those that wait write nothing, finished files stay."""
    ready = threading.Barrier(workers, timeout=10)

    def go_on(advance: Advance) -> None:
        ready.wait()
        wait_until_stopped(advance)

    def fail_with_others_at_work(advance: Advance) -> None:
        ready.wait()
        fail(advance)

    run_jobs(tmp_path, [Job(0)], "me", "test", 1)
    jobs = [Job(0), *(Job(number, go_on) for number in range(1, workers)), Job(50, fail_with_others_at_work)]
    jobs += [Job(number, wait_until_stopped) for number in range(60, 70)]
    with pytest.raises(UserError, match="this one fails"):
        run_jobs(tmp_path, jobs, "me", "test", workers)
    assert {path.name for path in tmp_path.iterdir()} == {"part-0.safetensors", JOURNAL}
    assert len((tmp_path / JOURNAL).read_text().splitlines()) == 2


def test_ctrl_c_stops_all_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        time.sleep(0.05)
        raise KeyboardInterrupt

    monkeypatch.setattr(shard_jobs, "wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_jobs(tmp_path, [Job(number, wait_until_stopped) for number in range(3)], "me", "test", 2)
    assert not list(tmp_path.glob("part-*"))
    assert not list(tmp_path.glob(".part-*"))


def test_another_identity_is_refused_and_nothing_is_touched(tmp_path: Path) -> None:
    run_jobs(tmp_path, [Job(0)], "me", "test", 1)
    before = (tmp_path / JOURNAL).read_bytes(), times_of_change(tmp_path)
    with pytest.raises(UserError) as raised:
        run_jobs(tmp_path, [Job(0), Job(1)], "you", "test", 1)
    assert raised.value.message == f"{tmp_path} was begun with other inputs, other settings or another version"
    assert ((tmp_path / JOURNAL).read_bytes(), times_of_change(tmp_path)) == before
    assert begun_as(tmp_path) == "me"


def test_who_began_a_folder(tmp_path: Path) -> None:
    assert begun_as(tmp_path) is None
    (tmp_path / JOURNAL).write_text('{"identity": "m')
    assert begun_as(tmp_path) is None


@pytest.mark.parametrize(
    "torn",
    ["", "x", '{"file_name": "part-1.safetensors"', '{"file_name": "part-1.safetensors", "written": {'.ljust(999)],
)
def test_a_torn_last_line_costs_one_file(tmp_path: Path, torn: str) -> None:
    run_jobs(tmp_path, [Job(0), Job(1)], "me", "test", 1)
    lines = (tmp_path / JOURNAL).read_text().splitlines(keepends=True)
    assert len(lines) == 3
    (tmp_path / JOURNAL).write_text("".join(lines[:2]) + torn)
    before = times_of_change(tmp_path)
    run_jobs(tmp_path, [Job(0), Job(1)], "me", "test", 1)
    after = times_of_change(tmp_path)
    assert after["part-0.safetensors"] == before["part-0.safetensors"]
    assert after["part-1.safetensors"] > before["part-1.safetensors"]
    assert [json.loads(line) for line in (tmp_path / JOURNAL).read_text().splitlines()] == list(map(json.loads, lines))


def test_a_flipped_bit_anywhere_in_a_finished_file_is_noticed(tmp_path: Path) -> None:
    run_jobs(tmp_path, [Job(3)], "me", "test", 1)
    path = tmp_path / "part-3.safetensors"
    whole = path.read_bytes()
    for place in range(0, 8 * len(whole), 23):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        run_jobs(tmp_path, [Job(3)], "me", "test", 1)
        assert path.read_bytes() == whole, place


def test_threads_of_torch_are_as_before(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    with pytest.raises(UserError):
        run_jobs(tmp_path, [Job(0), Job(1, fail)], "me", "test", 2)
    assert torch.get_num_threads() == before


def test_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker_count(3) == 3
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(64)))
    assert worker_count() == 16
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {5, 6})
    assert worker_count() == 2


@pytest.mark.parametrize("line", ["not json", "[]", "17", '{"file_name": "a"}', "null"])
def test_a_journal_that_is_damaged_in_its_midst_is_told(tmp_path: Path, line: str) -> None:
    (tmp_path / JOURNAL).write_text(f'{{"identity": "x"}}\n{line}\n')
    with pytest.raises(UserError, match=r"\.finished\.jsonl is damaged"):
        run_jobs(tmp_path, [], "x", "test", 1)
