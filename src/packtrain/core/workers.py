"""Work on all cores, in order: worker processes that take one piece after the other."""

import ctypes
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from packtrain.core.errors import UserError

_WAITING_PER_WORKER = 3
_MOST_PROCESSES = 16
_CTRL_C = {signal.SIGINT}
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def process_count(jobs: int | None) -> int:
    """`jobs`, or one process for each processor, 16 at most."""
    return jobs or min(_MOST_PROCESSES, len(os.sched_getaffinity(0)))


class Workers:
    """Worker processes, or this one alone."""

    def __init__(self, pool: ProcessPoolExecutor | None, processes: int) -> None:
        self._pool = pool
        self._waiting = _WAITING_PER_WORKER * processes

    def map(self, function: Callable[[Piece], Result], pieces: Iterable[Piece]) -> Iterator[Result]:
        """`function` of each piece, in order; a few pieces at most are ahead of what was asked for.

        What `function` raises is raised here. UserError when a process is killed, as Linux does when memory runs out.
        """
        if self._pool is None:
            yield from map(function, pieces)
            return
        pending: deque[Future[Result]] = deque()
        try:
            for piece in pieces:
                pending.append(self._pool.submit(function, piece))
                if len(pending) > self._waiting:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool as error:
            raise UserError(
                "a worker process was killed from outside, most likely because memory ran out",
                "run it again with more memory, or with fewer processes: --jobs, where the command has it",
            ) from error


@contextmanager
def workers(processes: int, setup: Callable[..., None] | None = None, *given: Any) -> Iterator[Workers]:
    """So many processes, which end with the block; with one, the work is done in this process.

    `setup(*given)` is called once in each; what is given need not be picklable: the processes are forks of this one.
    Enter the block before this process starts threads (a progress bar is one).
    """
    if processes == 1:
        if setup is not None:
            setup(*given)
        yield Workers(None, 1)
        return
    pool = ProcessPoolExecutor(
        processes, multiprocessing.get_context("fork"), initializer=_begin, initargs=(setup, given)
    )
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, _CTRL_C)  # not in the middle of a fork
        try:
            pool.submit(os.getpid).result()  # all processes start now
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _CTRL_C)
        yield Workers(pool, processes)
    finally:
        with _interrupts_ignored():
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """For the moment in which the pieces at hand are finished: a second Ctrl-C would only add a traceback."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def end_with_parent(sent: signal.Signals) -> None:
    """Have this process get a signal when the one that started it ends; on Linux, elsewhere nothing happens."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_DIE_WITH_PARENT, sent)


def _begin(setup: Callable[..., None] | None, given: tuple[Any, ...]) -> None:
    """Set up a worker: Ctrl-C is the parent's business, and a worker without a parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _CTRL_C)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent(signal.SIGKILL)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if setup is not None:
        setup(*given)
