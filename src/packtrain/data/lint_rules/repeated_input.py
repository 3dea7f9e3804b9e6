"""Finds inputs that only repeat the instruction, or a part of it."""

import re

from packtrain.core.conversation import Conversation
from packtrain.data.lint_rules import Place, Severity

SEVERITY: Severity = "note"
MEND = "take the input away: the instruction says it already"

FEWEST_CHARACTERS = 12
_NOT_WORDS = re.compile(r"[\W_]+")


def find(conversation: Conversation) -> Place | None:
    """The first context whose words stand, in the same order, in its instruction."""
    for number, message in enumerate(conversation.messages):
        if message.context and len(message.context) <= len(message.content) + 10:
            words = _NOT_WORDS.sub(" ", message.context.casefold()).strip()
            if (
                len(words) >= FEWEST_CHARACTERS
                and f" {words} " in f" {_NOT_WORDS.sub(' ', message.content.casefold())} "
            ):
                return Place(number, 0, len(message.context), in_context=True)
    return None
