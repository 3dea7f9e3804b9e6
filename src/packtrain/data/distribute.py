"""The second pass: the spool's lines to where they belong."""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from packtrain.core.json_text import json_text
from packtrain.core.progress import progress
from packtrain.data.draws import Chosen, SourceRows
from packtrain.data.output import HELD_OUT, TRAIN
from packtrain.data.spool import SourceReport, lines_of

_ADVANCE_EVERY = 5000


@dataclass(frozen=True, slots=True)
class Placement:
    """What becomes of each row of the spool."""

    taken: Chosen
    """Rows that are drawn."""
    aside: Chosen
    """Rows of these that are held out."""

    @property
    def drawn(self) -> int:
        """How many rows are drawn, held-out ones included."""
        return int(self.taken.sum())


def distributed_rows(sources: Sequence[SourceRows], hold_out: array[int] | None, held_out: int) -> Placement:
    """Which rows are taken, and which `held_out` of them, those with the smallest keys in `hold_out`, are held out."""
    taken = np.concatenate([source.taken() for source in sources]) if sources else np.zeros(0, np.bool_)
    aside = np.zeros(len(taken), np.bool_)
    if hold_out is not None and held_out:
        rows = np.flatnonzero(taken)
        keys = np.asarray(hold_out, np.uint64)[rows]
        aside[rows[np.argsort(keys, kind="stable")[:held_out]]] = True
    return Placement(taken, aside)


def distribute(
    spool: Path, folder: Path, sources: Sequence[SourceRows], placement: Placement, reports: Mapping[str, SourceReport]
) -> None:
    """Copy the spool's lines into `train.jsonl` and `held_out.jsonl` of `folder`, in their order, and count them.

    A repeated conversation stands once in the order for every time; its copies have `#2`, `#3` ... behind the id, and
    more than one `#` where the source's own ids end like that.
    """
    lines = lines_of(spool)
    with ExitStack() as stack:
        train: IO[bytes] = stack.enter_context(open(folder / TRAIN, "wb"))
        held_out = stack.enter_context(open(folder / HELD_OUT, "wb")) if placement.aside.any() else train
        advance = stack.enter_context(progress("writing", len(placement.taken)))
        for source in sources:
            report = reports[source.name]
            for row in range(source.first, source.first + source.rows):
                line = next(lines)
                if row % _ADVANCE_EVERY == _ADVANCE_EVERY - 1:
                    advance(_ADVANCE_EVERY)
                if placement.aside[row]:
                    held_out.write(line)
                    report.held_out += 1
                elif placement.taken[row]:
                    train.write(line)
                    for copy in range(2, source.repeat + 1):
                        train.write(_renamed(line, f"{source.copy_mark}{copy}"))
                    report.train += source.repeat
                    report.repeated += source.repeat - 1
                else:
                    report.not_drawn += 1


def _renamed(line: bytes, copy: str) -> bytes:
    """The line with `copy` behind its id: training orders rows by their ids, so copies must not share one."""
    record = json.loads(line)
    record["id"] += copy
    return f"{json_text(record)}\n".encode()
