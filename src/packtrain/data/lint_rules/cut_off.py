"""Finds answers that stop in the middle of a sentence."""

import re

from packtrain.core.conversation import Conversation
from packtrain.data.lint_rules import Place, Severity
from packtrain.data.texts import answers, has_code

SEVERITY: Severity = "warning"
MEND = "cut back to the last whole sentence, or drop the record; a higher limit of new tokens avoids it"

FEWEST_WORDS = 12
LONG_CHARACTERS = 1200
_HANGING = re.compile(
    r"\b(?:the|a|an|and|or|but|of|to|in|on|at|with|for|from|by|as|that|which|is|are|was|were|be|been|will|would"
    r"|can|could|should|has|have|had|its|their|his|my|your|our|into|such|than|because|although|while|when|where|if|not)\Z"
    r"|[a-z]{2},\Z",
)
_LAST_LINE = re.compile(r"[^\n]*\Z")
_SENTENCE_INSIDE = re.compile(r"[a-z]{2}[.!?] [A-Z]")


def find(conversation: Conversation) -> Place | None:
    """The end of the first answer that stops at a word which ends no sentence, or, when long, within a paragraph."""
    for number, answer in answers(conversation):
        text = answer.rstrip()
        if not text or not (text[-1].isalpha() or text[-1] == ","):
            continue
        line = _LAST_LINE.search(text)
        last = line[0] if line else text
        if len(last.split(None, FEWEST_WORDS)) < FEWEST_WORDS or last.lstrip()[:1] in "|#>" or has_code(last):
            continue
        hanging = _HANGING.search(last)
        if hanging or (len(text) >= LONG_CHARACTERS and _SENTENCE_INSIDE.search(last)):
            return Place(number, hanging.start() + len(text) - len(last) if hanging else len(text) - 1, len(text))
    return None
