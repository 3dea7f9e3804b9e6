"""Finds questions for what is true today (news, weather, prices, the time) that are answered all the same."""

import re

from packtrain.core.conversation import Conversation
from packtrain.data.lint_rules import Place, Severity
from packtrain.data.texts import asks_for_code, declines, rounds

SEVERITY: Severity = "warning"
MEND = "drop the record: a model without access to the day's data learns to invent it"

_TODAY = (
    r"(?:today(?:['’]s)?|current(?:ly)?|latest|right[ ]now|at[ ]the[ ]moment|this[ ](?:week|month)(?:['’]s)?"
    r"|tomorrow(?:['’]s)?|live)"
)
_DATA = (
    r"(?:weather|forecast|temperature|news|headlines?|stock[ ](?:price|quote|market)s?|share[ ]price|exchange[ ]rates?"
    r"|price[ ]of[ ](?:gold|oil|bitcoin|\w+coin|ethereum)|date|time[ ](?:in|is)|trending|score|standings|traffic)"
)
_QUESTION = re.compile(
    rf"""\b(?:what(?:['’]s|[ ]is|[ ]are|[ ]was)?|tell[ ]me|find|give[ ]me|get|look[ ]up|check|show[ ]me|provide|retrieve
        |report|search|list|name|locate)\b[^.?!\n]{{0,25}}?
      (?:\b{_TODAY}[ ](?:\w+[ ]){{0,2}}?{_DATA}\b
      |\b{_DATA}\b[^.?!\n]{{0,25}}?\b(?:today|right[ ]now|at[ ]the[ ]moment|tomorrow|currently)\b)
    | \bwhat[ ](?:time|day|date)[ ]is[ ]it\b
    | \bwhat[ ]is[ ]the[ ](?:weather|temperature)[ ](?:like[ ])?(?:today|now)\b""",
    re.IGNORECASE | re.VERBOSE,
)
_IN_OTHER_WORDS = re.compile(
    r"translat|rewrite|rephrase|sentence|synonym|grammar|poem|story|dialog|conver[st]|paraphrase|classif|edit|question"
    r"|website|\bapps?\b|resources?|sources?",
    re.IGNORECASE,
)


def find(conversation: Conversation) -> Place | None:
    """The first such question without input whose answer does not say that it cannot be known."""
    for number, question, context, answer in rounds(conversation):
        found = None if context.strip() or len(question) > 300 else _QUESTION.search(question)
        if found and not (_IN_OTHER_WORDS.search(question) or asks_for_code(question) or declines(answer)):
            return Place(number, found.start(), found.end())
    return None
