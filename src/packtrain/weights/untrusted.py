"""Reading what others have written: plain files only, and words of theirs that are safe to repeat in a message."""

import io
import json
import os
import reprlib
import stat
from collections import Counter
from pathlib import Path
from typing import Any, TypeGuard

from packtrain.core.errors import UserError

MAX_NAME_LENGTH = 1000
"""Characters of a tensor's name."""
MAX_DIMENSIONS = 64
"""Of a tensor; numpy and torch have no more."""
MAX_JSON_BYTES = 16_000_000
"""A header or an index of a hundred thousand tensors; in Python's objects JSON can take twenty times its size."""

_short = reprlib.Repr()
_short.maxstring = 200
_short.maxlevel = 3


class Lie(Exception):
    """What is wrong with a file; told to the user by whoever knows the file's name."""


def open_plain(path: Path) -> io.FileIO:
    """The file at `path`, open for reading; UserError when it is no plain file (a pipe would wait for ever)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", "check the path and its permissions") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UserError(f"{path} is not a file", "a weights file is a plain file: no folder, no pipe, no device")
    return io.FileIO(descriptor)


def fill_from(path: Path, position: int, buffer: memoryview, tensor: str) -> None:
    """Fill `buffer` with the bytes of a tensor that stand at `position`; UserError where the file has no more."""
    with open_plain(path) as file:
        while buffer:
            try:
                count = os.preadv(file.fileno(), [buffer], position)
            except OSError as error:
                raise UserError(f"cannot read tensor {tensor} in {path}: {error.strerror}", "check the disk") from error
            if not count:
                raise UserError(
                    f"{path} ends inside tensor {tensor}",
                    "the file was cut after it was opened: get it again, and let nothing write to it meanwhile",
                )
            buffer, position = buffer[count:], position + count


def parse_json(text: bytes, what: str) -> Any:
    """The content of JSON text; raises Lie, naming `what`, when it is none or says a thing twice."""

    def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
            raise Lie(f"{shown(twice)} stands twice in {what}")
        return found

    try:
        return json.loads(text.decode(), object_pairs_hook=without_duplicates)
    except (ValueError, RecursionError) as error:
        raise Lie(f"{what} is not JSON") from error


def is_tensor_name(name: object) -> TypeGuard[str]:
    """Whether `name` can stand in a message, a list and a hash: printable text of sensible length."""
    return isinstance(name, str) and name.isprintable() and len(name) <= MAX_NAME_LENGTH


def shown(value: object) -> str:
    """`repr` of what a JSON file says, on one line and cut to a length that fits a message."""
    return _short.repr(value)
