"""Errors of a run in several processes, told once: by the process that met the cause.

A launcher (torchrun) starts one command several times. What is wrong with a recipe all of them find; what goes wrong
in one of them breaks the connections of the others, which then fail for no reason of their own. The first process
with something to say leaves a mark in the folder that torchrun makes for each attempt on each machine, and the others
end without a word. Without a launcher every process speaks for itself.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

WAIT_S = 5.0
"""How long a process that lost its connections waits for the cause; torchrun leaves it 30 s to end."""
_POLL_S = 0.05
_ERROR_FILE = "TORCHELASTIC_ERROR_FILE"
"""Set by torchrun to `.../attempt_N/LOCAL_RANK/error.json`, N counting the restarts."""
_CONNECTION_ERRORS = {"DistBackendError", "DistNetworkError", "DistStoreError"}
"""What torch.distributed raises when NCCL or the store loses a process; gloo raises RuntimeError."""


class Stopped(BaseException):
    """The launcher asks this process to end (SIGTERM): another one failed, or the whole job is cancelled."""


def launched() -> bool:
    """Whether a launcher such as torchrun has started this process."""
    return _attempt() is not None


@contextmanager
def stoppable() -> Iterator[None]:
    """Under a launcher, SIGTERM raises `Stopped` within the block, so that this process ends as after any error.

    A process that is on its way out already is not disturbed.
    """
    if _attempt() is None:
        yield
        return
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(signum: int, frame: FrameType | None) -> None:
    if sys.exc_info()[0] is None:
        raise Stopped


def leave(status: int) -> NoReturn:
    """End this process with `status`.

    Under a launcher at once, without taking down what libraries hold: threads that still talk to the other processes
    abort a process that ends in the ordinary way now and then (torch 2.13, gloo: "terminate called without an active
    exception", once in some fifty launches).
    """
    if _attempt() is None:
        sys.exit(status)
    for stream in (sys.stdout, sys.stderr):
        with suppress(BrokenPipeError, ValueError):
            stream.flush()
    os._exit(status)


def has_cause_elsewhere(error: BaseException | None) -> bool:
    """Whether `error`, or one that it was made from, only says that another process is gone."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:  # an error can be its own cause
        seen.append(error)
        kinds = {kind.__name__ for kind in type(error).__mro__}
        gloo = isinstance(error, RuntimeError) and "gloo/transport" in str(error)
        if gloo or isinstance(error, Stopped) or kinds & _CONNECTION_ERRORS:
            return True
        error = error.__cause__
    return False


def wait_for_the_cause() -> None:
    """Return when another process of the launch has told its error, after `WAIT_S` at the latest."""
    attempt, until = _attempt(), time.monotonic() + WAIT_S
    while attempt is not None and not _mark(attempt).exists() and time.monotonic() < until:
        time.sleep(_POLL_S)


def first_to_tell() -> bool:
    """True in the first process of a launch that asks, on each machine, and always without a launcher."""
    attempt = _attempt()
    if attempt is None:
        return True
    try:
        _mark(attempt).touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:  # better told twice than never
        return True
    return True


def _attempt() -> Path | None:
    """The folder that the processes of one launch on this machine share; None without a launcher that makes one."""
    file = os.environ.get(_ERROR_FILE)
    folder = Path(file).parent.parent if file else None
    return folder if folder is not None and folder.name.startswith("attempt_") and folder.is_dir() else None


def _mark(attempt: Path) -> Path:
    return attempt / "told"
