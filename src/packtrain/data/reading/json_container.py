"""JSON Lines and JSON lists: cut into runs of records without decoding them, and the runs decoded.

Cutting is cheap enough for one process to feed many: lines are cut at line ends, a list at the commas between
its values, which are found by counting quotes and brackets. All that is wrong inside a record is found by decoding.
"""

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from packtrain.core.errors import UserError
from packtrain.data.reading.byte_stream import ByteStream

PIECE_BYTES = 1 << 20
"""How much text one piece holds, and by how much it may be exceeded unless a single record is longer."""
LONGEST_RECORD_BYTES = 1 << 28
"""A file with a bracket or a quote too many, or without line ends, shall not fill the memory before that is told."""
_BLANK = b" \t\r\n"
_SEPARATOR = re.compile(r"[ \t\r\n]*(,?)[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class Lines:
    """A run of whole lines of a JSON Lines file."""

    text: bytes
    records: int
    """Lines that are not blank."""
    first_line: int
    """From 1."""
    first_byte: int
    """Where in the unpacked file the text begins."""

    def values(self, shown: str) -> Iterator[tuple[str, Any]]:
        """Place and decoded value of each line that is not blank; UserError naming file and line."""
        for number, line in enumerate(_decoded(self, shown).split("\n"), start=self.first_line):
            if line := line.rstrip(" \t\r"):
                where = f"{shown}:{number}"
                try:
                    value = _loads(line)
                except (ValueError, RecursionError) as error:
                    raise _not_json(error, where, column=True) from error
                yield where, value


@dataclass(frozen=True, slots=True)
class ListItems:
    """A run of neighbouring values of a JSON list, with the commas between them."""

    text: bytes
    records: int
    first_record: int
    """Number of the first value in the file, from 1."""
    first_line: int
    first_byte: int

    def values(self, shown: str) -> Iterator[tuple[str, Any]]:
        """Place and value of each item; UserError naming file and record."""
        text = _decoded(self, shown)
        try:
            found = json.loads(f"[{text}]")
        except (ValueError, RecursionError):
            found = []
        if len(found) != self.records:  # something is wrong, were it only a comma behind the last value
            found = self._one_by_one(text, shown)
        yield from ((f"{shown}: record {number}", value) for number, value in enumerate(found, start=self.first_record))

    def _one_by_one(self, text: str, shown: str) -> Iterator[Any]:
        """The values before the wrong one, whose place is then told."""
        position = 0
        for number in itertools.count(self.first_record):
            gap = _SEPARATOR.match(text, position)
            comma, start = (gap[1], gap.end()) if gap else ("", position)
            where = f"{shown}: record {number}"
            if bool(comma) != (number > self.first_record):
                raise UserError(f"{where}: there must be one comma between records, and none elsewhere", _LIST_HINT)
            try:
                value, position = _DECODE(text, start)
            except (ValueError, RecursionError) as error:
                line = self.first_line + text.count("\n", 0, getattr(error, "pos", start))
                raise _not_json(error, f"{where} (line {line})") from error
            yield value


_DECODE = json.JSONDecoder().raw_decode


def _loads(line: str) -> Any:
    """The same as json.loads, at two thirds of its cost for the usual line: one object with nothing around it."""
    if line.startswith("{"):
        value, end = _DECODE(line)
        if end == len(line):
            return value
    return json.loads(line)


_LIST_HINT = "the file must be one JSON list of objects; it may be cut short"


def _decoded(piece: Lines | ListItems, shown: str) -> str:
    try:
        return piece.text.decode()
    except UnicodeDecodeError as error:
        line = piece.first_line + piece.text.count(b"\n", 0, error.start)
        raise UserError(
            f"{shown}:{line}: not valid UTF-8 (byte {piece.first_byte + error.start} of the file)",
            "convert the file to UTF-8",
        ) from error


def _not_json(error: ValueError | RecursionError, where: str, *, column: bool = False) -> UserError:
    """What to tell of a value that json cannot decode."""
    if isinstance(error, RecursionError):
        return UserError(f"{where}: nested too deeply", "each record must be an object of texts, lists and objects")
    if not isinstance(error, json.JSONDecodeError):
        return UserError(f"{where}: holds a number of thousands of digits", "numbers of that length are not data")
    if "\0" in error.doc[max(error.pos - 1, 0) : error.pos + 1]:
        return UserError(f"{where}: holds NUL bytes", "the file is damaged: fetch it again")
    reason = error.msg.removesuffix(" at")
    reason = f"{reason} at column {error.colno}" if column else reason
    return UserError(
        f"{where}: not valid JSON ({reason})", "each record must be one whole JSON object; the file may be cut short"
    )


def lines(stream: ByteStream) -> Iterator[Lines]:
    """Runs of whole lines. Lines end with a line feed, with or without a carriage return before it."""
    line, byte = 1, stream.skipped_bytes
    begun: list[bytes] = []
    size = 0
    for block in stream:
        begun.append(block)
        size += len(block)
        if size >= PIECE_BYTES and b"\n" in block:
            text, _, rest = b"".join(begun).rpartition(b"\n")
            if piece := _piece_of_lines(text, line, byte):
                yield piece
            line, byte = line + text.count(b"\n") + 1, byte + len(text) + 1
            begun, size = [rest], len(rest)
        elif size > LONGEST_RECORD_BYTES:
            raise UserError(
                f"{stream.shown}:{line}: a line of more than {LONGEST_RECORD_BYTES >> 20} MiB",
                "each line must be one record; a file of one object is no JSON Lines",
            )
    if piece := _piece_of_lines(b"".join(begun), line, byte):
        yield piece


def _piece_of_lines(text: bytes, line: int, byte: int) -> Lines | None:
    records = sum(1 for found in text.split(b"\n") if found.strip(_BLANK))
    return Lines(text, records, line, byte) if records else None


_COMMA, _QUOTE, _BACKSLASH = b',"\\'
_STEP = np.zeros(256, np.int8)
_STEP[list(b"[{")], _STEP[list(b"]}")] = 1, -1
_TELLING = bytes(byte in b'[]{},"\\' for byte in range(256))


class _Boundaries:
    """Finds the commas between the values of a list, and its end, in one block of its text after the other.

    Relies on the text being JSON: behind a fault boundaries are wrong, but the decoder meets the fault first.
    """

    def __init__(self) -> None:
        self._depth, self._inside, self._escaped = 1, False, False

    def find(self, block: bytes) -> tuple[npt.NDArray[np.intp], int | None]:
        """Positions of the commas between values, and of the bracket that ends the list when it is there."""
        if self._escaped:
            block = b"_" + block[1:]
        if b"\\\\" in block:
            block = block.replace(b"\\\\", b"__")  # what backslashes are left escape the character that follows
        self._escaped = block.endswith(b"\\")
        text = np.frombuffer(block, np.uint8)
        positions = np.flatnonzero(np.frombuffer(block.translate(_TELLING), np.bool_))
        found = text[positions]
        quotes = found == _QUOTE
        quotes[1:] &= (found[:-1] != _BACKSLASH) | (np.diff(positions) != 1)
        inside = (self._inside + np.cumsum(quotes, dtype=np.uint8)) & 1 == 1
        outside = np.flatnonzero(~(inside | quotes))
        positions, found = positions[outside], found[outside]
        depths = self._depth + np.cumsum(_STEP[found], dtype=np.int64)
        self._inside = bool(inside[-1]) if inside.size else self._inside
        self._depth = int(depths[-1]) if depths.size else self._depth
        commas = positions[(found == _COMMA) & (depths == 1)]
        ends = positions[depths == 0]
        if not ends.size:
            return commas, None
        end = int(ends[0])
        return commas[commas < end], end


def list_items(stream: ByteStream) -> Iterator[ListItems]:
    """Runs of values of the one list in `stream`; UserError when it does not end, or when more follows it."""
    opening = stream.head.index(b"[") + 1
    run = _Run(1 + stream.head.count(b"\n", 0, opening), stream.skipped_bytes + opening)
    boundaries, blocks = _Boundaries(), iter(stream)
    block = next(blocks)[opening:]
    while True:
        commas, end = boundaries.find(block)
        if end is not None:
            break
        run.add(block, len(commas))
        if run.size >= PIECE_BYTES and commas.size:
            yield run.cut(len(block) - int(commas[-1]))
        if run.size > LONGEST_RECORD_BYTES:
            raise _fault(run.rest(), stream.shown, f"a record of more than {LONGEST_RECORD_BYTES >> 20} MiB comes")
        following = next(blocks, None)
        if following is None:
            raise _fault(run.rest(), stream.shown, "the list does not end")
        block = following
    run.add(block[:end], len(commas))
    last = run.rest()
    if block[end : end + 1] != b"]":
        raise _fault(last, stream.shown, "a bracket of another kind ends the list")
    after = block[end + 1 :]
    while not after.strip(_BLANK):
        following = next(blocks, None)
        if following is None:
            break
        after = following
    else:
        raise _fault(last, stream.shown, "more follows the end of the list")
    if last.records > 1 or last.first_record > 1 or last.text.strip(_BLANK):
        yield last


class _Run:
    """Text of a list since the last cut, and where it began."""

    def __init__(self, line: int, byte: int) -> None:
        self._line, self._byte, self._record = line, byte, 1
        self._blocks: list[bytes] = []
        self._commas = 0
        self.size = 0

    def add(self, block: bytes, commas: int) -> None:
        """Append a block with so many commas between values in it."""
        self._blocks.append(block)
        self._commas += commas
        self.size += len(block)

    def cut(self, back: int) -> ListItems:
        """What ends `back` bytes before the end, where the last comma is; goes on behind that comma."""
        text = b"".join(self._blocks)
        rest = text[len(text) - back + 1 :]
        piece = self._piece(text[: len(text) - back], self._commas)
        self._line += piece.text.count(b"\n")
        self._byte += len(piece.text) + 1
        self._record += piece.records
        self._blocks, self._commas, self.size = [rest], 0, len(rest)
        return piece

    def rest(self) -> ListItems:
        """All that was not cut off yet."""
        return self._piece(b"".join(self._blocks), self._commas + 1)

    def _piece(self, text: bytes, records: int) -> ListItems:
        return ListItems(text, records, self._record, self._line, self._byte)


def _fault(piece: ListItems, shown: str, otherwise: str) -> UserError:
    """The error of the first value in `piece` that is wrong, or `otherwise` when none is."""
    count = 0
    try:
        count = sum(1 for _ in piece.values(shown))
    except UserError as error:
        if piece.text.strip(_BLANK):
            return error
    return UserError(f"{shown}: {otherwise} after record {piece.first_record - 1 + count}", _LIST_HINT)
