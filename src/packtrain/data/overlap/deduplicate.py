"""A conversation file without its duplicates: of every set of equal or nearly equal records the first stays."""

import json
import os
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from packtrain.core.atomic import atomic_file
from packtrain.core.conversation import Conversation, check_no_pipe
from packtrain.data.overlap.exact_duplicates import ExactDuplicates, exact_key
from packtrain.data.overlap.kept_and_dropped import check_outputs, dropped_file, json_line, records, split
from packtrain.data.overlap.near_duplicates import THRESHOLD, Match, NearDuplicates, UserText, text_signature, user_text


@dataclass(frozen=True, slots=True)
class Pair:
    """Whose records repeat whose, and whether exactly or nearly."""

    dataset: str
    repeats: str
    kind: str
    """`exact` or `near`."""


@dataclass
class DedupReport:
    """What was read, kept and dropped."""

    read: int = 0
    kept: int = 0
    pairs: Counter[Pair] = field(default_factory=Counter)

    def dropped(self, kind: str) -> int:
        """Records dropped as `exact` or as `near` duplicates."""
        return sum(count for pair, count in self.pairs.items() if pair.kind == kind)

    def figures(self) -> dict[str, Any]:
        """The counts as plain JSON types."""
        pairs = [
            {"dataset": pair.dataset, "repeats": pair.repeats, "kind": pair.kind, "records": count}
            for pair, count in self.pairs.most_common()
        ]
        dropped = {kind: self.dropped(kind) for kind in ("exact", "near")}
        return {"read": self.read, "kept": self.kept, "dropped": dropped, "pairs": pairs}


def deduplicate(
    path: Path,
    out: Path,
    *,
    threshold: float | None = THRESHOLD,
    report: Path | None = None,
    overwrite: bool = False,
) -> DedupReport:
    """Write the records of `path` that repeat no earlier one to `out`, the others beside it; the counts.

    `threshold` is the Jaccard similarity of users' texts from which records are near duplicates; None
    looks for exact duplicates only. `report` gets one line per dropped record: what it repeats, how, and
    how similar the users' texts are. Raises UserError for a file that holds no conversations or other things.
    """
    check_no_pipe(path)
    check_outputs(path, out, dropped_file(out), report, overwrite=overwrite)
    counts = DedupReport()
    with ExitStack() as stack:
        spool = stack.enter_context(_spool(out.parent))
        seen = _Seen(spool, threshold)
        rows = records(path, f"reading {path.name}")
        files = stack.enter_context(split(out))
        pairs = stack.enter_context(atomic_file(report, "wb")) if report else None
        for record, conversation in rows:
            counts.read += 1
            found = seen.match(conversation)
            if found is None:
                counts.kept += 1
                files.keep(record)
                continue
            kind, match = found
            dataset, identity, _ = spool.read(match.row)
            first = {"dataset": dataset, "id": identity}
            whose = "the same set" if dataset == conversation.dataset else "another set"
            verb = "repeats" if kind == "exact" else "nearly repeats"
            files.drop(record, f"{verb} a record of {whose}", duplicate_of=first)
            counts.pairs[Pair(conversation.dataset, dataset, kind)] += 1
            if pairs is not None:
                entry = {"dataset": conversation.dataset, "id": conversation.id, "duplicate_of": first}
                pairs.write(json_line({**entry, "kind": kind, "similarity": round(match.similarity, 4)}))
    return counts


class _Spool:
    """Identity and user's text of every row, on disk."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._ends = array("Q", [0])
        self._written = True

    def add(self, conversation: Conversation, text: UserText) -> int:
        """Add a row; its number."""
        line = json.dumps([conversation.dataset, conversation.id, *text]).encode()
        self._file.write(line)
        self._ends.append(self._ends[-1] + len(line))
        self._written = False
        return len(self._ends) - 2

    def read(self, row: int) -> tuple[str, str, UserText]:
        """Data set, id and user's text of a row."""
        if not self._written:
            self._file.flush()
            self._written = True
        start, end = self._ends[row], self._ends[row + 1]
        dataset, identity, questions, contexts = json.loads(os.pread(self._file.fileno(), end - start, start))
        return dataset, identity, UserText(questions, contexts)


@contextmanager
def _spool(folder: Path) -> Iterator[_Spool]:
    """A spool in a nameless file of `folder`, which is where the output needs as much room anyway."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        yield _Spool(file)


class _Seen:
    """The rows so far, to find the first that another repeats, exactly or nearly."""

    def __init__(self, spool: _Spool, threshold: float | None) -> None:
        self._spool = spool
        self._exact = ExactDuplicates[int]()
        self._threshold = threshold
        self._near = None if threshold is None else NearDuplicates(threshold, lambda row: spool.read(row)[2])

    def match(self, conversation: Conversation) -> tuple[str, Match] | None:
        """`exact` or `near` and the kept row that this record repeats; None when it repeats none."""
        text = user_text(conversation)
        row = self._spool.add(conversation, text)
        key = exact_key(conversation)
        first = self._exact.first_of(key, row)
        if first is not None:
            return "exact", Match(first, 1.0)
        if self._near is None or self._threshold is None:
            return None
        match = self._near.match(row, text_signature(text, self._threshold))
        if match is None:
            return None
        self._exact.attribute(key, match.row)
        return "near", match
