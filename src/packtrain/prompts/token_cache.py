"""Encoding a conversation file once: on all cores, into a memory-mapped file that the next run finds again.

The cache is keyed by everything that decides the tokens. A file that is being written keeps a journal: an interrupted
run, killed or not, goes on behind the last piece that is complete.
"""

import errno
import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, NamedTuple

from packtrain.core.cache_folder import cache_folder
from packtrain.core.conversation import Conversation, parse_conversation
from packtrain.core.errors import UserError
from packtrain.core.json_text import json_text, json_value
from packtrain.core.manifest import digest, sha256_of_file
from packtrain.core.progress import progress, say
from packtrain.core.workers import process_count, workers
from packtrain.prompts.encode import Mode, encode_rows
from packtrain.prompts.template import PromptTemplate
from packtrain.prompts.token_file import TokenFile
from packtrain.prompts.token_writer import JOURNAL, EncodedPiece, TokenWriter
from packtrain.prompts.tokenizer import Tokenizer
from packtrain.prompts.words import word_tokenizer

ENCODING_VERSION = 2
"""To be raised whenever the same conversations would give other tokens."""
PIECE_BYTES = 1 << 20
PARALLEL_FROM_BYTES = 4 << 20
KEEP_UNUSED_DAYS = 30
_NAME = re.compile(r"[0-9a-f]{64}(\.partial)?")
_LOCK = ".lock"


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
                "template": self.template.fingerprint,
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


def encode_file(path: Path, encoding: Encoding, *, jobs: int | None = None, cache: Path | None = None) -> TokenFile:
    """The examples of a conversation file, from the cache when it was encoded before.

    `cache` is the folder of the cache (default: `tokens` in packtrain's). Raises UserError, naming file and line, for
    a line that is no conversation, and when the file changes meanwhile or the cache cannot be written.
    """
    before = _state(path)
    folder = (cache or cache_folder() / "tokens") / encoding.key(sha256_of_file(path))
    with _cache_errors(folder.parent, path):
        found = _opened(folder)
        if found is None:
            _make(path, before, encoding, folder, jobs)
            found = TokenFile(folder)
    with suppress(OSError):
        os.utime(folder)  # when it was used last
    return found


def _state(path: Path) -> tuple[int, int, int]:
    """What changes when a file does: which file it is, its size in bytes, its time of change."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


@contextmanager
def _cache_errors(cache: Path, data: Path) -> Iterator[None]:
    """Says what to do when the cache cannot be written: homes are read-only or full on many machines."""
    try:
        yield
    except OSError as error:
        if error.filename == str(data) or error.errno in (errno.EAGAIN, errno.ENOMEM):  # not of the cache's files
            raise
        raise UserError(
            f"cannot write the token cache in {cache}: {error.strerror or error}",
            "name a folder for it that can be written: PACKTRAIN_CACHE=FOLDER",
        ) from error


def _opened(folder: Path) -> TokenFile | None:
    if not folder.exists():
        return None
    try:
        return TokenFile(folder)
    except (OSError, ValueError, KeyError) as error:
        say(f"the cached tokens in {folder} are damaged ({error}): encoding again")
        shutil.rmtree(folder)
        return None


def _locked(partial_folder: Path, folder: Path) -> IO[str] | None:
    """The lock of the unfinished folder, which is made if need be; None when another process has finished `folder`."""
    while not folder.exists():
        partial_folder.mkdir(parents=True, exist_ok=True)
        place = partial_folder / _LOCK
        with suppress(FileNotFoundError), ExitStack() as stack:  # it is renamed or removed at any moment
            lock = stack.enter_context(open(place, "w"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("another process is encoding the same file: waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(lock.fileno()), place.stat()):
                stack.pop_all()
                return lock
    return None


def _make(path: Path, before: tuple[int, int, int], encoding: Encoding, folder: Path, jobs: int | None) -> None:
    """Encode `path`, in the state `before`, into `folder`, going on where an interrupted run stopped."""
    partial_folder = folder.with_name(f"{folder.name}.partial")
    lock = _locked(partial_folder, folder)
    if lock is None:
        return
    with lock:
        _remove_unused(folder.parent)
        _, size, _ = before
        processes = process_count(jobs) if jobs is not None or size >= PARALLEL_FROM_BYTES else 1
        word_tokenizer(encoding.tokenizer)  # made once, and inherited by the processes
        with workers(processes, _set_up, encoding, path) as pool, TokenWriter(partial_folder) as writer:
            if writer.end:
                say(f"encoding {path.name}: going on after {writer.conversations:,} conversations")
            with progress(f"encoding {path.name}", size, unit="bytes") as advance:
                advance(writer.end)
                for done in pool.map(_encode_piece, _pieces(path, writer.end, size, writer.lines)):
                    advance(done.end - writer.end, note=f"{writer.conversations + done.conversations:,} conversations")
                    writer.add(done)
            writer.finish()
        if _state(path) != before:
            shutil.rmtree(partial_folder)
            raise UserError(
                f"{path} changed while it was being encoded", "run it again when nothing writes it any more"
            )
        (partial_folder / JOURNAL).unlink()
        os.rename(partial_folder, folder)
        (folder / _LOCK).unlink(missing_ok=True)


def _pieces(path: Path, start: int, end: int, lines_before: int) -> Iterator[_Piece]:
    """The lines of a file from byte `start` to `end`, about a megabyte at a time."""
    with open(path, "rb") as file:
        file.seek(start)
        while file.tell() < end and (text := file.read(PIECE_BYTES)):
            text += file.readline()
            yield _Piece(lines_before + 1, text, file.tell())
            lines_before += text.count(b"\n")


_work: dict[str, Any] = {}
"""What a worker process encodes with: too large to be sent with every piece."""


def _set_up(encoding: Encoding, path: Path) -> None:
    _work.update(encoding=encoding, path=path)


def _encode_piece(piece: _Piece) -> EncodedPiece:
    encoding, path = _work["encoding"], _work["path"]
    conversations = list(_conversations(piece, path))
    rows = encode_rows(conversations, encoding.template, encoding.tokenizer, encoding.max_length_tokens, encoding.mode)
    kept = (conversations[row] for row in rows.rows.tolist())
    identities = [json_text([row.dataset, row.id]) for row in kept]
    return EncodedPiece(rows, identities, len(conversations), piece.text.count(b"\n"), piece.end)


def _conversations(piece: _Piece, path: Path) -> Iterator[Conversation]:
    for number, line in enumerate(piece.text.split(b"\n"), start=piece.first_line):
        if not line.strip(b" \t\r\n\xef\xbb\xbf"):
            continue
        where = f"{path}:{number}"
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{where}: not valid UTF-8 (byte {error.start})", "convert the file to UTF-8") from error
        yield parse_conversation(json_value(text, where), where)


def _remove_unused(cache: Path) -> None:
    """Remove what no run has used for a month."""
    oldest = time.time() - KEEP_UNUSED_DAYS * 86400
    for folder in cache.iterdir():
        with suppress(OSError):
            if _NAME.fullmatch(folder.name) and folder.stat().st_mtime < oldest:
                shutil.rmtree(folder)
