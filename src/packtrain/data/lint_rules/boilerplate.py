"""Finds answers that speak of themselves as an AI, or of what GPT cannot do."""

import re

from packtrain.core.conversation import Conversation
from packtrain.data.lint_rules import Place, Severity
from packtrain.data.texts import answers, has_code

SEVERITY: Severity = "note"
MEND = "cut the phrase, or drop the record, if the model is to speak otherwise of itself"

_MODEL = (
    r"(?:AI|artificial\sintelligence|(?:large\s)?language\smodel)"
    r"(?:\s(?:(?:large\s)?language\s)?(?:model|assistant|chatbot))?"
)
_PHRASE = re.compile(
    rf"""\b(?:as|being)\s(?:just\s)?an?\s{_MODEL}\b(?=[,.]|\s(?:and\s)?(?:I|my|trained|developed|created)\b)
    |\bI(?:\sam|['’]m)\s(?:just\s|only\s|merely\s)?an?\s{_MODEL}\b
        (?!\s(?:engineer|researcher|expert|developer|enthusiast|student|consult|start|company))
    |\bGPT(?:\s(?:language\s)?models?)?\s(?:can(?:no|['’])t|can\snot|(?:is|are)\s(?:not\sable|unable))\b
    |\b(?:can(?:no|['’])t|can\snot|not)\s(?:be\s)?(?:completed|performed|done|possible|suitable|generated)\s
        (?:by|for|with|using)\s(?:an?\s|the\s)?(?:GPT|(?:large\s)?language\smodel)""",
    re.IGNORECASE | re.VERBOSE,
)
_PARTS = (" ai", "model", "artificial", "gpt")
"""One of these is in every phrase; looking for them first saves the time."""


def find(conversation: Conversation) -> Place | None:
    """The first such phrase in an answer without code, where it may be a sample string."""
    for number, answer in answers(conversation):
        lower = answer.lower()
        found = _PHRASE.search(answer) if any(part in lower for part in _PARTS) else None
        if found and not has_code(answer):
            return Place(number, found.start(), found.end())
    return None
