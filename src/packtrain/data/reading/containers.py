"""Raw data files as records: cut into chunks in one process, decoded in any number.

A file is a JSON list, JSON Lines, CSV, TSV or Parquet, packed or not; what it is shows in its first bytes, and only
CSV and TSV go by the name.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from packtrain.core.errors import UserError
from packtrain.data.reading.byte_stream import ByteStream, open_stream
from packtrain.data.reading.container_kind import Kind, container_kind
from packtrain.data.reading.csv_container import rows
from packtrain.data.reading.hub import HubReference, hub_files
from packtrain.data.reading.json_container import lines, list_items
from packtrain.data.reading.json_kind import kind_of
from packtrain.data.reading.parquet_container import batches
from packtrain.data.reading.source_files import source_files
from packtrain.data.records import Record

__all__ = ["Chunk", "HubReference", "Piece", "input_bytes", "read_chunks", "read_records", "records_of", "source_files"]


class Piece(Protocol):
    """A run of neighbouring records of one file, as its container holds them."""

    @property
    def records(self) -> int:
        """How many they are."""
        ...

    def values(self, shown: str) -> Iterator[tuple[str, Any]]:
        """Place, for error messages, and decoded value of each record; UserError for the first that is wrong."""
        ...


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of neighbouring records, not yet decoded: can be pickled, and holds about a megabyte of text."""

    path: str
    """For error messages: a file, `file!member` of an archive, or a Hub id."""
    first_number: int
    """Number of its first record over all files of the source, from 0."""
    records: int
    input_bytes: int
    """By how much the reading of the files, as they lie on disk, advanced for it."""
    piece: Piece


def read_chunks(paths: Sequence[Path | HubReference]) -> Iterator[Chunk]:
    """All records at `paths`, in order; UserError for what cannot be read. Nothing is decoded that can wait."""
    number = 0
    for file in (file for path in paths for file in _files(path)):
        read_before = 0
        for shown, piece, read in _pieces(file):
            yield Chunk(shown, number, piece.records, read - read_before, piece)
            number, read_before = number + piece.records, read


def records_of(chunk: Chunk) -> Iterator[Record]:
    """The records of `chunk`, decoded; UserError, naming file and line or record, for what is not an object."""
    for number, (where, value) in enumerate(chunk.piece.values(chunk.path), start=chunk.first_number):
        if not isinstance(value, dict):
            raise UserError(
                f"{where}: expected a JSON object, found {kind_of(value)}",
                "the file must be a JSON list of objects, or one JSON object per line",
            )
        yield Record(number, where, value)


def read_records(path: Path) -> Iterator[Record]:
    """The records of one file, one after the other in constant memory; UserError for the first thing that is wrong."""
    return (record for chunk in read_chunks([path]) for record in records_of(chunk))


def input_bytes(paths: Sequence[Path | HubReference]) -> int | None:
    """The size of all files together, as they lie on disk; None when it cannot be known.

    Data sets of the Hub are fetched for it; UserError when they cannot be.
    """
    files = [file for path in paths for file in _files(path)]
    if not all(file.is_file() for file in files):
        return None
    return sum(file.stat().st_size for file in files)


def _files(path: Path | HubReference) -> tuple[Path, ...]:
    return hub_files(path) if isinstance(path, HubReference) else (path,)


_CUT: dict[Kind, Callable[[ByteStream], Iterator[Piece]]] = {"list": list_items, "lines": lines, "rows": rows}


def _pieces(path: Path) -> Iterator[tuple[str, Piece, int]]:
    """Runs of records with the name to show and with the bytes of the file that were read up to their end."""
    with open_stream(path) as stream:
        kind = container_kind(stream)
        if kind != "parquet":
            yield from ((stream.shown, piece, stream.position()) for piece in _CUT[kind](stream))
            return
        if not stream.is_plain:
            raise UserError(f"{stream.shown} is a packed or piped Parquet file", "give the unpacked file itself")
    size = path.stat().st_size
    yield from ((str(path), batch, int(share * size)) for batch, share in batches(path))
