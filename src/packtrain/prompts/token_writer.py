"""Encoded conversations on their way to disk: a journal says how far the files are complete."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import IO, Any, NamedTuple

from packtrain.prompts.encode import EncodedRows
from packtrain.prompts.token_file import IDENTITIES, IDENTITY_OFFSETS, IDS, LEARNT, OFFSETS, SUMMARY

JOURNAL, _FILES = "journal.jsonl", (IDS, LEARNT, OFFSETS, IDENTITIES, IDENTITY_OFFSETS)


class EncodedPiece(NamedTuple):
    """Some lines of a conversation file, encoded."""

    rows: EncodedRows
    identities: list[str]
    """`[dataset, id]` as JSON, per row of the encoded."""
    conversations: int
    lines: int
    end: int


class TokenWriter:
    """Appends encoded pieces to the files of a folder; every journal line says how far they are complete."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        state = self._last_complete()
        self.end: int = state["end"]
        self.lines: int = state["lines"]
        self.conversations: int = state["conversations"]
        self._state = state
        self._files: dict[str, IO[bytes]] = {}

    def _last_complete(self) -> dict[str, Any]:
        empty: dict[str, Any] = {"end": 0, "lines": 0, "conversations": 0, "cut_at_limit": 0, "examples": 0}
        empty |= {"tokens": 0, "identity_bytes": 0, "dropped": {}, "sizes": dict.fromkeys(_FILES, 0)}
        try:
            whole = (self.folder / JOURNAL).read_bytes().split(b"\n")[:-1]
            state: dict[str, Any] = json.loads(whole[-1])
            there = all((self.folder / name).stat().st_size >= size for name, size in state["sizes"].items())
        except (FileNotFoundError, IndexError, ValueError, TypeError, KeyError):  # not there, or torn by a crash
            return empty
        return state if there else empty

    def __enter__(self) -> "TokenWriter":
        for name in _FILES:
            file = self._files[name] = open(self.folder / name, "ab")
            file.truncate(self._state["sizes"][name])
        journal = self._files[JOURNAL] = open(self.folder / JOURNAL, "wb")
        journal.write(json.dumps(self._state).encode() + b"\n")
        return self

    def add(self, done: EncodedPiece) -> None:
        """Write a piece, then say in the journal that it is there."""
        state, rows = self._state, done.rows
        names = [name.encode() for name in done.identities]
        name_ends = []
        for name in names:
            state["identity_bytes"] += len(name)
            name_ends.append(state["identity_bytes"])
        contents = {
            IDS: rows.ids.astype("<i4").tobytes(),
            LEARNT: rows.learnt.astype("u1").tobytes(),
            OFFSETS: (rows.offsets[1:] + state["tokens"]).astype("<i8").tobytes(),
            IDENTITIES: b"".join(names),
            IDENTITY_OFFSETS: b"".join(end.to_bytes(8, "little") for end in name_ends),
        }
        for file, content in contents.items():
            self._files[file].write(content)
            self._files[file].flush()
            state["sizes"][file] += len(content)
        state["tokens"] += len(rows.ids)
        state["examples"] += len(rows.rows)
        state["conversations"] += done.conversations
        state["lines"] += done.lines
        state["cut_at_limit"] += rows.cut_at_limit
        state["dropped"] = dict(Counter(state["dropped"]) + rows.dropped)
        state["end"] = done.end
        self.end, self.conversations = done.end, state["conversations"]
        self._files[JOURNAL].write(json.dumps(state).encode() + b"\n")
        self._files[JOURNAL].flush()

    def finish(self) -> None:
        """Make all of it durable and write the summary."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        with open(self.folder / SUMMARY, "w", encoding="utf-8") as summary:
            json.dump({name: value for name, value in self._state.items() if name != "sizes"}, summary, indent=2)
            summary.flush()
            os.fsync(summary.fileno())

    def __exit__(self, *exception: object) -> None:
        for file in self._files.values():
            file.close()
