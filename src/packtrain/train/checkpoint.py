"""Checkpoints: everything that a run needs to go on exactly where it stopped, written by all processes together.

A checkpoint is a folder `step_N`: `state/` holds master weights, optimizer state and random states in the form of
torch.distributed.checkpoint, each process's shards in a file of its own, so that any number of processes can read
them; `position.json` says where the run was; the mark COMPLETE comes last. Until then the folder is called
`step_N.partial`.
"""

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.state_dict_loader import load as dcp_load
from torch.distributed.checkpoint.state_dict_saver import async_save as dcp_async_save
from torch.distributed.checkpoint.state_dict_saver import save as dcp_save

from packtrain.core.atomic import atomic_file, fsync_folder
from packtrain.core.engine import Engine
from packtrain.core.errors import UserError
from packtrain.train.distributed import WAIT, Processes
from packtrain.train.strategy import Strategy
from packtrain.weights.writer import amount

COMPLETE = "COMPLETE"
RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run is, and of what run it is."""

    step: int
    """Optimizer steps done."""
    run_digest: str
    """Digest of recipe and data: a checkpoint of another run is refused."""
    held_out_before: float | None
    """Measured before step 1; kept so that a resumed run can report it."""
    seconds: float
    """Training time so far."""
    world_size: int = 1
    """Processes that wrote it."""
    state_form: str = "by weight"
    """How the strategy that wrote it names its state."""


class Checkpoints:
    """The checkpoints of one run in `folder`, which all processes see."""

    def __init__(self, folder: Path, strategy: Strategy, engine: Engine) -> None:
        self.folder, self.strategy, self.processes = folder, strategy, strategy.processes
        on_gpu = self.processes.device.type == "cuda"
        wanted = on_gpu if engine.async_checkpoints is None else engine.async_checkpoints
        self.asynchronous = wanted and self.processes.world_size > 1
        # what is written meanwhile is agreed upon meanwhile: not over the connections that training uses
        self._group = dist.new_group(backend="gloo", timeout=WAIT) if self.asynchronous else None
        self.keep_last, self.keep_every = engine.keep_last, engine.keep_every_steps
        self._writing: tuple[Future[Any], Position, bool] | None = None

    def rehearse(self, position: Position) -> None:
        """Write and verify a checkpoint before the first step, so that the way of saving is known to work.

        UserError when the disk has no room for one more checkpoint than are kept.
        """
        state = self._state()
        mine = sum(tensor_bytes(value) for value in state.values())
        needed = int(self.processes.sum(torch.tensor([float(mine)])).item()) * (self.keep_last + 1)
        self.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if self.processes.any(self.processes.is_first and free < needed):
            raise UserError(
                f"not enough disk space for checkpoints in {self.folder}: {amount(needed)} needed, {amount(free)} free",
                "free some space, or choose an --out on another disk",
            )
        self.save(position)
        self.wait()
        self._read_back(self._path(position.step))

    def save(self, position: Position, *, keep_older: bool = False) -> None:
        """Write `step_N`, after which older ones go unless `keep_older`.

        With `asynchronous` it is complete, and older ones go, only when `poll` or `wait` have seen to it.
        """
        self.wait()
        partial = self._partial(position.step)
        if self.processes.is_first:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        self.processes.barrier()
        with self._given_up_on_failure(partial), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.distributed.checkpoint warns of running without other processes
            if self.asynchronous:
                future = dcp_async_save(self._state(), checkpoint_id=partial / "state", process_group=self._group)
                self._writing = cast(Future[Any], future), position, keep_older
                return
            dcp_save(self._state(), checkpoint_id=partial / "state")
        self._complete(position, keep_older)

    def poll(self) -> None:
        """Finish the checkpoint under way, if all processes have written theirs."""
        if self._writing and not self.processes.any(not self._writing[0].done()):
            self.wait()

    def wait(self) -> None:
        """Return when no checkpoint is under way any more."""
        if self._writing is None:
            return
        future, position, keep_older = self._writing
        self._writing = None
        with self._given_up_on_failure(self._partial(position.step)):
            future.result()
        self._complete(position, keep_older)

    @contextmanager
    def _given_up_on_failure(self, partial: Path) -> Iterator[None]:
        """Turns what torch makes of a full disk into a UserError, and removes what only takes space then."""
        try:
            yield
        except (Exception, CheckpointException) as error:
            if self.processes.is_first:
                shutil.rmtree(partial, ignore_errors=True)
            raise UserError(
                f"cannot write the checkpoint {partial}: is the disk full? ({_reason(error)})",
                "the last complete one is intact: free some disk, then --resume",
            ) from error

    def _complete(self, position: Position, keep_older: bool) -> None:
        """Position, mark, name; then the older checkpoints go. Only here does anything old disappear."""
        self.processes.barrier()
        if self.processes.is_first:
            partial, target = self._partial(position.step), self._path(position.step)
            for written in (partial / "state").iterdir():
                with open(written, "rb") as handle:
                    os.fsync(handle.fileno())
            with atomic_file(partial / "position.json") as file:
                json.dump(asdict(position), file)
            with atomic_file(partial / COMPLETE) as file:
                file.write("")
            if target.exists():
                shutil.rmtree(target)
            os.rename(partial, target)
            fsync_folder(self.folder)
            if not keep_older:
                self._prune()
        self.processes.barrier()

    def _prune(self) -> None:
        for older in complete_checkpoints(self.folder)[: -self.keep_last]:
            step = _step_of(older)
            if step == 0 or self.keep_every is None or step % self.keep_every:
                shutil.rmtree(older)

    def load_newest(self, run_digest: str) -> Position | None:
        """Put the newest complete checkpoint into the strategy; its position, or None when there is none.

        What was left half written goes. UserError when it belongs to a run with another recipe or other data, or
        cannot be read.
        """
        if self.processes.is_first:
            for partial in self.folder.glob("step_*.partial"):
                shutil.rmtree(partial)
        found = complete_checkpoints(self.folder)
        if not found:
            return None
        with _named_if_damaged(found[-1]):
            position = Position(**json.loads((found[-1] / "position.json").read_text()))
        if position.run_digest != run_digest:
            raise UserError(
                f"the checkpoint {found[-1]} is of a run with another recipe, base or data",
                "give the recipe and data of that run, or --overwrite to start again",
            )
        if position.state_form != self.strategy.state_form:
            raise UserError(
                f"the checkpoint {found[-1]} holds its state {position.state_form}, "
                f"this strategy {self.strategy.state_form}",
                "go on with the engine.strategy that wrote it (deepspeed does not read what the others write)",
            )
        state = self._state(random=position.world_size == self.processes.world_size)
        with _named_if_damaged(found[-1]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dcp_load(state, checkpoint_id=found[-1] / "state")
        _set_random_state(state, self.processes)
        self.strategy.state_was_loaded()
        return position

    def _state(self, *, random: bool = True) -> dict[str, torch.Tensor]:
        return self.strategy.state() | (_random_state(self.processes) if random else {})

    def _read_back(self, path: Path) -> None:
        """Prove that a checkpoint says of itself what was written."""
        metadata = FileSystemReader(path / "state").read_metadata()
        missing = sorted(set(self._state()) - set(metadata.state_dict_metadata))
        if missing:
            raise UserError(f"the checkpoint {path} lacks {missing[0]} after writing", "check the disk")

    def _path(self, step: int) -> Path:
        return self.folder / f"step_{step:06d}"

    def _partial(self, step: int) -> Path:
        return self.folder / f"step_{step:06d}.partial"


def complete_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    found = (path for path in folder.glob("step_*") if path.suffix != ".partial" and (path / COMPLETE).exists())
    return sorted(found, key=_step_of)


def _step_of(path: Path) -> int:
    return int(path.name.removeprefix("step_"))


def tensor_bytes(tensor: torch.Tensor) -> int:
    """Bytes of a tensor, of a sharded one this process's part."""
    local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return int(local.numel() * local.element_size())


def _random_state(processes: Processes) -> dict[str, torch.Tensor]:
    """torch's random states under names of this process: dropout goes on where it was."""
    state = {f"{RANDOM}.cpu.{processes.rank}": torch.get_rng_state()}
    if processes.device.type == "cuda":
        state[f"{RANDOM}.cuda.{processes.rank}"] = torch.cuda.get_rng_state(processes.device)
    return state


def _set_random_state(state: dict[str, torch.Tensor], processes: Processes) -> None:
    if f"{RANDOM}.cpu.{processes.rank}" in state:
        torch.set_rng_state(state[f"{RANDOM}.cpu.{processes.rank}"])
    if f"{RANDOM}.cuda.{processes.rank}" in state:
        torch.cuda.set_rng_state(state[f"{RANDOM}.cuda.{processes.rank}"], processes.device)


@contextmanager
def _named_if_damaged(path: Path) -> Iterator[None]:
    """Turns whatever a damaged file leads to into a UserError."""
    try:
        yield
    except (Exception, CheckpointException) as error:
        raise UserError(
            f"cannot read the checkpoint {path} ({_reason(error)})",
            "remove this folder to go on from the one before it",
        ) from error


def _reason(error: BaseException) -> str:
    """The last line of an error: where several processes failed, torch puts their tracebacks before it."""
    last = [line for line in str(error).splitlines() if line.strip()][-1:]
    told = last[0].strip()[:200] if last else ""
    return told if isinstance(error, CheckpointException) else f"{type(error).__name__}: {told}"
