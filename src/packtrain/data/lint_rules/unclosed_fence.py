"""Finds answers with a code block that is opened and not closed."""

import re

from packtrain.core.conversation import Conversation
from packtrain.data.lint_rules import Place, Severity
from packtrain.data.texts import answers

SEVERITY: Severity = "warning"
MEND = "close the block; if the code stops within a line, the answer was cut off"

_FENCE = re.compile(r"^[ \t>]*(?P<fence>`{3,}|~{3,})(?P<rest>[^\n]*)$", re.MULTILINE)


def find(conversation: Conversation) -> Place | None:
    """The fence that opens the block; fences count as in CommonMark, also within lists and quotations."""
    for number, answer in answers(conversation):
        if "```" not in answer and "~~~" not in answer:
            continue
        opened: re.Match[str] | None = None
        for found in _FENCE.finditer(answer):
            fence, rest = found["fence"], found["rest"]
            if opened is None:
                opened = None if "`" in rest and fence[0] == "`" else found
            elif fence.startswith(opened["fence"]) and not rest.strip():
                opened = None
        if opened:
            return Place(number, opened.start("fence"), opened.end())
    return None
