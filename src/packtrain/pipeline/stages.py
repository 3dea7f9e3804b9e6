"""Stages that run when something they depend on changed, and only then.

`WORK/stages/NAME.json` records for each stage a digest of its settings and of the SHA-256 of its
inputs, and the SHA-256 of its outputs. A stage whose digest and outputs are unchanged is skipped;
one that was interrupted is resumed when it can be, and made again when it cannot.
"""

import fcntl
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from packtrain.core.atomic import atomic_file
from packtrain.core.errors import UserError
from packtrain.core.manifest import digest, read_manifest, sha256_of_file, utc_now
from packtrain.core.manifest import hashes as hash_files
from packtrain.core.progress import say

RECORDS = "stages"
UNCHANGED, EDITED = "unchanged", "edited by hand, left as it is"


@dataclass(frozen=True)
class Stage:
    """One step of a pipeline: files in, a folder out."""

    name: str
    out: Path
    settings: Mapping[str, Any]
    """The part of the recipe that decides the output."""
    inputs: Mapping[str, Path]
    """Role to file or folder."""
    make: Callable[[bool], Mapping[str, Any]]
    """Makes `out` (replacing it if it is there) and returns its figures; the argument says whether an
    interrupted run of the same settings and inputs may be resumed."""
    resumable: bool = False
    adoptable: bool = False
    """Whether its manifest holds all its figures, so that a crash after it was published costs nothing."""
    edited_by_hand: bool = False
    """Whether people are expected to edit the output: then an edit is kept."""


@dataclass(frozen=True)
class StageResult:
    """What became of a stage."""

    name: str
    done: bool
    """False when the stage was skipped because nothing changed, or in a dry run."""
    reason: str
    seconds: float
    figures: Mapping[str, Any] = field(default_factory=dict)


class FileHashes:
    """SHA-256 of files, remembered by path, size and modification time, so that models are not read at every run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, list[Any]] = json.loads(path.read_text()) if path.exists() else {}

    def of(self, place: Path) -> dict[str, str]:
        """As `core.manifest.hashes`, reading only what changed."""
        return hash_files(place, self._of_file)

    def _of_file(self, file: Path) -> str:
        state = file.stat()
        key, stamp = str(file.resolve()), [state.st_size, state.st_mtime_ns]
        remembered = self.known.get(key)
        if remembered is None or remembered[:2] != stamp:
            remembered = self.known[key] = [*stamp, sha256_of_file(file)]
        return str(remembered[2])

    def save(self) -> None:
        """Remember for the next run."""
        with atomic_file(self.path) as file:
            json.dump(self.known, file)


@contextmanager
def _only_one_run(records: Path) -> Iterator[None]:
    records.mkdir(parents=True, exist_ok=True)
    with open(records / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another run is at work in {records.parent}", "wait for it, or give another --work"
            ) from error
        yield


def run_stages(stages: Sequence[Stage], work: Path, name: str, *, dry_run: bool = False) -> list[StageResult]:
    """Run `stages` in order, each only if needed; what each did and why.

    `name` is the recipe's: a work folder belongs to one recipe, and another one is refused.
    """
    results: list[StageResult] = []
    with _only_one_run(work / RECORDS):
        owner = work / RECORDS / "recipe"
        if owner.exists() and owner.read_text() != name:
            raise UserError(f"{work} belongs to the recipe {owner.read_text()}", "give another --work folder")
        with atomic_file(owner) as file:
            file.write(name)
        hashes = FileHashes(work / RECORDS / "hashes.json")
        for stage in stages:
            if dry_run and any(result.reason not in (UNCHANGED, EDITED) for result in results):
                results.append(StageResult(stage.name, False, "an earlier stage would change", 0.0))
                continue
            results.append(_run_stage(stage, work / RECORDS, hashes, dry_run))
            hashes.save()
    return results


def _run_stage(stage: Stage, records: Path, hashes: FileHashes, dry_run: bool) -> StageResult:
    for role, place in stage.inputs.items():
        if not place.exists():
            raise UserError(f"{stage.name}: no {role} at {place}", "check the path in the recipe")
    settings = json.loads(json.dumps(stage.settings))
    now = {"settings": settings, "inputs": {role: hashes.of(place) for role, place in stage.inputs.items()}}
    record_file, started_file = records / f"{stage.name}.json", records / f"{stage.name}.started"
    record: Any = json.loads(record_file.read_text()) if record_file.exists() else None
    reason = _why(stage, record, now, hashes)
    if reason in (UNCHANGED, EDITED):
        say(f"{stage.name}: {reason}")
        return StageResult(stage.name, False, reason, 0.0, record["figures"])
    if dry_run:
        return StageResult(stage.name, False, reason, 0.0)
    started = json.loads(started_file.read_text()) if started_file.exists() else {}
    same = started.get("digest") == digest(now)
    if same and (adopted := _finished_since(stage, started)) is not None:
        _write_record(record_file, now, hashes, stage, adopted)
        started_file.unlink()
        say(f"{stage.name}: finished by the run before")
        return StageResult(stage.name, False, UNCHANGED, 0.0, adopted)
    if stage.out.exists() and record is None:
        raise UserError(f"{stage.out} exists, but no run here made it", "move it away, or give another --work folder")
    with atomic_file(started_file) as file:
        json.dump({"digest": digest(now), "time": utc_now()}, file)
    say(f"{stage.name}: {reason}{', resuming' if same and stage.resumable else ''}")
    begun = time.monotonic()
    figures = stage.make(same and stage.resumable)
    result = StageResult(stage.name, True, reason, time.monotonic() - begun, json.loads(json.dumps(figures)))
    _write_record(record_file, now, hashes, stage, figures)
    started_file.unlink()
    return result


def _finished_since(stage: Stage, started: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The figures of an output that was published after the stage was started; None when there is none."""
    manifest = read_manifest(stage.out) if stage.adoptable else None
    return manifest.figures if manifest is not None and manifest.finished >= started["time"] else None


def _write_record(
    file: Path, now: Mapping[str, Any], hashes: FileHashes, stage: Stage, figures: Mapping[str, Any]
) -> None:
    with atomic_file(file) as record:
        json.dump({**now, "outputs": hashes.of(stage.out), "figures": figures}, record, indent=2)


def _why(stage: Stage, record: Any, now: Mapping[str, Any], hashes: FileHashes) -> str:
    """Why the stage has to run; UNCHANGED or EDITED when it has not. Files that were added do not count."""
    if record is None:
        return "not made yet"
    changed = [key for key, value in now["settings"].items() if record["settings"].get(key) != value]
    if changed or record["settings"].keys() != now["settings"].keys():
        return f"changed: {', '.join(changed) or 'settings'}"
    roles = [role for role, found in now["inputs"].items() if record["inputs"].get(role) != found]
    if roles or record["inputs"].keys() != now["inputs"].keys():
        return f"changed input: {', '.join(roles) or 'inputs'}"
    if not stage.out.exists():
        return "its output is gone"
    found = hashes.of(stage.out)
    if any(found.get(name) != expected for name, expected in record["outputs"].items()):
        return EDITED if stage.edited_by_hand else "its output was changed"
    return UNCHANGED


def as_json(results: Sequence[StageResult]) -> list[dict[str, Any]]:
    """The results as plain JSON values."""
    return [asdict(result) for result in results]
