"""Raw records to lines of a conversation file: what a worker process does."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, NamedTuple

from packtrain.core.conversation import Conversation
from packtrain.core.errors import UserError
from packtrain.core.json_text import NOT_UNICODE, is_unicode, json_text
from packtrain.core.workers import process_count
from packtrain.data.checks import reason_to_drop
from packtrain.data.cleaning import Cleaner
from packtrain.data.conversion import Conversion
from packtrain.data.fitting import fitting_formats
from packtrain.data.format import Format, open_format
from packtrain.data.overlap.exact_duplicates import exact_key
from packtrain.data.overlap.near_duplicates import UserText, text_signature, user_text
from packtrain.data.reading.containers import Chunk, records_of
from packtrain.data.records import Dropped, Record
from packtrain.data.wording import single_round

PARALLEL_FROM_BYTES = 2 << 20
"""Less input than this is converted before worker processes would have started."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is done to every record of a source."""

    format: str
    conversion: Conversion
    clean: tuple[str, ...] = ()
    provenance: bool = False
    """Whether a conversation says which record of which file it was, and under which licence."""
    license: str = ""
    exact: bool = False
    """Whether rows carry the key by which exact duplicates are found."""
    near: float | None = None
    """The similarity for which rows carry the signature of near duplicates."""


class Row(NamedTuple):
    """What came of a record: a line of a conversation file in the making, or a drop."""

    id: str
    """ "" where the running number of the output has to be put in."""
    reason: str
    """Why it is dropped; "" when it is kept."""
    body: str
    """The JSON members behind the id."""
    key: bytes = b""
    signature: bytes = b""
    text: UserText | None = None
    """What the user said, before any wording."""
    mended: tuple[str, ...] = ()
    """Cleaning rules that changed it."""


class Done(NamedTuple):
    """What came of one chunk."""

    rows: list[Row]
    size: int
    """Bytes of input, or records where the format reads its input itself."""


Portion = Chunk | Sequence[Record]


def processes_for(input_bytes: int, jobs: int | None) -> int:
    """How many processes convert so many bytes: `jobs`, else one per processor when there is much to do."""
    return 1 if jobs is None and input_bytes < PARALLEL_FROM_BYTES else process_count(jobs)


def convert(work: Work, portion: Portion) -> Done:
    """What comes of the records of one portion: converted, cleaned, checked, and written as JSON."""
    cleaner = Cleaner(work.clean)
    rows = []
    if isinstance(portion, Chunk):
        records, size, path = records_of(portion), portion.input_bytes, portion.path
    else:
        records, size, path = iter(portion), len(portion), ""
    form = open_format(work.format)
    for record in records:
        origin = _origin(work, record, path) if work.provenance else {}
        try:
            rows += [_row(item, record, work, cleaner, origin) for item in _items(form, record, work.conversion)]
        except UserError as error:
            raise _naming_the_fitting_format(error, work.format, record) from error
    return Done(rows, size)


class _Item(NamedTuple):
    """What a format makes of a record."""

    found: Conversation | Dropped
    """Its instruction and input still apart, so that cleaning and comparing see them as they were written."""
    laid_out: bool
    """Whether the source's wording puts them together."""


def _items(form: Format, record: Record, conversion: Conversion) -> Iterator[_Item]:
    if conversion.compat or conversion.wording == "apart":
        yield from (_Item(found, False) for found in form.convert(record, conversion))
        return
    apart = form.convert(record, replace(conversion, wording="apart"))
    for found, worded in zip(apart, form.convert(record, conversion), strict=True):
        yield _Item(found, found != worded)


def _laid_out(conversation: Conversation, conversion: Conversion) -> Conversation:
    question, answer = conversation.messages
    messages = single_round(question.content, question.context, answer.content, conversion)
    return replace(conversation, messages=messages)


def _naming_the_fitting_format(error: UserError, name: str, record: Record) -> UserError:
    fitting = fitting_formats(record.fields)
    if "(found: " not in error.message or not fitting or name in fitting:
        return error
    return UserError(error.message, f"these fields fit the format {' or '.join(fitting)}, not {name}")


def _origin(work: Work, record: Record, path: str) -> dict[str, Any]:
    origin: dict[str, Any] = (
        {"file": PurePath(path).name, "record": record.number} if path else {"record": record.number}
    )
    return {**origin, "license": work.license} if work.license else origin


def _row(found: _Item, record: Record, work: Work, cleaner: Cleaner, origin: dict[str, Any]) -> Row:
    item = found.found
    if isinstance(item, Dropped):
        said = (
            {"messages": [message.as_json() for message in item.messages]}
            if item.messages
            else {"record": record.fields}
        )
        return _dropped(item.id, item.reason, said)
    if origin:
        item = replace(item, provenance={**item.provenance, **origin})
    if work.conversion.compat:
        reason = None if all(map(is_unicode, _texts(item))) else NOT_UNICODE
    else:
        cleaned = cleaner.apply(item)
        if isinstance(cleaned, str):
            return _dropped(item.id, cleaned, _members(item))
        item = cleaned
        reason = reason_to_drop(item)
    if reason is not None:
        return _dropped(item.id, reason, _members(item))
    key = exact_key(item) if work.exact else b""
    text = None if work.near is None else user_text(item)
    near = b"" if work.near is None or text is None else text_signature(text, work.near)
    shown = _laid_out(item, work.conversion) if found.laid_out else item
    return Row(item.id, "", _inside(_members(shown)), key, near, text, cleaner.changed_by)


def _texts(conversation: Conversation) -> Iterator[str]:
    yield conversation.id
    for message in conversation.messages:
        yield from (message.content, message.context or "")


def _members(conversation: Conversation) -> dict[str, Any]:
    members = conversation.as_json()
    return {name: members[name] for name in ("messages", "provenance") if name in members}


def _dropped(identity: str, reason: str, said: dict[str, Any]) -> Row:
    text = json.dumps({"reason": reason, **said}, default=str)  # in ASCII: what was dropped may be no Unicode
    return Row(identity, reason, text[1:-1])


def _inside(members: dict[str, Any]) -> str:
    """The members of a JSON object without its braces."""
    return json_text(members)[1:-1]
