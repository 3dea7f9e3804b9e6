"""Finds instructions to read what is behind a link, answered as if it had been opened.

Inputs that are only a link are found by the rule `link_input`.
"""

import re

from packtrain.core.conversation import Conversation
from packtrain.data.lint_rules import Place, Severity
from packtrain.data.texts import asks_for_code, declines, has_code, rounds

SEVERITY: Severity = "warning"
MEND = "put the text behind the link into the input, or drop the record"

_LINK = re.compile(r"(?<!\]\()https?://[^\s<>\"')\]]+|\bwww\.[^\s<>\"')\]]+")
_READ = re.compile(
    r"\b(?:summar\w+|read|review|analy[sz]e|describe|watch|visit|open|look[ ]at|browse|evaluate|critique"
    r"|according to|based on|outline|key points|main (?:points?|ideas?)|tl;?dr)\b",
    re.IGNORECASE,
)
LONGEST_REST_CHARACTERS = 250


def find(conversation: Conversation) -> Place | None:
    """The first link in a question that asks to read and brings little other text along."""
    for number, question, context, answer in rounds(conversation):
        found = _LINK.search(question) if "://" in question or "www." in question else None
        rest = _LINK.sub("", f"{question}\n{context}")
        if not found or len(rest) > LONGEST_REST_CHARACTERS or not _READ.search(rest):
            continue
        if not (asks_for_code(rest) or has_code(answer) or declines(answer)):
            return Place(number, found.start(), found.end())
    return None
