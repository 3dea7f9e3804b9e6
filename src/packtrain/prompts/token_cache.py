"""Encoding a conversation file once: on all cores, into a memory-mapped file that the next run finds again.

The cache is keyed by everything that decides the tokens. A file that is being written keeps a journal: an interrupted
run, killed or not, goes on behind the last piece that is complete.
"""

import fcntl
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, NamedTuple

from packtrain.core.cache_folder import cache_folder
from packtrain.core.conversation import Conversation, parse_conversation
from packtrain.core.errors import UserError
from packtrain.core.manifest import digest, sha256_of_file
from packtrain.core.progress import progress, say
from packtrain.core.workers import process_count, workers
from packtrain.prompts.encode import EncodedRows, Mode, encode_rows
from packtrain.prompts.template import PromptTemplate
from packtrain.prompts.token_file import IDENTITIES, IDENTITY_OFFSETS, IDS, LEARNT, OFFSETS, SUMMARY, TokenFile
from packtrain.prompts.tokenizer import Tokenizer
from packtrain.prompts.words import word_tokenizer

ENCODING_VERSION = 1
"""To be raised whenever the same conversations would give other tokens."""
PIECE_BYTES = 1 << 20
PARALLEL_FROM_BYTES = 4 << 20
KEEP_UNUSED_DAYS = 30
_JOURNAL, _FILES = "journal.jsonl", (IDS, LEARNT, OFFSETS, IDENTITIES, IDENTITY_OFFSETS)


@dataclass(frozen=True, slots=True)
class Encoding:
    """What decides the tokens of a conversation file."""

    template: PromptTemplate
    tokenizer: Tokenizer
    max_length_tokens: int
    mode: Mode = "default"

    def key(self, data_sha256: str) -> str:
        """The name under which the tokens of data with this hash are kept."""
        tokenizer = self.tokenizer
        roles = [tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token]
        return digest(
            {
                "data": data_sha256,
                "tokenizer": [tokenizer.backend.to_str(), *roles],
                "template": self.template.source,
                "max_length_tokens": self.max_length_tokens,
                "mode": self.mode,
                "version": [ENCODING_VERSION, version("tokenizers")],
            }
        )


class _Piece(NamedTuple):
    """Some lines of the file."""

    first_line: int
    text: bytes
    end: int
    """Where in the file it ends."""


class _Done(NamedTuple):
    """A piece encoded."""

    rows: EncodedRows
    identities: list[str]
    """`[dataset, id]` as JSON, per row of the encoded."""
    conversations: int
    lines: int
    end: int


def encode_file(path: Path, encoding: Encoding, *, jobs: int | None = None, cache: Path | None = None) -> TokenFile:
    """The examples of a conversation file, from the cache when it was encoded before.

    `cache` is the folder of the cache (default: `tokens` in packtrain's). Raises UserError, naming file and line, for
    a line that is no conversation.
    """
    folder = (cache or cache_folder() / "tokens") / encoding.key(sha256_of_file(path))
    found = _opened(folder)
    if found is None:
        _make(path, encoding, folder, jobs)
        found = TokenFile(folder)
    with suppress(OSError):
        os.utime(folder)  # when it was used last
    return found


def _opened(folder: Path) -> TokenFile | None:
    if not folder.exists():
        return None
    try:
        return TokenFile(folder)
    except (OSError, ValueError, KeyError) as error:
        say(f"the cached tokens in {folder} are damaged ({error}): encoding again")
        shutil.rmtree(folder, ignore_errors=True)
        return None


def _make(path: Path, encoding: Encoding, folder: Path, jobs: int | None) -> None:
    """Encode `path` into `folder`, going on where an interrupted run stopped."""
    partial_folder = folder.with_name(f"{folder.name}.partial")
    partial_folder.mkdir(parents=True, exist_ok=True)
    _remove_unused(folder.parent)
    with open(partial_folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be making the same: then there is nothing left to do
        if folder.exists() or not partial_folder.exists():
            return
        size = path.stat().st_size
        processes = process_count(jobs) if jobs is not None or size >= PARALLEL_FROM_BYTES else 1
        word_tokenizer(encoding.tokenizer)  # made once, and inherited by the processes
        with workers(processes, _set_up, encoding, path) as pool, _Writer(partial_folder) as writer:
            if writer.end:
                say(f"encoding {path.name}: going on after {writer.conversations:,} conversations")
            with progress(f"encoding {path.name}", size, unit="bytes") as advance:
                advance(writer.end)
                for done in pool.map(_encode_piece, _pieces(path, writer.end, writer.lines)):
                    advance(done.end - writer.end, note=f"{writer.conversations + done.conversations:,} conversations")
                    writer.add(done)
            writer.finish()
        (partial_folder / _JOURNAL).unlink()
        os.rename(partial_folder, folder)
        (folder / ".lock").unlink(missing_ok=True)


def _pieces(path: Path, start: int, lines_before: int) -> Iterator[_Piece]:
    """The lines of a file from byte `start` on, about a megabyte at a time."""
    with open(path, "rb") as file:
        file.seek(start)
        while text := file.read(PIECE_BYTES):
            text += file.readline()
            yield _Piece(lines_before + 1, text, file.tell())
            lines_before += text.count(b"\n")


_work: dict[str, Any] = {}
"""What a worker process encodes with: too large to be sent with every piece."""


def _set_up(encoding: Encoding, path: Path) -> None:
    _work.update(encoding=encoding, path=path)


def _encode_piece(piece: _Piece) -> _Done:
    encoding, path = _work["encoding"], _work["path"]
    conversations = list(_conversations(piece, path))
    rows = encode_rows(conversations, encoding.template, encoding.tokenizer, encoding.max_length_tokens, encoding.mode)
    kept = (conversations[row] for row in rows.rows.tolist())
    identities = [json.dumps([row.dataset, row.id], ensure_ascii=False) for row in kept]
    return _Done(rows, identities, len(conversations), piece.text.count(b"\n"), piece.end)


def _conversations(piece: _Piece, path: Path) -> Iterator[Conversation]:
    for number, line in enumerate(piece.text.split(b"\n"), start=piece.first_line):
        if not line.strip(b" \t\r\n\xef\xbb\xbf"):
            continue
        where = f"{path}:{number}"
        try:
            value = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except UnicodeDecodeError as error:
            raise UserError(f"{where}: not valid UTF-8 (byte {error.start})", "convert the file to UTF-8") from error
        except json.JSONDecodeError as error:
            raise UserError(
                f"{where}: not valid JSON ({error.msg} at column {error.colno})",
                "each line must be one complete JSON object; the file may be cut short",
            ) from error
        except (RecursionError, ValueError) as error:
            raise UserError(f"{where}: {error}", "each line must be one record") from error
        yield parse_conversation(value, where)


class _Writer:
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
        journal = self.folder / _JOURNAL
        if not journal.exists():
            return empty
        whole = [line for line in journal.read_bytes().split(b"\n")[:-1] if line]
        state: dict[str, Any] = json.loads(whole[-1]) if whole else empty
        there = all((self.folder / name).stat().st_size >= size for name, size in state["sizes"].items())
        return state if there else empty

    def __enter__(self) -> "_Writer":
        for name in _FILES:
            file = self._files[name] = open(self.folder / name, "ab")
            file.truncate(self._state["sizes"][name])
        journal = self._files[_JOURNAL] = open(self.folder / _JOURNAL, "wb")
        journal.write(json.dumps(self._state).encode() + b"\n")
        return self

    def add(self, done: _Done) -> None:
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
        self._files[_JOURNAL].write(json.dumps(state).encode() + b"\n")
        self._files[_JOURNAL].flush()

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


def _remove_unused(cache: Path) -> None:
    """Remove what no run has used for a month."""
    oldest = time.time() - KEEP_UNUSED_DAYS * 86400
    for folder in cache.iterdir():
        with suppress(OSError):
            if folder.is_dir() and folder.stat().st_mtime < oldest:
                shutil.rmtree(folder)
