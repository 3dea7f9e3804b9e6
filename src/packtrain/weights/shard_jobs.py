"""Writing many shards at once, and going on after an interruption with those that are complete.

A job writes one file and returns what it learnt about the tensors in it. Complete files are written
down in a journal; a resumed run verifies each of them by the hashes of its tensors and keeps it.
"""

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from packtrain.core.atomic import JOURNAL, atomic_file, fsync_folder
from packtrain.core.errors import UserError
from packtrain.core.progress import progress, say
from packtrain.weights.fingerprint import CHUNK_ELEMENTS, TensorRecord, hash_of_pieces, is_fast, record_of
from packtrain.weights.info import TensorInfo
from packtrain.weights.safetensors_file import SafetensorsFile, header_bytes
from packtrain.weights.store import TensorStore

MAX_WORKERS = 16
"""More hardly help: the disk is the bound."""

Advance = Callable[[int, str], None]
"""Called with bytes done and the tensor at hand; raises when the whole work is to stop."""


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What a job learnt."""

    written: Mapping[str, TensorRecord]
    """The tensors in its file."""
    facts: Mapping[str, Mapping[str, Any]]
    """Whatever else is worth keeping, as JSON: a kind of fact to tensor names to what is to be said of each."""


class ShardJob(Protocol):
    """One file to be written."""

    @property
    def file_name(self) -> str:
        """Its name in the output folder."""

    @property
    def nbytes(self) -> int:
        """Amount of work, for the progress bar."""

    def run(self, folder: Path, advance: Advance) -> ShardResult:
        """Write the file into `folder`, whole and synced."""


class _Stopped(Exception):
    """Another job has failed."""


def worker_count(jobs: int | None = None) -> int:
    """Threads to use: `jobs` if given, else one for each processor that this process may use, 16 at most."""
    return jobs if jobs is not None else min(len(os.sched_getaffinity(0)), MAX_WORKERS)


def run_jobs(folder: Path, jobs: Sequence[ShardJob], identity: str, description: str, workers: int) -> ShardResult:
    """Run all jobs on `workers` threads; what they learnt, merged.

    `identity` stands for inputs and settings. Files that an interrupted run with the same identity left
    in `folder` complete are verified and not written again; UserError when it had another identity. The
    first failure stops the others and is raised; what is complete stays in `folder`.
    """
    finished = _Journal(folder, identity)
    total = sum(job.nbytes for job in jobs)
    kept = []
    stop, lock = threading.Event(), threading.Lock()
    with progress(description, total, unit="bytes") as bar, one_torch_thread():

        def advance(nbytes: int, note: str) -> None:
            if stop.is_set():
                raise _Stopped
            with lock:
                bar(nbytes, note=note)

        def run(job: ShardJob) -> ShardResult:
            torch.set_num_threads(1)
            before = finished.results.get(job.file_name)
            if before is not None and _is_intact(folder / job.file_name, before.written):
                kept.append(job.file_name)
                advance(job.nbytes, f"{job.file_name} is complete")
                return before
            result = job.run(folder, advance)
            finished.add(job.file_name, result)
            return result

        with ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(run, job) for job in jobs]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
                if failure := next(_failures(futures), None):
                    raise failure
            finally:
                stop.set()
                pool.shutdown(cancel_futures=True)
    if kept:
        say(f"resumed: {len(kept)} of {len(jobs)} files were complete and verified")
    written: dict[str, TensorRecord] = {}
    facts: dict[str, dict[str, Any]] = {}
    for future in futures:
        result = future.result()
        written |= result.written
        for kind, said in result.facts.items():
            facts.setdefault(kind, {}).update(said)
    return ShardResult(written, facts)


def _failures(futures: Sequence[Future[Any]]) -> Iterator[BaseException]:
    """What went wrong, the cause before those that were stopped because of it."""
    errors = [error for future in futures if future.done() and (error := future.exception()) is not None]
    return iter(sorted(errors, key=lambda error: isinstance(error, _Stopped)))


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Keep torch from dividing every operation among threads while the work itself is divided."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _is_intact(path: Path, records: Mapping[str, TensorRecord]) -> bool:
    """Whether a file holds the tensors that were recorded, to the bit."""
    try:
        file = SafetensorsFile(path)
        if list(file.infos) != list(records) or not _has_our_header(path, list(file.infos.values())):
            return False
        store = TensorStore(path.parent, [file])
        for name, record in records.items():
            if record != record_of(
                file.infos[name], hash_of_pieces(store.chunks(name, CHUNK_ELEMENTS), fast=is_fast(record.sha256))
            ):
                return False
    except UserError:
        return False
    return True


def _has_our_header(path: Path, infos: list[TensorInfo]) -> bool:
    """Whether a file's header is the one that is written for its tensors, but for the spaces that fill it up."""
    with open(path, "rb") as file:
        header = file.read(int.from_bytes(file.read(8), "little"))
    return header.rstrip(b" ") == header_bytes(infos)[8:].rstrip(b" ")


def begun_as(folder: Path) -> str | None:
    """The identity of the run that began to fill a folder; None when none did."""
    first, newline, _ = read_journal(folder).partition("\n")
    try:
        identity = json.loads(first)["identity"] if newline else None
    except (ValueError, TypeError, KeyError):
        return None
    return identity if isinstance(identity, str) else None


def read_journal(folder: Path) -> str:
    """The text of a folder's journal, damage included; empty when there is none."""
    path = folder / JOURNAL
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


class _Journal:
    """`.finished.jsonl`: the identity of the run, then one line for every complete file."""

    def __init__(self, folder: Path, identity: str) -> None:
        self._folder = folder
        self._path = folder / JOURNAL
        self._lock = threading.Lock()
        self.results: dict[str, ShardResult] = {}
        whole, newline, torn = read_journal(folder).rpartition("\n")
        lines = [self._parsed(line) for line in (whole + newline).splitlines()]
        if not lines or torn:  # the last line of a run that was killed is dropped
            with atomic_file(self._path) as file:
                file.write(whole + newline)
        if not lines:
            self._append({"identity": identity})
        elif lines[0] != {"identity": identity}:
            raise UserError(
                f"{folder} was begun with other inputs, other settings or another version",
                "give these again to go on with it, or --overwrite to start from the beginning",
            )
        for line in lines[1:]:
            self.results |= self._result(line)

    def _result(self, line: dict[str, Any]) -> dict[str, ShardResult]:
        """What a line says of its file."""
        try:
            written = {name: _record(each) for name, each in line["written"].items()}
            return {line["file_name"]: ShardResult(written, line["facts"])}
        except (AttributeError, TypeError, KeyError) as error:
            raise self._damaged() from error

    def _parsed(self, line: str) -> dict[str, Any]:
        """A line as an object."""
        try:
            return dict(json.loads(line))
        except (ValueError, TypeError) as error:
            raise self._damaged() from error

    def _damaged(self) -> UserError:
        return UserError(f"{self._path} is damaged", "give --overwrite to start from the beginning")

    def add(self, file_name: str, result: ShardResult) -> None:
        """Write down that a file is complete, durably."""
        written = {name: asdict(record) for name, record in result.written.items()}
        with self._lock:
            fsync_folder(self._folder)
            self._append({"file_name": file_name, "written": written, "facts": result.facts})

    def _append(self, line: dict[str, Any]) -> None:
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _record(plain: dict[str, Any]) -> TensorRecord:
    return TensorRecord(plain["dtype"], tuple(plain["shape"]), plain["sha256"])
