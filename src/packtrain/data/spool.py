"""The first pass over the sources: every good conversation into one spool file, every other record beside it.

A journal says how far the files are complete after each source, so that an interrupted preparation goes on with the
source that it was at.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

from packtrain.core.json_text import json_text
from packtrain.data.identities import Identities
from packtrain.data.output import DROPPED, FINISHED_SOURCES
from packtrain.data.repetitions import Met, Repetitions
from packtrain.data.work import Row

_SPOOL, _KEPT = ".spool.jsonl", ".kept.jsonl"


@dataclass
class SourceReport:
    """What became of one source: read = train + held_out + not_drawn + all dropped, but for copies by `repeat`."""

    read: int = 0
    train: int = 0
    held_out: int = 0
    not_drawn: int = 0
    """Good conversations beyond `max_examples` or `fraction`."""
    repeated: int = 0
    """Copies in `train` beyond the first of each conversation."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Reason -> records."""
    mended: Counter[str] = field(default_factory=Counter)
    """Cleaning rule -> conversations that it changed and that were kept."""

    def figures(self) -> dict[str, Any]:
        """The counts as plain JSON types."""
        return {**vars(self), "dropped": dict(self.dropped), "mended": dict(self.mended)}


@dataclass(frozen=True, slots=True)
class Finished:
    """A source that is in the spool as a whole, and how long the files are behind it."""

    digest: str
    """Of all that decided what came of the source, and of the sources before it."""
    rows: int
    """Lines of the spool that are the source's."""
    read: int
    dropped: dict[str, int]
    mended: dict[str, int]
    good_bytes: int
    dropped_bytes: int
    kept_bytes: int


class Spool:
    """The good conversations so far, as lines of a file in the order of the sources.

    `duplicates` says whether records that repeat an earlier one are left out; with a `similarity`, those that nearly
    repeat one are, too. Without `unique_ids` a second record of the same id is kept. What an interrupted run left in
    `folder` is taken over as far as its journal says.
    """

    def __init__(self, folder: Path, *, duplicates: bool, similarity: float | None, unique_ids: bool = True) -> None:
        self.path = folder / _SPOOL
        self._journal = folder / FINISHED_SOURCES
        self._finished = list(_read_journal(self._journal, folder))
        self._duplicates, self._similarity, self._folder = duplicates, similarity, folder
        self._unique_ids = unique_ids
        self.rows = 0
        """Lines of the spool."""
        self._opened = False
        self._taken: list[Finished] = []

    def take_over(self, digest: str, report: SourceReport) -> int | None:
        """The rows of the next source, when an interrupted run has finished it; None when it is still to be read."""
        if self._opened or not self._finished or self._finished[0].digest != digest:
            return None
        done = self._finished.pop(0)
        self._taken.append(done)
        report.read = done.read
        report.dropped.update(done.dropped)
        report.mended.update(done.mended)
        self.rows += done.rows
        return done.rows

    def begin_source(self) -> None:
        """Make ready for the records of a source; ids are unique within it."""
        self._identities = Identities()
        self._number = 0
        if not self._opened:
            self._open()

    def _open(self) -> None:
        """Open the files behind what was taken over, and cut off what is not known to be complete."""
        good = dropped = kept = 0
        if self._taken:
            good, dropped, kept = self._taken[-1].good_bytes, self._taken[-1].dropped_bytes, self._taken[-1].kept_bytes
        self._good = _at(self.path, good)
        self._dropped = _at(self._folder / DROPPED, dropped)
        self._repetitions = Repetitions(self._folder / _KEPT, self._similarity, kept) if self._duplicates else None
        self._journal.write_text("".join(json.dumps(asdict(done)) + "\n" for done in self._taken), encoding="utf-8")
        self._opened = True

    def add(self, dataset: str, row: Row, report: SourceReport) -> str | None:
        """Write what came of one record and count it; the id of the conversation when it was kept."""
        report.read += 1
        if row.reason:
            self._drop(dataset, row.id, row.reason, row.body, report)
            return None
        identity = row.id
        if not identity:
            identity = f"{dataset}_{self._number}"
            self._number += 1
        if self._unique_ids and not self._identities.add(identity):
            self._drop(dataset, identity, "id already taken", _with_reason("id already taken", row.body), report)
            return None
        repeats = self._repetitions and self._repetitions.first_of(Met(dataset, identity), row)
        if repeats:
            first, reason = repeats
            original = json_text({"duplicate_of": asdict(first)})[1:-1]
            self._drop(dataset, identity, reason, f"{_with_reason(reason, row.body)}, {original}", report)
            return None
        report.mended.update(row.mended)
        head = json_text({"dataset": dataset, "id": identity})[1:-1]
        self._good.write(f"{{{head}, {row.body}}}\n".encode())
        self.rows += 1
        return identity

    def _drop(self, dataset: str, identity: str, reason: str, body: str, report: SourceReport) -> None:
        report.dropped[reason] += 1
        head = json.dumps({"dataset": dataset, "id": identity})[1:-1]
        self._dropped.write(f"{{{head}, {body}}}\n".encode())

    def end_source(self, digest: str, rows: int, report: SourceReport) -> None:
        """Say in the journal that the source is complete."""
        kept = 0
        if self._repetitions is not None:
            self._repetitions.flush()
            kept = self._repetitions.bytes
        for file in (self._good, self._dropped):
            file.flush()
            os.fsync(file.fileno())
        done = Finished(
            digest, rows, report.read, dict(report.dropped), dict(report.mended),
            self._good.tell(), self._dropped.tell(), kept,
        )  # fmt: skip
        with open(self._journal, "a", encoding="utf-8") as journal:
            journal.write(json.dumps(asdict(done)) + "\n")

    def end(self) -> None:
        """All sources are in the spool: cut off what an interrupted run may have left behind them."""
        if not self._opened:
            os.truncate(self.path, self._taken[-1].good_bytes)
            os.truncate(self._folder / DROPPED, self._taken[-1].dropped_bytes)

    def close(self) -> None:
        """Close the files, if a source was read."""
        if self._opened:
            self._good.close()
            self._dropped.close()
            if self._repetitions is not None:
                self._repetitions.close()

    def identities(self) -> Iterator[str]:
        """The ids of the source that was taken over last."""
        start = self._taken[-2].good_bytes if len(self._taken) > 1 else 0
        with open(self.path, "rb") as lines:
            lines.seek(start)
            for line in islice(lines, self._taken[-1].rows):
                yield json.loads(line)["id"]

    def remove(self) -> None:
        """Remove all but the dropped records."""
        for name in (_SPOOL, _KEPT, FINISHED_SOURCES):
            (self._folder / name).unlink(missing_ok=True)


def _read_journal(path: Path, folder: Path) -> Iterator[Finished]:
    """The finished sources whose rows are all there: after a power failure some may not be."""
    files = {name: folder / name for name in (_SPOOL, DROPPED, _KEPT)}
    there = {name: file.stat().st_size if file.exists() else 0 for name, file in files.items()}
    with suppress(FileNotFoundError, ValueError, TypeError):  # a line that was cut short ends it
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            done = Finished(**json.loads(line))
            needed = {_SPOOL: done.good_bytes, DROPPED: done.dropped_bytes, _KEPT: done.kept_bytes}
            if any(there[name] < size for name, size in needed.items()):
                return
            yield done


def _at(path: Path, length: int) -> IO[bytes]:
    file = open(path, "ab")  # noqa: SIM115 - closed with the spool
    file.truncate(length)
    return file


def _with_reason(reason: str, body: str) -> str:
    return f"{json.dumps({'reason': reason})[1:-1]}, {body}"


def lines_of(spool: Path) -> Iterator[bytes]:
    """The lines of a finished spool file."""
    with open(spool, "rb") as lines:
        yield from lines
