"""Launches of several processes by torchrun, and what their runs left."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

JOBS = Path(__file__).with_name("jobs.py")
Job = dict[str, Any]


@dataclass(frozen=True)
class Trained:
    """What a finished run says of each step, and its weights."""

    steps: list[dict[str, Any]]
    weights: dict[str, torch.Tensor]
    held_out: Sequence[float] = ()
    """Losses before and after training."""

    @classmethod
    def of(cls, out: Path, held_out: Sequence[float] = ()) -> "Trained":
        """Read from the model folder; `held_out` is from the report."""
        return cls(read_steps(out), load_file(out / "model.safetensors"), held_out)

    def column(self, key: str) -> list[float]:
        """One figure of all steps."""
        return [step[key] for step in self.steps]

    def off(self, other: "Trained") -> dict[str, float]:
        """The largest differences from another run: of losses, gradient norms (as a share) and weights."""
        assert len(self.steps) == len(other.steps)
        assert self.weights.keys() == other.weights.keys()
        pairs = list(zip(self.steps, other.steps, strict=True))
        parts = [(one.get("loss_by_dataset", {}), of.get("loss_by_dataset", {})) for one, of in pairs]
        assert all(one.keys() == of.keys() for one, of in parts)
        held_out = list(zip(self.held_out, other.held_out, strict=True))
        assert all(one[key] == of[key] for one, of in pairs for key in ("step", "lr", "learnt_tokens", "tokens"))
        return {
            "loss": max(abs(one["loss"] - of["loss"]) for one, of in pairs),
            "loss_by_dataset": max(abs(one[name] - of[name]) for one, of in parts for name in one),
            "held_out": max((abs(one - of) for one, of in held_out), default=0.0),
            "norm": max(abs(one["grad_norm"] / of["grad_norm"] - 1) for one, of in pairs),
            "weights": max(float((self.weights[k] - v).abs().max()) for k, v in other.weights.items()),
        }


def read_steps(out: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics."""
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@dataclass
class Launch:
    """A launch under way: the launcher's process, and those that it started."""

    process: "subprocess.Popen[str]"
    results: Path
    begun: float = field(default_factory=time.monotonic)
    stdout: str = ""
    stderr: str = ""

    def workers(self) -> dict[int, int]:
        """Rank to process id of what the launcher has started."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        found = {}
        for child in children:
            environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
            found |= {int(entry[5:]): int(child) for entry in environment if entry.startswith(b"RANK=")}
        return found

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Return when the condition holds; the test fails when the launch ends before that."""
        while not condition():
            if self.process.poll() is not None:
                self.end()
                raise AssertionError(f"the launch ended:\n{self.stderr}")
            time.sleep(0.01)

    def kill(self) -> None:
        """End all processes at once, without a word."""
        workers = self.workers().values()
        for process in (self.process.pid, *workers):
            os.kill(process, signal.SIGKILL)
        self.end()

    def end(self) -> int:
        """Wait for the end; the launcher's status."""
        try:
            self.stdout, self.stderr = self.process.communicate(timeout=180)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        return self.process.returncode

    @property
    def told(self) -> list[str]:
        """The lines on stderr that are not torchrun's own: its log, and the failure of its own with which it ends."""
        own, _, failure = self.stderr.partition("Traceback (most recent call last)")
        assert "error:" not in failure
        return [line for line in own.splitlines() if not re.match(r"[WEI]\d{4} |$", line)]


class Launcher:
    """Starts processes as torchrun does, a thread each, on a port of their own."""

    def __init__(self, folder: Path, environment: Callable[..., dict[str, str]]) -> None:
        self.folder, self.environment, self.count = folder, environment, 0
        self.launches: list[Launch] = []

    def start(self, processes: int, *command: object) -> Launch:
        """Start so many processes of a command (a script, or `-m module`, and its arguments)."""
        self.count += 1
        results = self.folder / f"results_{self.count}"
        results.mkdir()
        given = [str(part) if part is not RESULTS else str(results) for part in command]
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        process = subprocess.Popen(
            [*torchrun, *given],
            env=self.environment(OMP_NUM_THREADS="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.launches.append(Launch(process, results))
        return self.launches[-1]

    def start_jobs(self, jobs: Sequence[Job], processes: int = 2) -> Launch:
        """Start processes that do the jobs one after another."""
        file = self.folder / f"jobs_{self.count}.json"
        file.write_text(json.dumps(jobs, default=str))
        return self.start(processes, JOBS, file, RESULTS)

    def run(self, jobs: Sequence[Job], processes: int = 2) -> list[list[dict[str, Any]]]:
        """Do the jobs in one launch; for each job what every process found."""
        launch = self.start_jobs(jobs, processes)
        assert launch.end() == 0, launch.stderr
        ranks = [json.loads((launch.results / f"rank_{rank}.json").read_text()) for rank in range(processes)]
        return [list(found) for found in zip(*ranks, strict=True)]

    def alone(self, job: Job) -> dict[str, Any]:
        """Do a job in this very process."""
        spec = importlib.util.spec_from_file_location("jobs", JOBS)
        assert spec is not None
        assert spec.loader is not None
        jobs = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(jobs)
        found: dict[str, Any] = jobs.run(job)
        return found


RESULTS = object()
"""Stands for the folder of results in a command."""


@pytest.fixture(scope="session")
def launcher(tmp_path_factory: pytest.TempPathFactory, packtrain: Any) -> Iterator[Launcher]:
    """What starts several processes; those of tests that failed are ended."""
    made = Launcher(tmp_path_factory.mktemp("launches"), packtrain.environment)
    yield made
    for launch in made.launches:
        if launch.process.poll() is None:
            launch.kill()


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Runs in this process are as quick as those beside them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def trained() -> Callable[[Path], Trained]:
    """Reads what a finished run left."""
    return Trained.of


@pytest.fixture(scope="session")
def steps_of() -> Callable[[Path], list[dict[str, Any]]]:
    """Reads the metrics of a run, finished or not."""
    return read_steps


@pytest.fixture(scope="session")
def two_sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seventeen conversations of two data sets, of one or two rounds, no two with masks alike; three held out."""
    lines = []
    for number in range(1, 21):
        messages = [
            {"role": "user", "content": f"Count to {number}."},
            {"role": "assistant", "content": " ".join(map(str, range(1, number + 1)))},
        ]
        if number % 3 == 0:
            messages += [
                {"role": "user", "content": "And backwards, if you please, without any hurry?"},
                {"role": "assistant", "content": " ".join(map(str, range(number, 0, -1)))},
            ]
        row = {"dataset": ("counting", "other")[number % 2], "id": f"row_{number}", "messages": messages}
        lines.append(json.dumps(row) + "\n")
    folder = tmp_path_factory.mktemp("data")
    (folder / "train.jsonl").write_text("".join(lines[:17]), encoding="utf-8")
    (folder / "held_out.jsonl").write_text("".join(lines[17:]), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def job_of(two_sets: Path) -> Callable[..., Job]:
    """Makes a job: seventeen conversations in batches of eight, so that every third batch is a single one."""

    def make(
        base: Path,
        out: Path,
        *,
        engine: dict[str, Any] | None = None,
        faults: Sequence[dict[str, Any]] = (),
        data: Path = two_sets,
        **train: Any,
    ) -> Job:
        settings = {
            "lr": 3e-3,
            "epochs": 2,
            "warmup_ratio": 0.3,
            "global_batch_size": 8,
            "micro_batch_size": 4,
            "weight_decay": 0.1,
            "clip_norm": 0.5,
            "precision": "float32",
            "max_length_tokens": 400,
            "adam_epsilon": 1e-6,
            **train,
        }
        recipe = {
            "name": "job",
            "title": "A job",
            "family": "open_instruct",
            "template": "tulu",
            "base": {"path": str(base)},
            "data": {"sources": {"two": {"format": "messages", "path": str(data)}}},
            "train": settings,
        }
        return {
            "recipe": recipe,
            "data": str(data),
            "out": str(out),
            "engine": {"probes": 0} | (engine or {}),
            "faults": list(faults),
        }

    return make
