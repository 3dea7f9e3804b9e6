"""Finds records that ask, in all their rounds, the same as an earlier record does, inputs included.

Case and the amount of white space do not count.
"""

import re
from collections.abc import Callable

import xxhash

from packtrain.core.conversation import Conversation
from packtrain.data.lint_rules import Place, Severity

SEVERITY: Severity = "warning"
MEND = "keep the better answer; mixing and preparing can drop exact duplicates"

_WHITE_SPACE = re.compile(r"\s+")


def start() -> Callable[[Conversation], Place | None]:
    """A `find` that remembers 16 bytes of hash and the id for every record."""
    seen: dict[bytes, str] = {}

    def find(conversation: Conversation) -> Place | None:
        asked = [(number, message) for number, message in enumerate(conversation.messages) if message.role == "user"]
        if not asked:
            return None
        parts = [part for _, message in asked for part in (message.content, message.context or "")]
        text = "\0".join(_WHITE_SPACE.sub(" ", part).strip().casefold() for part in parts)
        key = xxhash.xxh3_128_digest(text.encode("utf-8", "surrogatepass"))
        if key not in seen:
            seen[key] = conversation.id
            return None
        number, message = asked[0]
        return Place(number, 0, len(message.content), f"first in {seen[key]}")

    return find
