"""Exact duplicates: conversations that say the same, whatever their identity, spacing and Unicode form."""

import hashlib
import unicodedata
from typing import Generic, TypeVar

from packtrain.core.conversation import Conversation

KEY_BYTES = 16
_PART, _MESSAGE = "\x1f", "\x1e"  # white space to str.split, so no normalised text holds them

Identity = TypeVar("Identity")


def exact_key(conversation: Conversation) -> bytes:
    """The 16 bytes that two conversations share when their messages are the same.

    A hash (BLAKE2b) of every message's role, content and context in Unicode's composed form (NFC), with
    runs of white space as one space and none at the ends; an empty context counts as none. Data set, id
    and provenance do not enter.
    """
    parts = (
        _PART.join((message.role, _normalised(message.content), _normalised(message.context or "")))
        for message in conversation.messages
    )
    return hashlib.blake2b(_MESSAGE.join(parts).encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest()


def _normalised(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


class ExactDuplicates(Generic[Identity]):
    """The keys met so far, each with the identity of the first record that had it."""

    def __init__(self) -> None:
        self._first: dict[bytes, Identity] = {}

    def first_of(self, key: bytes, identity: Identity) -> Identity | None:
        """The identity of the first record with this key; None when this record, now remembered, is the first."""
        first = self._first.get(key)
        if first is None:
            self._first[key] = identity
        return first

    def attribute(self, key: bytes, identity: Identity) -> None:
        """From now on records with this key repeat `identity`: where its first is dropped after all."""
        self._first[key] = identity
