"""Which of the records to come repeat an earlier one, within and across the sources of a preparation."""

import json
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from packtrain.core.json_text import json_text
from packtrain.core.progress import progress
from packtrain.data.overlap.near_duplicates import NearDuplicates, UserText, text_signature
from packtrain.data.work import Row


@dataclass(frozen=True, slots=True)
class Met:
    """A record that was kept: its data set and id."""

    dataset: str
    id: str


class Repetitions:
    """The records kept so far, in a file: what a user said there is as it was before any wording."""

    def __init__(self, path: Path, similarity: float | None, resume_bytes: int = 0) -> None:
        """`similarity` from which two records are nearly the same (None: only equal ones are looked for);
        `resume_bytes` of the file at `path` are from an interrupted run."""
        self._file: IO[bytes] = open(path, "r+b" if resume_bytes else "w+b")  # noqa: SIM115 - closed by close()
        self._file.truncate(resume_bytes)
        self._starts = array("Q")
        self.bytes = 0
        """Length of the file."""
        self._rows: dict[bytes, int] = {}
        self._near = None if similarity is None else NearDuplicates(similarity, self._text_of)
        self._similarity = similarity
        with progress("reading what was kept", resume_bytes, unit="bytes") as advance:
            while self.bytes < resume_bytes:
                advance(self._remember_again())

    def _remember_again(self) -> int:
        """Take the next line of the file for a record that was kept; its length in bytes."""
        line = self._file.readline()
        _, _, key, *said = json.loads(line)
        if self._near is not None and self._similarity is not None:
            self._asked = UserText(*said)
            self._near.first_of(len(self._starts), text_signature(self._asked, self._similarity))
            self._file.seek(self.bytes + len(line))
        self._keep(bytes.fromhex(key), len(line))
        return len(line)

    def first_of(self, me: Met, row: Row) -> tuple[Met, str] | None:
        """The kept record that `row` repeats, and the reason for dropping it; None when it is new, and then kept."""
        first = self._rows.get(row.key)
        if first is not None:
            earlier = self._met(first)
            return earlier, f"repeats a record of {_whose(earlier, me)}"
        self._asked = row.text or UserText("", "")
        if self._near is not None:
            first = self._near.first_of(len(self._starts), row.signature)
            if first is not None:
                earlier = self._met(first)
                return earlier, f"nearly repeats a record of {_whose(earlier, me)}"
        said = self._asked if self._near is not None else ()
        line = json_text([me.dataset, me.id, row.key.hex(), *said]).encode() + b"\n"
        self._file.write(line)
        self._keep(row.key, len(line))
        return None

    def _keep(self, key: bytes, length: int) -> None:
        self._rows[key] = len(self._starts)
        self._starts.append(self.bytes)
        self.bytes += length

    def _line(self, row: int) -> list[str]:
        self._file.seek(self._starts[row])
        line: list[str] = json.loads(self._file.readline())
        self._file.seek(self.bytes)
        return line

    def _met(self, row: int) -> Met:
        dataset, identity, *_ = self._line(row)
        return Met(dataset, identity)

    def _text_of(self, row: int) -> UserText:
        return self._asked if row == len(self._starts) else UserText(*self._line(row)[3:])

    def flush(self) -> None:
        """Have all of it in the file."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _whose(first: Met, second: Met) -> str:
    return "the same set" if first.dataset == second.dataset else "another set"
