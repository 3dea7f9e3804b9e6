"""Where the records of a `torch.save` archive lie in the file: a zip whose records are stored as they are.

Layout (PKWARE APPNOTE 4.3.7): a record's bytes follow its local header of 30 bytes, its name and its
extra field, whose lengths stand at 26 and 28 of that header and not in the directory.
"""

import io
import os
import struct
import zipfile
from dataclasses import dataclass

from packtrain.weights.untrusted import Lie, shown

MAX_DIRECTORY_BYTES = 8_000_000
"""Far more than torch writes for as many tensors as a file may have."""

_LOCAL_HEADER_BYTES = 30
_FOLDER = 0x10  # of the attributes of MS-DOS


@dataclass(frozen=True, slots=True)
class Record:
    """A range of bytes in the file."""

    begin: int
    size: int


class _Directory(io.FileIO):
    """A file that hands `zipfile` no more than a directory may take."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_DIRECTORY_BYTES:
            raise Lie(f"its directory claims {size} bytes")
        return super().read(size) or b""


def zip_records(file: io.FileIO) -> dict[str, Record]:
    """Where every record of an archive lies, by its name without the archive's own; raises Lie.

    Refused are compressed, encrypted, overlapping and cut records, duplicate names, and names that
    would lead out of a folder.
    """
    try:
        with _Directory(file.fileno(), closefd=False) as directory, zipfile.ZipFile(directory) as archive:
            entries, has_comment = archive.infolist(), bool(archive.comment)
    except Lie:
        raise
    except Exception as error:  # zipfile has no error class of its own for every kind of damage
        raise Lie("it is no zip archive, or was cut") from error
    if not entries or has_comment or min(entry.header_offset for entry in entries):
        raise Lie("it is an archive that torch.save does not write")
    records: dict[str, Record] = {}
    archive_name = entries[0].orig_filename.partition("/")[0]
    for entry in entries:
        name = entry.orig_filename
        inner = name.removeprefix(archive_name + "/")
        if not _is_usual(name, archive_name):
            raise Lie(f"its record {shown(name)} has a name that torch.save does not write")
        if inner in records:
            raise Lie(f"its record {shown(name)} stands there twice")
        if entry.external_attr & _FOLDER:  # torch would take memory as it is for the content of a folder
            raise Lie(f"its record {shown(name)} is said to be a folder")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size or entry.flag_bits & 1:
            raise Lie(f"its record {shown(name)} is compressed or encrypted")
        records[inner] = Record(_begin(file, entry), entry.file_size)
    end, size = 0, os.fstat(file.fileno()).st_size
    for record in sorted(records.values(), key=lambda record: (record.begin, record.size)):
        if record.begin < end or record.begin + record.size > size:
            raise Lie("its records overlap or leave the file")
        end = record.begin + record.size
    return records


def _is_usual(name: str, archive_name: str) -> bool:
    """Whether torch.save gives records such names; torch looks them up without regard to case, so only lower case."""
    top, *inner = name.split("/")
    if top != archive_name or not inner or {"", ".", ".."} & {top, *inner}:
        return False
    return name.isprintable() and "\\" not in name and inner == [part.lower() for part in inner]


def _begin(file: io.FileIO, entry: zipfile.ZipInfo) -> int:
    try:
        header = os.pread(file.fileno(), _LOCAL_HEADER_BYTES, entry.header_offset)
    except (OSError, OverflowError) as error:
        raise Lie(f"its record {shown(entry.orig_filename)} leaves the file") from error
    if len(header) != _LOCAL_HEADER_BYTES or not header.startswith(b"PK\x03\x04"):
        raise Lie(f"its record {shown(entry.orig_filename)} has no header")
    name_bytes, extra_bytes = struct.unpack_from("<HH", header, 26)
    return int(entry.header_offset + _LOCAL_HEADER_BYTES + name_bytes + extra_bytes)
