"""A conversation file in two: what is kept, and beside it what is dropped and why."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from packtrain.core.atomic import atomic_file, check_output_file
from packtrain.core.conversation import Conversation, parse_conversation, read_json_lines
from packtrain.core.errors import UserError
from packtrain.core.json_text import json_text
from packtrain.core.progress import progress

_ADVANCE_EVERY = 500
_CHUNK_BYTES = 1 << 20


def json_line(value: Any) -> bytes:
    """A JSON value as one line of UTF-8; text that UTF-8 cannot hold (half a surrogate pair) stays escaped."""
    return json_text(value).encode() + b"\n"


def dropped_file(out: Path) -> Path:
    """Where the dropped records of `out` go: `clean.dropped.jsonl` beside `clean.jsonl`."""
    return out.with_name(f"{out.stem}.dropped{out.suffix or '.jsonl'}")


class Split:
    """Two open files: `keep` and `drop` write a record, as it was read, to one of them."""

    def __init__(self, kept: IO[bytes], dropped: IO[bytes]) -> None:
        self._kept, self._dropped = kept, dropped

    def keep(self, record: dict[str, Any]) -> None:
        """Write a record to the file of kept ones."""
        self._kept.write(json_line(record))

    def drop(self, record: dict[str, Any], reason: str, **more: Any) -> None:
        """Write a record to the file of dropped ones, with `reason` and whatever else is known about it."""
        self._dropped.write(json_line({**record, "reason": reason, **more}))


def check_outputs(source: Path, *outs: Path | None, overwrite: bool) -> None:
    """Raise UserError when an output is the input or another output, or exists and may not be replaced."""
    taken = {source.resolve()}
    for out in outs:
        if out is None:
            continue
        if out.resolve() == source.resolve():
            raise UserError(f"{out} would replace its own input", "choose another name for the output")
        if out.resolve() in taken:
            raise UserError(f"two outputs are called {out}", "give each a name of its own")
        taken.add(out.resolve())
        check_output_file(out, overwrite)


@contextmanager
def split(out: Path) -> Iterator[Split]:
    """The two files, which appear when the block ends well; `out` itself last."""
    with atomic_file(out, "wb") as kept, atomic_file(dropped_file(out), "wb") as dropped:
        yield Split(kept, dropped)


def records(path: Path, description: str) -> Iterator[tuple[dict[str, Any], Conversation]]:
    """Every record of a conversation file, as it stands there and parsed, while a bar advances.

    Raises UserError, naming file and line, for what is not a conversation, and for a file without any.
    """
    count = 0
    with progress(description, _line_count(path)) as advance:
        for number, record in read_json_lines(path):
            yield record, parse_conversation(record, f"{path}:{number}")
            count += 1
            if count % _ADVANCE_EVERY == 0:
                advance(_ADVANCE_EVERY)
        advance(count % _ADVANCE_EVERY)
    if not count:
        raise UserError(f"{path} holds no conversations", "`packtrain data prepare` makes conversation files")


def _line_count(path: Path) -> int:
    try:
        with open(path, "rb") as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(_CHUNK_BYTES), b""))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", "check the path and its permissions") from error
