"""Finds answers that begin with the instruction, word for word, on lines or in quotes of its own."""

import re

from packtrain.core.conversation import Conversation
from packtrain.data.lint_rules import Place, Severity
from packtrain.data.texts import rounds

SEVERITY: Severity = "warning"
MEND = "cut the instruction off the answer"

FEWEST_WORDS = 5
_ENDS = re.compile(r"[ \t.:?!]*(?:\n|\"|”)")
_QUOTES = " \t\r\n\"'`“”#*/-"


def find(conversation: Conversation) -> Place | None:
    """The copy of the instruction at the beginning of its answer, when more follows."""
    for number, question, _, answer in rounds(conversation):
        asked = question.strip()
        skipped = len(answer) - len(answer.lstrip(_QUOTES))
        if len(asked.split(None, FEWEST_WORDS)) < FEWEST_WORDS or not answer.startswith(asked, skipped):
            continue
        if _ENDS.match(answer, skipped + len(asked)) and answer[skipped + len(asked) + 1 :].strip(_QUOTES):
            return Place(number + 1, skipped, skipped + len(asked))
    return None
