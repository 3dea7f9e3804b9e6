"""Take away inputs that only say that there is no input: `<noinput>`, `No input required.`, `N/A` ...

Source: AlpacaDataCleaned (github.com/gururise/AlpacaDataCleaned), which makes them empty, whatever brackets, quotes,
case, spaces and full stops surround the words. `<noinput>` and `noinput` are also taken off as the last line of a
longer input or instruction.
"""

import re
from dataclasses import replace

from packtrain.core.conversation import Conversation, Message
from packtrain.data.clean import Stage
from packtrain.data.texts import with_messages

STAGE = Stage.RESIDUE

_WORDS = re.compile(
    r"""no[\s_-]*(?:additional\s|further\s|specific\s)?input[se]?
        (?:\s(?:is\s|was\s)?(?:needed|required|necessary|provided|given|available))?
        (?:\sfor\sthis\s(?:task|instruction|question))?
    |n\.?/?a\.? | not\sapplicable | none | null | nan | empty | blank | no\scontext
    |(?:none|nothing)\s(?:needed|required|provided|given)""",
    re.IGNORECASE | re.VERBOSE,
)
_AROUND = " \t\r\n<>[](){}\"'`“”‘’*_-.,:\\/"
_ONLY_IN_BRACKETS = ("na", "n a", "empty", "blank")
"""Words that stand for nothing only in brackets: bare ones may be sodium or a word to be worked on."""
_LAST_LINE = re.compile(r"\s*(?:Input:\s*)?(?:<\s*no\s?input\s*>\.?|noinput)", re.IGNORECASE)
_LONGEST_LAST_LINE_CHARACTERS = 60


def apply(conversation: Conversation) -> Conversation | str:
    """The conversation without placeholder contexts."""
    return with_messages(conversation, [_without_placeholder(message) for message in conversation.messages])


def _without_placeholder(message: Message) -> Message:
    if message.role == "assistant":
        return message
    content, context = _without_last_line(message.content), message.context
    if context is not None and content.strip():
        rest = _without_last_line(context)
        context = None if is_placeholder(context) or is_placeholder(rest) else rest
    return (
        message
        if (content, context) == (message.content, message.context)
        else replace(message, content=content, context=context)
    )


def is_placeholder(text: str) -> bool:
    """Whether a text is nothing but the statement that there is no input."""
    if len(text) > 60:
        return False
    words = text.strip(_AROUND)
    if not _WORDS.fullmatch(words):
        return False
    return words.casefold() not in _ONLY_IN_BRACKETS or text.strip()[:1] in tuple("<[(")


def _without_last_line(text: str) -> str:
    """The text without a placeholder as its last line, and without an `Input:` over that."""
    kept = len(text)
    while True:
        end = _without_space(text, kept)
        begin = text.rfind("\n", 0, end) + 1
        is_short = end - begin <= _LONGEST_LAST_LINE_CHARACTERS
        before = _without_space(text, max(begin - 1, 0))
        if not is_short or not _LAST_LINE.fullmatch(text, begin, end) or not before:
            return text[:kept]
        kept = before
        if text.endswith("\nInput:", 0, kept):
            kept = _without_space(text, kept - len("\nInput:"))


def _without_space(text: str, end: int) -> int:
    """The length of the beginning `text[:end]` without white space behind it."""
    while end and text[end - 1].isspace():
        end -= 1
    return end
