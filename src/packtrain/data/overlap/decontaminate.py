"""Training records that repeat questions of the evaluation sets: found, reported, and removed if asked."""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packtrain.core.atomic import atomic_file
from packtrain.core.conversation import Conversation, check_no_pipe
from packtrain.core.errors import UserError
from packtrain.core.folder import unknown
from packtrain.data.overlap.benchmark_texts import Benchmark, read_benchmarks
from packtrain.data.overlap.kept_and_dropped import check_outputs, dropped_file, json_line, records, split
from packtrain.data.overlap.ngram_index import Evidence, NgramIndex, Overlap

NGRAM_WORDS = Evidence().ngram_words
_FEWEST_NGRAM_WORDS = 5


@dataclass
class BenchmarkFigures:
    """What was found of one benchmark."""

    name: str
    items: int
    unchecked: int
    """Items that cannot be recognised: too short, or nothing but what other items say too."""
    removes: bool
    """Whether records that overlap with it are removed."""
    items_hit: set[str] = field(default_factory=set)
    records: Counter[str] = field(default_factory=Counter)
    """Data set -> records that overlap with an item."""
    mostly: Counter[str] = field(default_factory=Counter)
    """Data set -> records that hold at least half of an item."""

    def count(self, dataset: str, overlaps: Sequence[Overlap]) -> None:
        """Count one record's overlaps with this benchmark."""
        self.items_hit.update(overlap.item.id for overlap in overlaps)
        self.records[dataset] += 1
        self.mostly[dataset] += max(overlap.coverage for overlap in overlaps) >= 0.5


@dataclass
class ContaminationReport:
    """What was read, found and removed."""

    benchmarks: list[BenchmarkFigures]
    read: int = 0
    overlapping: int = 0
    """Records that overlap with any item."""
    removed: int = 0

    def figures(self) -> dict[str, Any]:
        """The counts as plain JSON types."""
        benchmarks = [
            {
                **vars(found),
                "items_hit": len(found.items_hit),
                "records": dict(found.records),
                "mostly": dict(found.mostly),
            }
            for found in self.benchmarks
        ]
        return {
            "read": self.read,
            "overlapping": self.overlapping,
            "removed": self.removed,
            "benchmarks": benchmarks,
        }


def decontaminate(
    path: Path,
    against: Path,
    *,
    ngram_words: int = NGRAM_WORDS,
    out: Path | None = None,
    clean: Path | None = None,
    remove_against: Sequence[str] = (),
    min_coverage: float = 0.0,
    overwrite: bool = False,
) -> ContaminationReport:
    """How the records of a conversation file overlap with the benchmarks in `against`.

    A record overlaps with an item when any of what its messages say (questions, contexts, answers) shares
    an n-gram of `ngram_words` words with the item; `Evidence` says which n-grams count and what becomes
    of shorter questions. `out` gets one line per record and item. `clean` gets the records without those
    that overlap with a benchmark in `remove_against` (by default those that models are scored on), as far
    as they hold at least `min_coverage` of the item's n-grams; those removed lie beside it. Raises
    UserError for files that cannot be read and benchmarks that are not there.
    """
    _check(ngram_words, min_coverage)
    if clean is None and (remove_against or min_coverage):
        raise UserError("nothing is removed without a file for what remains", "give --remove FILE")
    check_no_pipe(path)
    check_outputs(path, out, clean, clean and dropped_file(clean), overwrite=overwrite)
    benchmarks = read_benchmarks(against)
    removing = _removing(benchmarks, remove_against)
    evidence = Evidence(ngram_words, min(Evidence().shortest_words, ngram_words))
    index = NgramIndex(benchmarks, evidence)
    report = ContaminationReport(
        [
            BenchmarkFigures(benchmark.name, len(benchmark.items), unchecked, benchmark.name in removing)
            for benchmark, unchecked in zip(benchmarks, index.unchecked(), strict=True)
        ]
    )
    with ExitStack() as stack:
        files = stack.enter_context(split(clean)) if clean else None
        lines = stack.enter_context(atomic_file(out, "wb")) if out else None
        for record, conversation in records(path, f"comparing {path.name}"):
            report.read += 1
            said = (text for message in conversation.messages for text in (message.content, message.context) if text)
            overlaps = index.overlaps(said)
            report.overlapping += bool(overlaps)
            entries = _entries(conversation, overlaps, report)
            if lines is not None:
                lines.writelines(map(json_line, entries))
            if files is None:
                continue
            damning = [
                entry for entry in entries if entry["benchmark"] in removing and entry["coverage"] >= min_coverage
            ]
            if damning:
                report.removed += 1
                names = ", ".join(dict.fromkeys(entry["benchmark"] for entry in damning))
                for entry in damning:
                    del entry["dataset"], entry["id"]
                files.drop(record, f"overlaps {names}", overlaps=damning)
            else:
                files.keep(record)
    return report


def _check(ngram_words: int, min_coverage: float) -> None:
    if ngram_words < _FEWEST_NGRAM_WORDS:
        raise UserError(
            f"n-grams of {ngram_words} words say nothing about where a text comes from",
            f"8 to 13 are usual, {_FEWEST_NGRAM_WORDS} the fewest",
        )
    if not 0 <= min_coverage <= 1:
        raise UserError(f"coverage {min_coverage} is not between 0 and 1", "0.5 means half of an item's n-grams")


def _removing(benchmarks: Sequence[Benchmark], chosen: Sequence[str]) -> set[str]:
    """Names of the benchmarks whose overlaps are removed; UserError for one that is not there."""
    names = [benchmark.name for benchmark in benchmarks]
    for name in chosen:
        if name not in names:
            raise unknown("benchmark", name, names)
    return set(chosen) or {benchmark.name for benchmark in benchmarks if benchmark.scored}


def _entries(
    conversation: Conversation, overlaps: Sequence[Overlap], report: ContaminationReport
) -> list[dict[str, Any]]:
    """A record's overlaps, counted, as they stand in the report file."""
    by_benchmark: dict[int, list[Overlap]] = {}
    for overlap in overlaps:
        by_benchmark.setdefault(overlap.benchmark, []).append(overlap)
    for place, found in by_benchmark.items():
        report.benchmarks[place].count(conversation.dataset, found)
    return [
        {
            "dataset": conversation.dataset,
            "id": conversation.id,
            "benchmark": report.benchmarks[overlap.benchmark].name,
            "item": overlap.item.id,
            "ngrams": overlap.ngrams,
            "coverage": round(overlap.coverage, 4),
            "example": overlap.example,
        }
        for overlap in overlaps
    ]
