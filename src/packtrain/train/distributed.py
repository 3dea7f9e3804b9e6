"""The processes of a run: one, or those that a launcher such as torchrun has started."""

import datetime
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from packtrain.core.errors import UserError

WAIT = datetime.timedelta(hours=6)
"""How long a process waits for the others: the first one may encode a large data set meanwhile."""
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Processes:
    """Which of the processes this one is, and what they do together; with one process everything is local."""

    rank: int
    """0 is the first, which alone writes files that all share."""
    world_size: int
    local_rank: int
    """Number on this machine, which is also the number of its GPU."""
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def barrier(self) -> None:
        """Return when all processes have come here."""
        if self.world_size > 1:
            self.sum(torch.zeros(1))

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of `values` over all processes, in float64 on the CPU."""
        total = values.double().cpu()
        if self.world_size > 1:
            dist.all_reduce(total)
        return total

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true in any process: the same answer in all of them."""
        return bool(self.sum(torch.tensor([float(flag)])).item())

    def share(self, value: Result) -> Result:
        """The first process's `value`, in all of them."""
        if self.world_size == 1:
            return value
        given: list[Any] = [value]
        dist.broadcast_object_list(given, 0, device=torch.device("cpu"))
        shared: Result = given[0]
        return shared

    def first(self, work: Callable[[], Result]) -> Result:
        """What `work` returns in each process, done by the first one alone and then by the others.

        For work whose second time is quick, because it finds what the first one left: a download, a cache.
        """
        if self.is_first:
            result = work()
            self.barrier()
            return result
        self.barrier()
        return work()

    def first_on_machine(self, work: Callable[[], Result]) -> Result:
        """The same with the first process of every machine, for what each machine keeps for itself."""
        if self.local_rank == 0:
            result = work()
            self.barrier()
            return result
        self.barrier()
        return work()


def world_size() -> int:
    """How many processes the launcher has started; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first_process() -> bool:
    """Whether this process is the one that speaks, known before the processes are connected."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def connected() -> Iterator[Processes]:
    """The processes of this run, connected to each other until the block ends.

    UserError when a launcher has started more processes on this machine than there are GPUs, or when this
    torch cannot connect GPUs (no NCCL).
    """
    count, rank = world_size(), int(os.environ.get("RANK", "0"))
    if count > 1 and not {"RANK", "MASTER_ADDR", "MASTER_PORT"} <= set(os.environ):
        raise UserError(
            f"WORLD_SIZE is {count}, but nothing says which of the {count} processes this is",
            "start them with torchrun --nproc_per_node N -m packtrain train ..., or unset WORLD_SIZE",
        )
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = _device(local)
    if count == 1:
        yield Processes(0, 1, 0, device)
        return
    already = dist.is_initialized()
    if not already:
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=WAIT)
    try:
        processes = Processes(rank, count, local, device)
        yield processes
        if not already:
            processes.barrier()  # nobody hangs up while another still speaks
    finally:
        if not already:
            dist.destroy_process_group()


def _device(local_rank: int) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    found = torch.cuda.device_count()
    if local_rank >= found:
        raise UserError(
            f"process {local_rank} of this machine has no GPU: there are {found}",
            f"start at most {found} processes on each machine: torchrun --nproc_per_node={found}",
        )
    if world_size() > 1 and not dist.is_nccl_available():
        raise UserError("this torch connects no GPUs: it was built without NCCL", "install a torch built with NCCL")
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)
