"""Finds answers that only repeat the instruction or its input."""

import re

from packtrain.core.conversation import Conversation
from packtrain.data.lint_rules import Place, Severity
from packtrain.data.texts import rounds

SEVERITY: Severity = "warning"
MEND = "write the answer, or drop the record"

FEWEST_CHARACTERS = 12
_MAY_STAY_AS_IT_IS = re.compile(
    r"correct|edit|fix|error|mistake|gramma|punctuat|rewrite|rephrase|paraphrase|improve|proofread|sort|order|arrang|select"
    r"|choose|pick|identify|find|extract|which|format|filter|remove|delete|convert|translat|classif|categor|repeat|quote|copy"
    r"|spell|print|echo|output|type|say|transcribe|capital|recite|title|name|suggest|true|organi[sz]|list|valid|complete|change|adjust|check",
    re.IGNORECASE,
)


def find(conversation: Conversation) -> Place | None:
    """The answer that says the same words as its question, or as an input that it was not asked to hand back."""
    for number, question, context, answer in rounds(conversation):
        if len(answer) > 2 * max(len(question), len(context)):
            continue
        words = _words(answer)
        if len(words) < FEWEST_CHARACTERS:
            continue
        if words == _words(question):
            return Place(number + 1, 0, len(answer), "repeats the instruction")
        if answer.strip() == context.strip() and not _MAY_STAY_AS_IT_IS.search(question):
            return Place(number + 1, 0, len(answer), "repeats the input")
    return None


def _words(text: str) -> str:
    """The text without what quoting it would change: white space, and quotes and full stops around it."""
    return " ".join(text.split()).strip(" .\"'“”")
