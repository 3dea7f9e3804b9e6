"""Finds marks of prompt formats inside texts: `### Instruction:`, `[INST]`, other speakers in an answer.

Such a record was flattened into one prompt, or its answer runs on.
"""

import re

from packtrain.core.conversation import Conversation
from packtrain.data.lint_rules import Place, Severity
from packtrain.data.texts import texts

SEVERITY: Severity = "warning"
MEND = "convert from the raw data; in an answer, cut it before the mark"

_HASH = re.compile(
    r"^[ \t]*#{2,4}[ \t]*(?:Instruction|Input|Response|Human|Assistant|User|System)[ \t]*:", re.MULTILINE
)
_INSIDE = re.compile(
    r"###[ ](?:Instruction|Input|Response|Human|Assistant):|\[/?INST\]|<</?SYS>>|<\|(?:system|user|assistant|human)\|>"
)
_SPEAKERS = re.compile(
    r"^(?:Human|User|Q):[^\n]*\n+(?:(?!Human:|User:)[^\n]*\n+){0,3}?(?:Assistant|AI|Bot):", re.MULTILINE
)


def find(conversation: Conversation) -> Place | None:
    """The first mark of a format; in answers also the first exchange of two speakers under their names."""
    for number, text, in_context in texts(conversation):
        found = _HASH.search(text) if "##" in text else None
        found = found or _INSIDE.search(text)
        if found:
            return Place(number, found.start(), found.end(), in_context=in_context)
    for number, message in enumerate(conversation.messages):
        asked = conversation.messages[number - 1].content.lower() if number else ""
        if message.role == "assistant" and "Assistant:" in message.content and "dialog" not in asked:
            found = _SPEAKERS.search(message.content)
            if found and not re.search(r"conversation|chat|script|bot", asked):
                return Place(number, found.start(), found.end())
    return None
