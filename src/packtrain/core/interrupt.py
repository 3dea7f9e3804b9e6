"""Ctrl-C at a moment of our choosing: the running step ends, its state is saved, then the command stops."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from packtrain.core.progress import say

SETTLING_S = 1.0
"""Longer than what must not be interrupted: processes that end, files that are put away."""


@contextmanager
def deferred_interrupt(what: str) -> Iterator[Callable[[], bool]]:
    """A function that tells whether Ctrl-C (or SIGTERM) was pressed since; a second Ctrl-C stops at once.

    `what` says what will be finished first. Outside the main thread signals cannot be deferred and
    the function is False always.
    """
    requested = False

    def handler(signum: int, frame: FrameType | None) -> None:
        nonlocal requested
        if requested:
            raise KeyboardInterrupt
        requested = True
        say(f"interrupted: {what}, then stopping (again to stop at once)")

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    previous = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: requested
    finally:
        for number, former in previous.items():
            signal.signal(number, former)


@contextmanager
def one_interrupt_at_a_time() -> Iterator[None]:
    """Within SETTLING_S after Ctrl-C another one means nothing: what is being put in order is not interrupted again."""
    last = float("-inf")

    def handler(signum: int, frame: FrameType | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < SETTLING_S:
            return
        last = now
        raise KeyboardInterrupt

    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else, in the background, it is ignored
    if not usual or threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
