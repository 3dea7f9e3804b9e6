"""Finds character entities of HTML in text that is no code: `&quot;`, `&#39;`, `&amp;` ..."""

import re

from packtrain.core.conversation import Conversation
from packtrain.data.lint_rules import Place, Severity
from packtrain.data.texts import asks_for_code, texts

SEVERITY: Severity = "warning"
MEND = "unescape the source once (html.unescape in Python)"

_ENTITY = re.compile(
    r"&(?:quot|amp|lt|gt|nbsp|apos|#\d{2,6}|#x[\da-f]{2,5}|rsquo|lsquo|ldquo|rdquo|ndash|mdash|hellip);", re.I
)
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|</?[a-zA-Z][^<>]*>", re.DOTALL)
_ABOUT_ENTITIES = re.compile(r"\b(?:HTML|XML|XSS|entit(?:y|ies)|escap\w+|markup|href)\b", re.IGNORECASE)


def find(conversation: Conversation) -> Place | None:
    """The first entity outside of code, in a conversation that does not speak of mark-up."""
    for number, text, in_context in texts(conversation):
        if "&" not in text or ";" not in text or not _ENTITY.search(text):
            continue
        if any(_ABOUT_ENTITIES.search(other) for _, other, _ in texts(conversation)):
            return None
        found = _ENTITY.search(_CODE.sub(lambda code: "." * len(code[0]), text))
        if found and not (number == 0 and asks_for_code(text) and found[0].casefold() == "&amp;"):
            return Place(number, found.start(), found.end(), in_context=in_context)
    return None
