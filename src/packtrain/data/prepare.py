"""Raw data sets to the files that training reads: converted, cleaned, checked, drawn, split and counted.

The output is a folder with `train.jsonl`, `held_out.jsonl` when rows are held out, `dropped.jsonl` with every
record that could not be used and why, and `run.json`; or one file NAME.jsonl with the same beside it
(`NAME.held_out.jsonl`, `NAME.dropped.jsonl`, `NAME.run.json`).
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from packtrain.core.atomic import atomic_file
from packtrain.core.errors import UserError
from packtrain.core.manifest import Manifest, digest, versions
from packtrain.core.progress import progress, say
from packtrain.core.recipe import Data, Source
from packtrain.core.workers import Workers, workers
from packtrain.data.cleaning import load_rules
from packtrain.data.conversion import Conversion
from packtrain.data.distribute import distribute, distributed_rows
from packtrain.data.draws import SourceRows, draw_key
from packtrain.data.format import open_format
from packtrain.data.output import output
from packtrain.data.overlap.near_duplicates import THRESHOLD
from packtrain.data.reading.byte_stream import STDIN
from packtrain.data.reading.containers import input_bytes, read_chunks
from packtrain.data.recognition import with_formats
from packtrain.data.records import Record
from packtrain.data.sources import Located, locate
from packtrain.data.spool import SourceReport, Spool
from packtrain.data.work import PARALLEL_FROM_BYTES, Portion, Work, convert, processes_for

_RECORDS_AT_ONCE = 16


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
        sources = {name: source.figures() for name, source in self.sources.items()}
        return {"train": self.train, "held_out": self.held_out, "sources": sources}


@dataclass(frozen=True)
class Prepared:
    """What was made, before it gets its final name."""

    folder: Path
    report: PrepareReport
    inputs: Mapping[str, Mapping[str, str]]
    """Source -> file -> SHA-256."""


@dataclass(frozen=True)
class Preparation:
    """All that decides what is made of the sources."""

    data: Data
    seed: int
    located: Mapping[str, Located]
    """Where the raw files are, by source."""
    compat: bool = False
    """Repeat the original converters, without any check of ours."""
    provenance: bool = False
    """Whether each conversation says which record of which file it was, and its licence."""
    jobs: int | None = None
    """Worker processes; None: one per processor when the input is large."""

    def works(self) -> Mapping[str, Work]:
        """What is done to each record, by source; UserError, naming the source, for settings that make no sense."""
        found = {}
        for name, source in self.data.sources.items():
            with _errors_of(name):
                found[name] = self._work(name, source)
                load_rules(found[name].clean)
        return found

    def _work(self, name: str, source: Source) -> Work:
        form = open_format(source.format)
        wording = "random" if self.compat else source.wording
        conversion = Conversion(name, self.seed, wording, self.compat, form.options(source.options))
        return Work(
            form.name,
            conversion,
            () if self.compat else source.clean,
            self.provenance and not self.compat,
            source.license or form.about_source(name).license,
            self.data.duplicates != "keep",
            near_similarity(self.data.duplicates),
        )


@contextmanager
def _errors_of(source: str) -> Iterator[None]:
    """Every UserError names the source that it is about."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{source}: {error.message}", error.hint) from error


def near_similarity(duplicates: str) -> float | None:
    """The similarity in `near` or `near:0.9`; None for other values of `data.duplicates`."""
    kind, _, number = duplicates.partition(":")
    return None if kind != "near" else float(number or THRESHOLD)


def prepare(
    data: Data | Mapping[str, Source],
    out: Path,
    *,
    held_out: int | None = None,
    seed: int,
    overwrite: bool = False,
    resume: bool = False,
    compat: bool = False,
    provenance: bool = False,
    jobs: int | None = None,
    account: Callable[[Prepared], Mapping[str, Any]] | None = None,
) -> PrepareReport:
    """Make `out`, a folder or a `.jsonl` file, from the sources of `data`, in their order; the counts of it all.

    `max_examples` and `fraction` of a source and `held_out` of the whole are drawn by a hash of seed, data set and
    id, so the order of sources does not matter, nor that of records which bring their own ids (a running
    number is the id in formats that have none). Memory does not grow with the rows, but for 8 bytes a row
    that is drawn or may be held out, some 30 for an id of the record's own, and 130 (300 for near ones)
    where duplicates are removed. An interrupted run leaves the sources that it finished for `resume`.
    `account` may tell of what was made in further JSON files (name -> content). Raises UserError when a
    file is missing or of another format, when nothing is left, and when everything would be held out.
    """
    section = data if isinstance(data, Data) else Data(sources=dict(data))
    if held_out is not None:
        section = section.model_copy(update={"held_out": held_out})
    section = with_formats(section)
    located = {}
    for name, source in section.sources.items():
        with _errors_of(name):
            located[name] = locate(source)
    _check_all_are_there(section, located)
    before = {name: found.state() for name, found in located.items()}
    plan = Preparation(section, seed, located, compat, provenance, jobs)
    works = plan.works()
    report = PrepareReport({name: SourceReport() for name in section.sources})
    inputs = [path for found in located.values() for path in found.local]
    with output(out, inputs=inputs, overwrite=overwrite, resume=resume) as files:
        similarity = near_similarity(section.duplicates)
        repeats = section.duplicates != "keep"
        spool = Spool(files.folder, duplicates=repeats, similarity=similarity, unique_ids=not compat)
        rows, hold_out = _spool(plan, works, spool, report)
        chosen = distributed_rows(rows, hold_out, section.held_out)
        _check_enough(report, chosen.drawn, section.held_out)
        distribute(spool.path, files.folder, rows, chosen, report.sources)
        spool.remove()
        hashes = _hashes(located, before)
        if account is not None:
            for name, content in account(Prepared(files.folder, report, hashes)).items():
                with atomic_file(files.folder / name) as file:
                    json.dump(content, file, indent=2, ensure_ascii=False)
        Manifest(
            stage="data",
            settings={"data": section.model_dump(mode="json"), "compat": compat},
            inputs=hashes,
            outputs=files.hashes(),
            figures=report.figures(),
            seed=seed,
        ).write(files.folder)
    return report


def _check_all_are_there(data: Data, located: Mapping[str, Located]) -> None:
    missing = [(name, source.path) for name, source in data.sources.items() if located[name].missing]
    if missing:
        raise UserError(
            "no such data file: " + ", ".join(f"{name} ({path})" for name, path in missing),
            "check the path; sources.NAME.path=FILE names another file of a mixture, data.sources.NAME.path=FILE of a "
            "recipe, and `packtrain show` with its name says which is meant",
        )
    piped = [name for name, found in located.items() if STDIN in found.files]
    if len(piped) > 1:
        raise UserError(
            f"standard input is the path of several sources: {', '.join(piped)}", "it can be read once: name files"
        )


def _hashes(located: Mapping[str, Located], before: Mapping[str, Sequence[object]]) -> Mapping[str, Mapping[str, str]]:
    """SHA-256 of the inputs by source; UserError for one that is no longer what it was `before` it was read."""
    changed = [str(found.path) for name, found in located.items() if found.state() != before[name]]
    if changed:
        raise UserError(
            f"changed while it was being read: {', '.join(changed)}", "run it again when nothing writes there any more"
        )
    with progress("hashing inputs", len(located)) as advance:
        found = {}
        for name, source in located.items():
            found[name] = source.hashes()
            advance()
        return found


def _spool(
    plan: Preparation, works: Mapping[str, Work], spool: Spool, report: PrepareReport
) -> tuple[list[SourceRows], array[int] | None]:
    """Convert all sources into the spool; where the rows of each lie, and the keys by which rows are held out."""
    data = plan.data
    total = sum(input_bytes(found.files) or PARALLEL_FROM_BYTES for found in plan.located.values())
    hold_out: array[int] | None = array("Q") if data.held_out else None
    places: list[SourceRows] = []
    before = digest([data.duplicates, versions()["packtrain"]])
    with workers(processes_for(total, plan.jobs)) as pool, closing(spool):
        for name, source in data.sources.items():
            drawn = source.max_examples is not None or source.fraction is not None
            place = SourceRows(
                name, spool.rows, 0, source.max_examples, source.fraction, source.repeat, array("Q") if drawn else None
            )
            before = digest([before, name, repr(works[name]), plan.located[name].state()])
            counts = report.sources[name]
            done = None if plan.located[name].is_stdin else spool.take_over(before, counts)
            if done is not None:
                say(f"{name}: {done:,} conversations from the interrupted run")
            ids = _kept(works[name], plan.located[name], pool, spool, counts) if done is None else spool.identities()
            for identity in ids:
                place.rows += 1
                if place.repeat > 1:
                    place.mark_apart(identity)
                if place.keys is not None:
                    place.keys.append(draw_key(plan.seed, "", name, identity))
                if hold_out is not None:
                    hold_out.append(draw_key(plan.seed, "held out:", name, identity))
            if done is None:
                spool.end_source(before, place.rows, counts)
            places.append(place)
        spool.end()
    return places, hold_out


def _kept(work: Work, found: Located, pool: Workers, good: Spool, counts: SourceReport) -> Iterator[str]:
    """The ids of a source's good conversations, as they are written to the spool."""
    name = work.conversion.dataset
    good.begin_source()
    own = open_format(work.format).own_records(found.path, work.conversion)
    size = None if own is not None else input_bytes(found.files)
    portions: Iterable[Portion] = _groups(own) if own is not None else read_chunks(found.files)
    with progress(f"reading {name}", size, unit="bytes" if size else "") as advance:
        for done in pool.map(partial(convert, work), portions):
            for row in done.rows:
                identity = good.add(name, row, counts)
                if identity is not None:
                    yield identity
            advance(done.size, note=f"{counts.read:,} records")


def _groups(records: Iterator[Record]) -> Iterator[list[Record]]:
    group: list[Record] = []
    for record in records:
        group.append(record)
        if len(group) == _RECORDS_AT_ONCE:
            yield group
            group = []
    if group:
        yield group


def _check_enough(report: PrepareReport, kept: int, held_out: int) -> None:
    if kept > held_out:
        return
    reasons = sum((source.dropped for source in report.sources.values()), Counter[str]())
    empty = f"the files of {', '.join(report.sources)} hold no records"
    dropped = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()) or empty
    if not kept:
        raise UserError(f"nothing left to train on: {dropped}", "check the data files and the formats in the recipe")
    raise UserError(f"held_out is {held_out}, but only {kept} conversations were kept", "lower data.held_out")
