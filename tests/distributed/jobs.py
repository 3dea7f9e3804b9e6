"""Training runs one after another in the processes of one launch: `torchrun ... jobs.py JOBS.json RESULTS`.

A job is the arguments of `packtrain.train.stage.train` as JSON, and perhaps a fault that strikes on the way. RESULTS
gets `rank_N.json` with what each job gave in process N. Grouped, because a launch takes longer than many tiny runs.
"""

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.tensor import DTensor, Shard

from packtrain.cli.main import end
from packtrain.core.engine import Engine
from packtrain.core.errors import UserError
from packtrain.core.recipe_file import validate_recipe
from packtrain.models.load import load_causal_lm
from packtrain.train import checkpoint, session
from packtrain.train.stage import train
from packtrain.train.strategies import fsdp
from packtrain.weights.vocabulary import grow_token_tables

RANK = int(os.environ.get("RANK", "0"))
FULL_DISK_BYTES = 20_000
"""Files of a full disk end here: metrics fit, the smallest shard of a checkpoint does not."""


def run(job: dict[str, Any]) -> dict[str, Any]:
    """What one job gave: its report, or its error if the job says that it may have one, and how weights were held."""
    recipe = validate_recipe(job["recipe"], "job")
    shards: dict[str, tuple[int, int]] = {}
    given = {key: job.get(key, False) for key in ("resume", "overwrite")} | {"engine": Engine(**job["engine"])}
    try:
        with _shards_observed(shards), _faults(job.get("faults", [])):
            report = train(recipe, Path(job["data"]), Path(job["out"]), **given)
    except (UserError, KeyboardInterrupt) as error:
        if not job.get("may_fail"):
            raise
        told = [error.message, error.hint] if isinstance(error, UserError) else ["interrupted", ""]
        left = (Path(job["out"] + ".partial") / ".checkpoints").glob("step_*")
        return {"error": told, "left": sorted(path.name for path in left), "shards": shards}
    return {"held_out": [report.held_out_before, report.held_out_after], "hardware": report.hardware, "shards": shards}


def whole_base(folder: Path, tokens: int) -> Any:
    """The model that training starts from, in float32, with a row for every token."""
    model = load_causal_lm(folder, torch.float32)
    grow_token_tables(model, tokens)
    return model


@contextmanager
def _shards_observed(shards: dict[str, tuple[int, int]]) -> Iterator[None]:
    """Prove, when FSDP has built a model, that each process has its own rows of the base alone; and count them."""
    build = fsdp.Strategy.build

    def observed(self: Any, source: Any, *given: Any) -> None:
        build(self, source, *given)
        base = dict(whole_base(source.folder, source.tokens).named_parameters())
        for name, weight in self.objective.model.named_parameters():
            assert isinstance(weight, DTensor), name
            dimension = next(number for number, how in enumerate(weight.placements) if isinstance(how, Shard))
            count, mine = weight.device_mesh.size(dimension), weight.device_mesh.get_local_rank(dimension)
            cut = torch.chunk(torch.arange(weight.shape[0]), count)
            rows = cut[mine] if mine < len(cut) else torch.arange(0)
            local = weight.to_local()
            assert local.shape[0] == len(rows), name
            assert torch.equal(local, base[name][rows]), name
            shards[name] = (local.shape[0], weight.shape[0])
        for state in self.optimizer.state.values():
            assert isinstance(state["exp_avg"], DTensor)

    with patch.object(fsdp.Strategy, "build", observed):
        yield


@contextmanager
def _faults(faults: list[dict[str, Any]]) -> Iterator[None]:
    """What goes wrong: a `kind`, at a `step` before it is told, in one process (`rank`) or in all."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with ExitStack() as patches:
        for fault in faults:
            kind, step = fault["kind"], fault.get("step", 0)
            if kind == "stop while saving":
                stopping = _stopping(checkpoint.dcp_save, step, Path(fault["signs"]))
                patches.enter_context(patch.object(checkpoint, "dcp_save", stopping))
            elif kind == "slow disk":
                patches.enter_context(patch.object(FileSystemWriter, "write_data", _slow(FileSystemWriter.write_data)))
            elif kind == "raise":
                patches.enter_context(patch.object(fsdp.Strategy, "update", _failing(fault["rank"], step)))
            elif kind == "full disk from the start":
                _fill_disk(fault["rank"])
            else:
                details = {key: value for key, value in fault.items() if key not in ("kind", "step")}
                strike = partial(STRIKES[kind], **{"rank": RANK} | details)
                patches.enter_context(patch.object(session, "optimize", _striking(session.optimize, step, strike)))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def _striking(optimize: Callable[..., Iterator[Any]], at: int, strike: Callable[[], None]) -> Callable[..., Any]:
    def steps(*given: Any, **named: Any) -> Iterator[Any]:
        for step in optimize(*given, **named):
            if step.step == at:
                strike()
            yield step

    return steps


def _failing(rank: int, at: int) -> Callable[..., float]:
    """An update that fails, while the other processes wait for this one's part of it."""
    update, calls = fsdp.Strategy.update, count(1)

    def failing(*given: Any) -> float:
        if next(calls) == at and rank == RANK:
            raise ZeroDivisionError("the fault of this test")
        return update(*given)

    return failing


def _ask(rank: int) -> None:
    """As Ctrl-C does."""
    if rank == RANK:
        os.kill(os.getpid(), signal.SIGINT)


def _interrupt(rank: int) -> None:
    if rank == RANK:
        raise KeyboardInterrupt


def _fill_disk(rank: int) -> None:
    """A limit on the size of files stands in for a full disk."""
    if rank == RANK:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (FULL_DISK_BYTES, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def _pause(rank: int, signs: str) -> None:
    """Until there is a file `go` beside the sign that this process puts up; another sign says that it got Ctrl-C."""
    folder, former = Path(signs), signal.getsignal(signal.SIGINT)

    def asked(number: int, frame: FrameType | None) -> None:
        (folder / f"asked {RANK}").touch()
        assert callable(former)
        former(number, frame)

    signal.signal(signal.SIGINT, asked)
    (folder / str(RANK)).touch()
    while rank == RANK and not (folder / "go").exists():
        time.sleep(0.01)
    signal.signal(signal.SIGINT, former)


STRIKES: dict[str, Callable[..., None]] = {
    "ask": _ask,
    "interrupt": _interrupt,
    "full disk": _fill_disk,
    "pause": _pause,
}


def _stopping(save: Callable[..., Any], step: int, signs: Path) -> Callable[..., Any]:
    """Saving that stands still at `step` with half a file written, until somebody kills it."""

    def stopping(state: Any, *, checkpoint_id: Path, **named: Any) -> Any:
        if f"step_{step:06d}" not in str(checkpoint_id):
            return save(state, checkpoint_id=checkpoint_id, **named)
        checkpoint_id.mkdir(exist_ok=True)
        (checkpoint_id / f"__{RANK}_0.distcp").write_bytes(b"half")
        (signs / str(RANK)).touch()
        time.sleep(600)

    return stopping


def _slow(write: Callable[..., Any]) -> Callable[..., Any]:
    def slow(*given: Any, **named: Any) -> Any:
        time.sleep(0.3)  # many steps of these tiny models
        return write(*given, **named)

    return slow


def main() -> None:
    """Run all jobs; what they gave lies in the folder of results."""
    jobs, results = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    if len(jobs) > 1:
        dist.init_process_group("gloo")
    found = [run(job) for job in jobs]
    (results / f"rank_{RANK}.json").write_text(json.dumps(found))
    if len(jobs) > 1:
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    end(main, debug=False)
