"""Raw data files as records with positions, and the shapes that several formats share."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packtrain.core.conversation import Conversation, Message, read_json_lines
from packtrain.core.errors import UserError

_CHUNK_CHARACTERS = 1 << 20
_SEPARATOR = re.compile(r"\s*(,?)\s*")


@dataclass(frozen=True, slots=True)
class Dropped:
    """A record that cannot be learnt from, and why: every format yields these among its conversations."""

    id: str
    reason: str
    """A short phrase, the same for all records dropped for the same cause: reports count by it."""


@dataclass(frozen=True, slots=True)
class Record:
    """One JSON object of a raw file."""

    number: int
    """From 0, in file order."""
    where: str
    """For error messages: `file:line` or `file: record N`."""
    fields: dict[str, Any]

    def require(self, *names: str) -> None:
        """Raise UserError, naming the fields found and expected, unless all of `names` are there."""
        missing = [name for name in names if name not in self.fields]
        if missing:
            found = ", ".join(self.fields) or "none"
            raise UserError(
                f"{self.where}: missing {', '.join(missing)} (found: {found}; expected: {', '.join(names)})",
                "check that the source's format in the recipe fits the file",
            )


def read_records(path: Path) -> Iterator[Record]:
    """Objects of a JSON list or of a JSON Lines file, one after the other in constant memory.

    Raises UserError, naming file and line or record, for anything that is not one JSON object per place.
    """
    if _begins_a_list(path):
        values = ((number, f"{path}: record {number + 1}", value) for number, value in enumerate(_list_items(path)))
    else:
        lines = read_json_lines(path)
        values = ((number, f"{path}:{line}", value) for number, (line, value) in enumerate(lines))
    for number, where, value in values:
        if not isinstance(value, dict):
            raise UserError(
                f"{where}: expected a JSON object, found {type(value).__name__}",
                "the file must be a JSON list of objects, or one JSON object per line",
            )
        yield Record(number, where, value)


def _begins_a_list(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", "check the path and its permissions") from error
    if head.startswith((b"\x1f\x8b", b"PK\x03\x04")):
        raise UserError(f"{path} is compressed", "unpack it first: gunzip or unzip")
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def _list_items(path: Path) -> Iterator[Any]:
    """Values of a JSON list, decoded one at a time from a buffer that grows only as far as the longest value."""
    hint = "the file must be one JSON list; it may be cut short"
    decode = json.JSONDecoder().raw_decode
    try:
        with open(path, encoding="utf-8-sig") as file:
            buffer, count = file.read(_CHUNK_CHARACTERS), 0
            position = buffer.index("[") + 1
            while True:
                comma, start = _after_separator(buffer, position)
                if buffer.startswith("]", start):
                    return
                try:
                    value, end = decode(buffer, start)
                except json.JSONDecodeError as error:
                    more = file.read(max(_CHUNK_CHARACTERS, len(buffer) - position))
                    if not more:
                        raise UserError(f"{path}: record {count + 1} is not valid JSON ({error.msg})", hint) from error
                    buffer, position = buffer[position:] + more, 0
                    continue
                if comma != (count > 0):
                    raise UserError(f"{path}: records {count} and {count + 1} are not separated by one comma", hint)
                position, count = end, count + 1
                yield value
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not valid UTF-8 (byte {error.start})", "convert the file to UTF-8") from error


def _after_separator(text: str, position: int) -> tuple[bool, int]:
    """Whether a comma follows `position`, and where the next thing that is neither comma nor white space begins."""
    gap = _SEPARATOR.match(text, position)
    return (bool(gap[1]), gap.end()) if gap else (False, position)


def read_single_rounds(
    path: Path,
    dataset: str,
    question: str,
    answer: str,
    *,
    context: str | None = None,
    question_text: Callable[[str], str] = str,
    answer_text: Callable[[str], str] = str,
) -> Iterator[Conversation | Dropped]:
    """One conversation of one question and one answer per record; ids are `<dataset>_<running number>`.

    `question`, `answer` and `context` name the record's fields; a context that is absent, null or ""
    becomes None. Raises UserError when a record lacks the question or the answer.
    """
    for record in read_records(path):
        record.require(question, answer)
        identity = f"{dataset}_{record.number}"
        asked, answered = record.fields[question], record.fields[answer]
        given = (record.fields.get(context) if context else None) or None
        wrong = not_text((question, asked), (answer, answered), (context or "", given or ""))
        if wrong:
            yield Dropped(identity, wrong)
            continue
        messages = (Message("user", question_text(asked), given), Message("assistant", answer_text(answered)))
        yield Conversation(dataset, identity, messages)


def not_text(*values: tuple[str, object]) -> str | None:
    """The reason for dropping a record in which one of the named values is no string; None when all are."""
    return next((f"{name} is not text" for name, value in values if not isinstance(value, str)), None)
