"""Progress and log lines: on stderr always, so that stdout carries results alone.

A terminal gets a live bar; anything else (a log file, a cluster job) gets a plain line now and then.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

PLAIN_LINE_EVERY_S = 15.0

Advance = Callable[..., None]
"""Call with the amount done and, optionally, `note=...` to show beside the bar."""


@cache
def console() -> Console:
    """The console for everything that is not a result."""
    return Console(stderr=True, highlight=False)


def speaks() -> bool:
    """Whether this process is the one that speaks: of several that a launcher has started, the first."""
    return os.environ.get("RANK", "0") == "0"


def say(line: str) -> None:
    """One line for the person at the terminal."""
    if not speaks():
        return
    console().print(line, markup=False, soft_wrap=True)


@contextmanager
def progress(description: str, total: int | None, unit: str = "") -> Iterator[Advance]:
    """A function that advances a bar of `total` units, for work that may take over two seconds.

    With `unit="bytes"` amounts are shown in megabytes and gigabytes, with the speed.
    """
    if not speaks():
        yield lambda amount=1, note="": None
    elif console().is_terminal:
        amounts = (DownloadColumn(), TransferSpeedColumn()) if unit == "bytes" else (MofNCompleteColumn(),)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            *amounts,
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        with Progress(*columns, console=console()) as bar:
            task = bar.add_task(description, total=total, note="")

            def advance(amount: float = 1, note: str = "") -> None:
                bar.update(task, advance=amount, note=note)

            yield advance
    else:
        yield _plain_lines(description, total, unit)


def _plain_lines(description: str, total: int | None, unit: str) -> Advance:
    done, last = 0.0, time.monotonic()
    scale, suffix = (1e-6, " MB") if unit == "bytes" else (1.0, "")

    def advance(amount: float = 1, note: str = "") -> None:
        nonlocal done, last
        done += amount
        now = time.monotonic()
        if now - last >= PLAIN_LINE_EVERY_S:
            last = now
            whole = f"{total * scale:.0f}" if total else "?"
            print(f"{description}: {done * scale:.0f}/{whole}{suffix} {note}".rstrip(), file=sys.stderr, flush=True)

    return advance
