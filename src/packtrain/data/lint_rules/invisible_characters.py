"""Finds control characters, byte order marks, zero width spaces and marks that turn the direction of text."""

import re

from packtrain.core.conversation import Conversation
from packtrain.data.lint_rules import Place, Severity
from packtrain.data.texts import texts

SEVERITY: Severity = "warning"
MEND = "take them out: they become tokens that nobody sees"

_CONTROLS = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f"
_INVISIBLE = re.compile(f"[{_CONTROLS}\u00ad\u200b\u2060\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")


def find(conversation: Conversation) -> Place | None:
    """The first such character; joiners, which scripts and emoji need, are none."""
    for number, text, in_context in texts(conversation):
        found = None if text.isascii() and text.isprintable() else _INVISIBLE.search(text)
        if found:
            return Place(number, found.start(), found.end(), f"U+{ord(found[0]):04X}", in_context)
    return None
