"""Raw data sets to the files that training reads: checked, drawn, split and counted.

The output folder holds `train.jsonl`, `held_out.jsonl` when rows are held out, `dropped.jsonl` with
the identity of every record that could not be used and why, and `run.json`.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from packtrain.core.atomic import output_folder
from packtrain.core.conversation import Conversation
from packtrain.core.errors import UserError
from packtrain.core.folder import module
from packtrain.core.manifest import Manifest, hashes
from packtrain.core.progress import progress
from packtrain.core.recipe import Source
from packtrain.data.checks import reason_to_drop
from packtrain.data.records import Dropped

FORMATS = "packtrain.data.formats"
TRAIN, HELD_OUT, DROPPED = "train.jsonl", "held_out.jsonl", "dropped.jsonl"
_SPOOL = ".spool.jsonl"
_ADVANCE_EVERY = 500


@dataclass
class SourceReport:
    """What became of one source: read = train + held_out + not_drawn + all dropped."""

    read: int = 0
    train: int = 0
    held_out: int = 0
    not_drawn: int = 0
    """Good conversations beyond `max_examples`."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Reason -> records."""


@dataclass
class PrepareReport:
    """What was read, kept and dropped, by source."""

    sources: dict[str, SourceReport]

    @property
    def train(self) -> int:
        """Conversations to train on."""
        return sum(source.train for source in self.sources.values())

    @property
    def held_out(self) -> int:
        """Conversations to measure the loss on."""
        return sum(source.held_out for source in self.sources.values())

    def figures(self) -> dict[str, Any]:
        """The counts as plain JSON types, for `run.json`."""
        sources = {name: {**vars(source), "dropped": dict(source.dropped)} for name, source in self.sources.items()}
        return {"train": self.train, "held_out": self.held_out, "sources": sources}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a spooled conversation belongs and with what keys it is drawn."""

    source: str
    draw: bytes
    hold_out: bytes


def prepare(
    sources: Mapping[str, Source], out: Path, *, held_out: int = 0, seed: int, overwrite: bool = False
) -> PrepareReport:
    """Make the folder `out` from `sources`, in their order; the counts of what was read, kept and dropped.

    `max_examples` of a source and `held_out` of the whole are drawn by a hash of seed, data set and id,
    so the order of sources does not matter, nor that of records which bring their own ids (a running
    number is the id in formats that have none). Raises UserError when a file is missing
    or of another format, when nothing is left, and when everything would be held out.
    """
    _check_files(sources)
    report = PrepareReport({name: SourceReport() for name in sources})
    with output_folder(
        out, "data", inputs=[source.file for source in sources.values()], overwrite=overwrite
    ) as partial:
        spool = partial / _SPOOL
        places = _spool(sources, seed, spool, partial / DROPPED, report)
        drawn = _drawn(sources, places)
        aside = _smallest([(place.hold_out, row) for row, place in enumerate(places) if row in drawn], held_out)
        _check_enough(report, len(drawn), held_out)
        _distribute(spool, partial, places, drawn, aside, report)
        spool.unlink()
        Manifest(
            stage="data",
            settings={"sources": {name: source.model_dump() for name, source in sources.items()}, "held_out": held_out},
            inputs={name: hashes(source.file) for name, source in sources.items()},
            outputs=hashes(partial),
            figures=report.figures(),
            seed=seed,
        ).write(partial)
    return report


def _check_files(sources: Mapping[str, Source]) -> None:
    missing = [f"{name} ({source.path})" for name, source in sources.items() if not source.file.is_file()]
    if missing:
        raise UserError(
            f"no such data file: {', '.join(missing)}",
            "; ".join(f"data.sources.{entry.split(' ')[0]}.path=FILE" for entry in missing)
            + " names it; `packtrain show RECIPE` says which file is meant",
        )


def conversations(source: Source, dataset: str) -> Iterator[Conversation | Dropped]:
    """What a source holds, each good conversation as read and everything else as Dropped with its reason."""
    seen: set[str] = set()
    for found in module(FORMATS, source.format, "data format").read(source.file, dataset):
        reason = reason_to_drop(found) if isinstance(found, Conversation) else None
        if reason is None and isinstance(found, Conversation):
            reason = "id already taken" if found.id in seen else None
            seen.add(found.id)
        yield found if reason is None else Dropped(found.id, reason)


def _spool(sources: Mapping[str, Source], seed: int, spool: Path, dropped: Path, report: PrepareReport) -> list[_Place]:
    """Write every good conversation to `spool` and every other record to `dropped`; the places of the good ones."""
    places = []
    with open(spool, "w", encoding="utf-8") as good, open(dropped, "w", encoding="utf-8") as bad:
        for name, source in sources.items():
            counts = report.sources[name]
            with progress(f"reading {name}", None) as advance:
                for found in conversations(source, name):
                    counts.read += 1
                    if counts.read % _ADVANCE_EVERY == 0:
                        advance(_ADVANCE_EVERY)
                    if isinstance(found, Dropped):
                        counts.dropped[found.reason] += 1
                        json.dump({"dataset": name, "id": found.id, "reason": found.reason}, bad)
                        bad.write("\n")
                        continue
                    good.write(json.dumps(found.as_json(), ensure_ascii=False) + "\n")
                    places.append(_Place(name, *(_key(seed, purpose, name, found.id) for purpose in ("", "held out:"))))
    return places


def _key(seed: int, purpose: str, dataset: str, identity: str) -> bytes:
    """Sort key of a record; `purpose` keeps the held-out rows independent of those drawn by `max_examples`."""
    return hashlib.sha256(f"{purpose}{seed}:{dataset}:{identity}".encode()).digest()


def _drawn(sources: Mapping[str, Source], places: list[_Place]) -> set[int]:
    """Rows of the spool that are within their source's `max_examples`."""
    drawn: set[int] = set()
    for name, source in sources.items():
        keys = [(place.draw, row) for row, place in enumerate(places) if place.source == name]
        drawn |= _smallest(keys, len(keys) if source.max_examples is None else source.max_examples)
    return drawn


def _smallest(keys: list[tuple[bytes, int]], count: int) -> set[int]:
    return {row for _, row in sorted(keys)[:count]} if count < len(keys) else {row for _, row in keys}


def _check_enough(report: PrepareReport, kept: int, held_out: int) -> None:
    if kept > held_out:
        return
    reasons = sum((source.dropped for source in report.sources.values()), Counter[str]())
    dropped = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()) or "the files hold no records"
    if not kept:
        raise UserError(f"nothing left to train on: {dropped}", "check the data files and the formats in the recipe")
    raise UserError(f"held_out is {held_out}, but only {kept} conversations were kept", "lower data.held_out")


def _distribute(
    spool: Path, folder: Path, places: list[_Place], drawn: set[int], aside: set[int], report: PrepareReport
) -> None:
    """Copy the spool's lines to where they belong, in their order, and count them."""
    with ExitStack() as stack:
        lines = stack.enter_context(open(spool, encoding="utf-8", newline="\n"))
        train: IO[str] = stack.enter_context(open(folder / TRAIN, "w", encoding="utf-8"))
        held_out = stack.enter_context(open(folder / HELD_OUT, "w", encoding="utf-8")) if aside else train
        for row, (place, line) in enumerate(zip(places, lines, strict=True)):
            counts = report.sources[place.source]
            if row in aside:
                held_out.write(line)
                counts.held_out += 1
            elif row in drawn:
                train.write(line)
                counts.train += 1
            else:
                counts.not_drawn += 1
