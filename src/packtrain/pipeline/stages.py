"""Stages that run when something they depend on changed, and only then.

`WORK/stages/NAME.json` records for each stage a digest of its settings and of the SHA-256 of its
inputs, and the SHA-256 of its outputs. A stage whose digest and outputs are unchanged is skipped;
one that was interrupted is resumed when it can be, and made again when it cannot. All stages are
looked at first: what any of them lacks is told before the first begins.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from packtrain.core.atomic import atomic_file
from packtrain.core.errors import UserError
from packtrain.core.manifest import NAME, sha256_of_file, utc_now
from packtrain.core.progress import say
from packtrain.pipeline.doctor.checks import refuse
from packtrain.pipeline.kept_files import give_back, keep_files, unused
from packtrain.pipeline.stage_outlook import UNCHANGED, Action, FileHashes, Stage, look_at, outlook, read_json
from packtrain.train.doctor_checks import Finding, error, in_order

RECORDS = "stages"
Check = Callable[[Sequence[str]], Sequence[Finding]]
"""The findings about what the stages of these names need."""


@dataclass(frozen=True)
class StageResult:
    """What became of a stage, or in a dry run what would become of it."""

    name: str
    what: str
    """What the stage does, in a few words."""
    action: Action
    done: bool
    """False when the stage was skipped because nothing changed, or in a dry run."""
    reason: str
    seconds: float
    figures: Mapping[str, Any] = field(default_factory=dict)


@contextmanager
def _only_one_run(records: Path) -> Iterator[None]:
    records.mkdir(parents=True, exist_ok=True)
    with open(records / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            raise UserError(
                f"another run is at work in {records.parent}", "wait for it, or give another --work"
            ) from problem
        yield


def run_stages(stages: Sequence[Stage], work: Path, name: str, check: Check | None = None) -> list[StageResult]:
    """Run `stages` in order, each only if needed; what each did and why.

    `name` is the recipe's: a work folder belongs to one recipe, and another one is refused. `check` gives, for the
    names of the stages that have to be done, the findings about what they need; UserError when one is an error.
    """
    with _only_one_run(work / RECORDS):
        _check_owner(work, name)
        hashes = FileHashes(work / RECORDS / "hashes.json")
        planned = plan_stages(stages, work, hashes)
        hashes.save()
        refuse(findings_of(stages, planned, check))
        with atomic_file(work / RECORDS / "recipe") as file:
            file.write(name)
        width = max((len(stage.name) for stage in stages), default=0)
        for plan in planned:
            say(f"  {plan.name:{width}}  {plan.reason}")
        results = []
        for stage, plan in zip(stages, planned, strict=True):
            results.append(_run_stage(stage, work / RECORDS, hashes, told=plan.reason))
            hashes.save()
    return results


def dry_run_stages(
    stages: Sequence[Stage], work: Path, name: str, check: Check | None = None
) -> tuple[list[StageResult], list[Finding]]:
    """What `run_stages` would do and why, and all that is to be said of what it needs; nothing is made.

    Only the hashes of what is there are kept, where a run was before.
    """
    _check_owner(work, name)
    hashes = FileHashes(work / RECORDS / "hashes.json")
    planned = plan_stages(stages, work, hashes)
    if hashes.path.exists():
        hashes.save()
    return planned, findings_of(stages, planned, check)


def plan_stages(stages: Sequence[Stage], work: Path, hashes: FileHashes) -> list[StageResult]:
    """What is to be done with each stage, as far as can be told before the earlier ones are done."""
    coming: dict[Path, str] = {}
    planned = []
    for stage in stages:
        found = outlook(stage, work / RECORDS, hashes, coming)
        if found.action != "skip":
            coming[stage.out] = stage.name
        planned.append(StageResult(stage.name, stage.what, found.action, False, found.reason, 0.0, found.figures))
    return planned


def findings_of(
    stages: Sequence[Stage],
    planned: Sequence[StageResult],
    check: Check | None = None,
) -> list[Finding]:
    """What is to be said of the stages that are not skipped, errors first."""
    todo = {result.name for result in planned if result.action != "skip"}
    in_the_way = [
        error(f"{stage.out} exists, but no run here made it", stage.name, "move it away, or give another --work folder")
        for stage, result in zip(stages, planned, strict=True)
        if result.action == "blocked"
    ]
    asked = check([stage.name for stage in stages if stage.name in todo]) if check and todo else ()
    return in_order([*in_the_way, *asked])


def _check_owner(work: Path, name: str) -> None:
    owner = work / RECORDS / "recipe"
    if owner.exists() and owner.read_text() != name:
        raise UserError(f"{work} belongs to the recipe {owner.read_text()}", "give another --work folder")


def _run_stage(stage: Stage, records: Path, hashes: FileHashes, *, told: str) -> StageResult:
    """What became of the stage; `told` is the reason that was given for it before the first one began."""
    for role, place in stage.inputs.items():
        if not place.exists():
            raise UserError(f"{stage.name}: no {role} at {place}", "check the path in the recipe")
    record_file, started_file = records / f"{stage.name}.json", records / f"{stage.name}.started"
    now = look_at(stage, hashes)
    found = outlook(stage, records, hashes, {})
    if found.action == "skip":
        if found.adopted:
            _write_record(record_file, now, hashes, stage, found.figures)
        _give_back(stage, records, hashes)
        if read_json(started_file, {}).get("digest") == now.digest:
            started_file.unlink()
        if found.reason != told:
            say(f"{stage.name}: {found.reason}")
        reason = UNCHANGED if found.adopted else found.reason
        return StageResult(stage.name, stage.what, "skip", False, reason, 0.0, found.figures)
    if found.action == "blocked":
        raise UserError(f"{stage.out} exists, but no run here made it", "move it away, or give another --work folder")
    if found.edited:
        _keep_edits(stage)
    elif not stage.edited_by_hand:
        _keep_files(stage, records, hashes)
    started = {"digest": now.digest, "time": utc_now(), "replaces": _identity(stage.out)}
    _write_json(started_file, started)
    say(f"{stage.name}: {stage.what if found.reason == told and stage.what else found.reason}")
    begun = time.monotonic()
    figures = json.loads(json.dumps(stage.make(found.action == "resume")))
    _write_json(started_file, {**started, "figures": figures})  # before its output is hashed, which may take long
    seconds = time.monotonic() - begun
    _write_record(record_file, now, hashes, stage, figures)
    _give_back(stage, records, hashes)
    started_file.unlink()
    return StageResult(stage.name, stage.what, found.action, True, found.reason, seconds, figures)


def _keep_edits(stage: Stage) -> None:
    """Set an output that people have changed aside before it is made anew."""
    aside = unused(stage.out, "edited")
    os.rename(stage.out, aside)
    say(f"{stage.name}: what was edited by hand is kept in {aside}")


def _keep_files(stage: Stage, records: Path, hashes: FileHashes) -> None:
    """Keep what people put into the output before it is made anew, unless a killed run has replaced it already."""
    record = read_json(records / f"{stage.name}.json")
    started = read_json(records / f"{stage.name}.started")
    if record is None or not stage.out.exists():
        return
    if started is not None and ("figures" in started or started.get("replaces") != _identity(stage.out)):
        return
    keep_files(stage.out, records / f"{stage.name}.kept", hashes.of(stage.out), record["outputs"])


def _identity(out: Path) -> str | None:
    """What tells an output from the one that replaces it."""
    manifest = out / NAME
    return sha256_of_file(manifest) if manifest.exists() else None


def _give_back(stage: Stage, records: Path, hashes: FileHashes) -> None:
    """Put what was kept into the output that is there and recorded now."""
    kept = records / f"{stage.name}.kept"
    if kept.exists():
        outputs = read_json(records / f"{stage.name}.json")["outputs"]
        give_back(stage.name, stage.out, kept, hashes.of(stage.out), outputs)


def _write_json(file: Path, value: Any) -> None:
    with atomic_file(file) as out:
        json.dump(value, out)


def _write_record(file: Path, now: Any, hashes: FileHashes, stage: Stage, figures: Mapping[str, Any]) -> None:
    with atomic_file(file) as record:
        contents = {"contents": now.contents} if now.contents else {}
        outputs = hashes.of(stage.out)
        json.dump({**now.as_json(), **contents, "outputs": outputs, "figures": figures}, record, indent=2)


def as_json(results: Sequence[StageResult]) -> list[dict[str, Any]]:
    """The results as plain JSON values."""
    return [asdict(result) for result in results]
