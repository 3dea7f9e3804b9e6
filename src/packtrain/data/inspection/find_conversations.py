"""Conversations of a file by their place or by their id."""

import heapq
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from packtrain.core.conversation import Conversation, read_conversations
from packtrain.core.errors import UserError
from packtrain.core.progress import progress
from packtrain.data.inspection.visible_text import harmless

_CLOSE_IDS = 3
_NAMED_AT_MOST = 5


def by_row(path: Path, row: int, count: int) -> Iterator[Conversation]:
    """`count` conversations from the `row`-th on (the first is 1), fewer at the end of the file.

    UserError when there is none.
    """
    number = 0
    for number, conversation in enumerate(islice(read_conversations(path), row - 1 + count), start=1):
        if number >= row:
            yield conversation
    if number < row:
        if number == 0:
            raise _empty(path)
        raise UserError(f"{path} has no row {row}", f"its last row is {number}")


def row_of(path: Path, wanted: str) -> int:
    """The row (the first is 1) of the one conversation whose id, or `dataset/id`, is `wanted`.

    UserError naming the closest ids when there is none, and the candidates when there are several.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UserError(f"{path} is no file on disk, and --id has to read it twice", "save it to a file, or give --row")
    found, rows = [], 0
    with progress(f"looking for {harmless(wanted)}", None) as advance:
        for rows, conversation in enumerate(read_conversations(path), start=1):
            if wanted in (conversation.id, _full_id(conversation)):
                found.append((rows, _full_id(conversation)))
            advance()
    if not rows:
        raise _empty(path)
    if not found:
        close = ", ".join(_closest(path, wanted))
        raise UserError(f"{path} has no conversation {harmless(wanted)}", f"the closest are: {close}")
    if len(found) > 1:
        named = ", ".join(f"{harmless(name)} (row {row})" for row, name in found[:_NAMED_AT_MOST])
        more = f" and {len(found) - _NAMED_AT_MOST} more" if len(found) > _NAMED_AT_MOST else ""
        raise UserError(
            f"{path} has {len(found)} conversations {harmless(wanted)}: {named}{more}",
            "give dataset/id, or the row: --row N",
        )
    return found[0][0]


def _empty(path: Path) -> UserError:
    return UserError(f"{path} holds no conversations", "`packtrain data prepare` makes conversation files")


def _closest(path: Path, wanted: str) -> list[str]:
    """The full ids that resemble `wanted` most, best first."""
    from rapidfuzz.fuzz import ratio

    def likeness(conversation: Conversation) -> float:
        return max(ratio(wanted, conversation.id), ratio(wanted, _full_id(conversation)))

    scored = ((likeness(row), -place, _full_id(row)) for place, row in enumerate(read_conversations(path)))
    return [harmless(name) for _, _, name in heapq.nlargest(_CLOSE_IDS, scored)]


def _full_id(conversation: Conversation) -> str:
    return f"{conversation.dataset}/{conversation.id}"
