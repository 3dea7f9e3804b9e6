"""CSV and TSV: tables cut into runs of rows, and the runs as records whose fields are texts."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from packtrain.core.errors import UserError
from packtrain.core.progress import say
from packtrain.data.reading.byte_stream import ByteStream
from packtrain.data.reading.json_container import PIECE_BYTES

JSON_COLUMNS = ("messages", "conversations")
"""Columns whose cells are decoded when they begin like a JSON list or object."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A run of rows of a CSV or TSV file, parsed: where a row ends is only known by then."""

    names: tuple[str, ...]
    rows: tuple[tuple[int, list[str]], ...]
    """Line on which a row begins, and its cells."""

    @property
    def records(self) -> int:
        """The number of rows."""
        return len(self.rows)

    def values(self, shown: str) -> Iterator[tuple[str, Any]]:
        """Place and fields of each row, all of them texts; UserError naming file and line."""
        decoded = [name for name in JSON_COLUMNS if name in self.names]
        for line, cells in self.rows:
            where = f"{shown}:{line}"
            if len(cells) != len(self.names):
                raise UserError(
                    f"{where}: {len(cells)} cells under {len(self.names)} column names",
                    "each row must have as many cells as the header; put cells with separators in double quotes",
                )
            fields: dict[str, Any] = dict(zip(self.names, cells, strict=True))
            for name in decoded:
                fields[name] = json_cell(fields[name], f"{where}: {name}")
            yield where, fields


def json_cell(text: Any, where: str) -> Any:
    """The list or object that a text is in JSON, and any other value as it is; UserError when it only begins so."""
    if not isinstance(text, str) or not text.lstrip().startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{where} looks like JSON and is not ({error})",
            "write lists as JSON (json.dumps, not str), or use JSON Lines",
        ) from error


def rows(stream: ByteStream) -> Iterator[Rows]:
    """Runs of rows under the names in the first one; UserError, naming file and line, for what is no such table."""
    csv.field_size_limit(_LARGEST_CELL)
    table = csv.reader(_lines(stream), delimiter="\t" if stream.suffix == ".tsv" else ",", strict=True)
    names: tuple[str, ...] = ()
    run: list[tuple[int, list[str]]] = []
    size, ended = 0, 0
    try:
        for cells in table:
            line, ended = ended + 1, table.line_num
            if not cells:
                continue
            if not names:
                names = _column_names(cells, f"{stream.shown}:{line}")
                continue
            run.append((line, cells))
            size += sum(map(len, cells)) + len(cells)
            if size >= PIECE_BYTES:
                yield Rows(names, tuple(run))
                run, size = [], 0
    except csv.Error as error:
        raise UserError(
            f"{stream.shown}:{ended + 1}: not valid {stream.suffix[1:].upper()} ({error})",
            "cells with separators, quotes or line ends must be in double quotes, with quotes doubled; "
            "the file may be cut short",
        ) from error
    if run:
        yield Rows(names, tuple(run))


_LARGEST_CELL = (1 << 31) - 1


def _column_names(cells: list[str], where: str) -> tuple[str, ...]:
    """The header, checked."""
    names = tuple(cell.strip() for cell in cells)
    if "" in names or len(set(names)) < len(names):
        raise UserError(
            f"{where}: the first line must name the columns, each once (found: {', '.join(names)})",
            "add a header such as instruction,input,output",
        )
    return names


def _lines(stream: ByteStream) -> Iterator[str]:
    """Decoded lines with their line feeds, for the csv module."""
    number, byte = 1, stream.skipped_bytes
    begun: list[bytes] = []
    for block in stream:
        *whole, rest = block.split(b"\n")
        for line in whole:
            begun.append(line + b"\n")
            text = b"".join(begun)
            yield _text(text, f"{stream.shown}:{number}", byte)
            number, byte = number + 1, byte + len(text)
            begun = []
        begun.append(rest)
    if any(begun):
        say(f"{stream.shown} has no line end behind its last row: it may be cut short")
        yield _text(b"".join(begun), f"{stream.shown}:{number}", byte)


def _text(line: bytes, where: str, first_byte: int) -> str:
    if b"\0" in line:
        raise UserError(f"{where}: holds NUL bytes", "the file is damaged: fetch it again")
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{where}: not valid UTF-8 (byte {first_byte + error.start} of the file)", "convert the file to UTF-8"
        ) from error
