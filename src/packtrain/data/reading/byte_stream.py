"""Raw files as bytes: opened by what they hold, not by what they are called, and unpacked on the way.

gzip, Zstandard, bzip2 and xz are unpacked as streams; a zip archive must hold one data file.
"""

import bz2
import lzma
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

import zstandard

from packtrain.core.errors import UserError
from packtrain.core.progress import say

STDIN = Path("-")
PACKED_SUFFIXES = (".gz", ".zst", ".bz2", ".xz", ".zip")
DATA_SUFFIXES = (".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".parquet")
BLOCK_BYTES = 1 << 18
"""How much is read at once."""
_PACKED_BLOCK_BYTES = BLOCK_BYTES // 4
"""The same of a packed file: text unpacks to several times that, and is handed on in blocks of the other size."""
_HEAD_BYTES, _LONGEST_BLANK_BYTES = 1 << 12, 1 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class ByteStream:
    """The unpacked bytes of one raw file, block by block, without a byte order mark."""

    def __init__(
        self, shown: str, name: str, blocks: Iterator[bytes], position: Callable[[], int], *, is_plain: bool = False
    ) -> None:
        self.is_plain = is_plain
        """Whether it is a file on disk, as it lies there: what must be read at any place needs that."""
        self.shown = shown
        """For error messages: the file, or `file!member`."""
        self.suffix = Path(name).suffix.lower()
        """Of the unpacked file."""
        self.position = position
        """Bytes of the packed file that have been read so far."""
        self.head = b""
        """The beginning: some kilobytes, up to a megabyte where it is blank."""
        self._blocks = blocks
        for block in blocks:
            self.head += block
            if len(self.head) >= _HEAD_BYTES and (len(self.head) >= _LONGEST_BLANK_BYTES or not self.head.isspace()):
                break
        self.skipped_bytes = len(_BYTE_ORDER_MARK) if self.head.startswith(_BYTE_ORDER_MARK) else 0
        self.head = self.head[self.skipped_bytes :]

    def __iter__(self) -> Iterator[bytes]:
        """All blocks, the head first; to be asked for once."""
        if self.head:
            yield self.head
        yield from self._blocks


@contextmanager
def open_stream(path: Path) -> Iterator[ByteStream]:
    """The bytes at `path` (`-` is standard input), unpacked when they are packed.

    Raises UserError, then or while the stream is read, when the file cannot be read, is damaged or cut short.
    """
    shown = "standard input" if path == STDIN else str(path)
    try:
        file: IO[bytes] = sys.stdin.buffer if path == STDIN else open(path, "rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise _unreadable(shown, error) from error
    try:
        source = _Source(file, shown)
        if source.first.startswith(b"PK\x03\x04") or source.first.startswith(b"PK\x05\x06"):
            with _zip_member(file, shown) as stream:
                yield stream
        else:
            yield _stream(source, path, shown)
    finally:
        if path != STDIN:
            file.close()


def _unreadable(shown: str, error: OSError) -> UserError:
    return UserError(f"cannot read {shown}: {error.strerror or error}", "check the path and its permissions")


class _Source:
    """A file read in blocks, with the first one at hand; it need not be seekable."""

    def __init__(self, file: IO[bytes], shown: str) -> None:
        self._file, self._shown, self._position = file, shown, 0
        self.first = self._read(_HEAD_BYTES)

    def _read(self, size: int) -> bytes:
        try:
            block = self._file.read(size)
        except OSError as error:
            raise _unreadable(self._shown, error) from error
        self._position += len(block)
        return block

    def position(self) -> int:
        return self._position

    def blocks(self, size: int) -> Iterator[bytes]:
        """All that is in the file."""
        yield from (self.first[start : start + size] for start in range(0, len(self.first), size))
        while block := self._read(size):
            yield block

    def unpacked(self, kind: str, unpacker: "Callable[[], _Unpacker]") -> Iterator[bytes]:
        """All that is packed in the file; UserError when it is damaged, cut short or followed by something else."""
        hint = "fetch or pack the file again"
        member, members = None, 0
        for packed in self.blocks(_PACKED_BLOCK_BYTES):
            while packed := packed if member else packed.lstrip(b"\0"):  # members may be padded
                member = member or unpacker()
                try:
                    text = member.decompress(packed)
                except _DAMAGED as error:
                    what = f"is followed by something that is not {kind}" if members else f"is a damaged {kind} file"
                    raise UserError(f"{self._shown} {what} ({error})", hint) from error
                yield from (text[start : start + BLOCK_BYTES] for start in range(0, len(text), BLOCK_BYTES))
                if not member.eof:
                    break
                packed, member, members = member.unused_data, None, members + 1
        if member:
            raise UserError(f"{self._shown} is cut short: its {kind} data do not end", hint)


class _Unpacker(Protocol):
    """What the decompressor objects of the standard library and of zstandard have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


_UNPACKERS: dict[bytes, tuple[str, Callable[[], _Unpacker]]] = {
    b"\x1f\x8b": ("gzip", lambda: zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)),
    b"\x28\xb5\x2f\xfd": ("zstd", lambda: zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()),
    b"BZh": ("bzip2", bz2.BZ2Decompressor),
    b"\xfd7zXZ\x00": ("xz", lzma.LZMADecompressor),
}
"""First bytes of a packed file -> what it is, and a new unpacker of one member."""
_DAMAGED = (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError, zstandard.ZstdError)


def _stream(source: _Source, path: Path, shown: str) -> ByteStream:
    """The file's bytes, unpacked if they are packed."""
    inner = path.stem if path.suffix.lower() in PACKED_SUFFIXES else path.name
    for magic, (kind, unpacker) in _UNPACKERS.items():
        if source.first.startswith(magic):
            return ByteStream(shown, inner, source.unpacked(kind, unpacker), source.position)
    if source.first and path.suffix.lower() in PACKED_SUFFIXES:
        say(f"{shown} is called {path.suffix} but is not packed: read as it is")
    return ByteStream(shown, inner, source.blocks(BLOCK_BYTES), source.position, is_plain=path.is_file())


@contextmanager
def _zip_member(file: IO[bytes], shown: str) -> Iterator[ByteStream]:
    """The one data file of a zip archive; UserError when there are none or several, or when it has a password."""
    hint = "pack the file again, or unpack it: unzip"
    try:
        archive = zipfile.ZipFile(file)
        members = [member for member in archive.infolist() if not _is_litter(member)]
    except _ZIP_DAMAGED as error:
        raise UserError(f"{shown} is a damaged zip archive, or cut short ({error})", hint) from error
    data = [member for member in members if Path(member.filename).suffix.lower() in DATA_SUFFIXES] or members
    if len(data) != 1:
        names = ", ".join(member.filename for member in data[:20]) or "no files"
        raise UserError(f"{shown} must hold one data file; it holds {names}", "unpack it and name one of the files")
    (member,) = data
    if member.flag_bits & 1:
        raise UserError(f"{shown} is protected by a password", "unpack it first: unzip asks for the password")
    inner = f"{shown}!{member.filename}"
    yield ByteStream(inner, member.filename, _zip_blocks(archive, member, inner), file.tell)


def _is_litter(member: zipfile.ZipInfo) -> bool:
    """Whether it is a folder, or one of the hidden files that macOS adds."""
    name = Path(member.filename)
    return member.is_dir() or "__MACOSX" in name.parts or name.name.startswith(".")


def _zip_blocks(archive: zipfile.ZipFile, member: zipfile.ZipInfo, shown: str) -> Iterator[bytes]:
    """The member's bytes; the library compares their checksum at the end."""
    try:
        with archive.open(member) as packed:
            while block := packed.read(BLOCK_BYTES):
                yield block
    except _ZIP_DAMAGED as error:
        raise UserError(f"{shown} is damaged or cut short ({error})", "fetch or pack the file again") from error


_ZIP_DAMAGED = (*_DAMAGED, zipfile.BadZipFile, NotImplementedError, RuntimeError, IndexError, KeyError, struct.error)
