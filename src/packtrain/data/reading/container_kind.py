"""What a raw data file is, from its first bytes; what is no data file is told apart and refused."""

import re
from typing import Literal

from packtrain.core.errors import UserError
from packtrain.data.reading.byte_stream import ByteStream

Kind = Literal["list", "lines", "rows", "parquet"]

_PARQUET = b"PAR1"
_UTF_16_OR_32 = re.compile(
    rb"\xff\xfe|\xfe\xff|\0\0\xfe\xff|(?:[^\0]\0){2}|(?:\0[^\0]){2}|[^\0]\0{3}|\0{3}[^\0]", re.DOTALL
)
"""A byte order mark, or ASCII in units of two or four bytes."""
_TO_UTF_8 = "convert the file to UTF-8: iconv -f UTF-16 -t UTF-8"
_NO_PAGE = "fetch the raw file, not the page that shows it"
_NOT_DATA: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "fetch the file: git lfs pull"),
    (b"<!DOCTYPE", "a web page", _NO_PAGE),
    (b"<!doctype", "a web page", _NO_PAGE),
    (b"<html", "a web page", _NO_PAGE),
    (b"\x1f\x8b", "packed twice", "unpack it once more"),
    (b"PK\x03\x04", "packed twice", "unpack it once more"),
    (b"7z\xbc\xaf", "a 7-Zip archive", "unpack it first"),
    (b"Rar!", "a RAR archive", "unpack it first"),
    (b"%PDF", "a PDF", "give the data as JSON Lines"),
    (b"ARROW1", "an Arrow file", "write it as Parquet"),
    (b"\x80", "a Python pickle", "pickles can run code and are never read: write JSON Lines"),
)
"""What files begin with that are often taken for data: beginning, what it is, what to do."""


def container_kind(stream: ByteStream) -> Kind:
    """How the records lie in the file: its name decides for CSV and TSV. UserError for what holds no records."""
    head, shown = stream.head, stream.shown
    if head.startswith(_PARQUET):
        return "parquet"
    begun = head.lstrip()
    for beginning, what, hint in _NOT_DATA:
        if begun.startswith(beginning):
            raise UserError(f"{shown} is {what}", hint)
    if _UTF_16_OR_32.match(head):
        raise UserError(f"{shown} is UTF-16 or UTF-32 text", _TO_UTF_8)
    if head.startswith(b"\0"):
        raise UserError(f"{shown} begins with NUL bytes", "the file is damaged: fetch it again")
    if head[257:262] == b"ustar":
        raise UserError(f"{shown} is a tar archive", "unpack it first: tar -xf")
    if stream.suffix == ".parquet":
        return "parquet"  # which says that it is none
    if stream.suffix in (".csv", ".tsv"):
        return "rows"
    if begun.startswith(b"<"):
        raise UserError(f"{shown} is XML", "the file must be JSON, CSV or Parquet")
    if begun.startswith(b"["):
        return "list"
    if begun.split(b"\n", 1)[0].strip() == b"{":
        raise UserError(
            f"{shown} is one JSON object over several lines",
            "the file must be a JSON list of objects, or one object per line: take the list out (jq .data), "
            "or write each object on one line (jq -c .)",
        )
    return "lines"
