"""Strip the counter `2 / 3` that the web page shows over an answer which was generated again.

Source: clean_sharegpt.py of FastChat, which strips it wherever an answer begins with two numbers. Here
the numbers must count (the first is not above the second) and be followed by an empty line or, without any space,
by a capital letter, and after an empty line only when the question is not about numbers: `3/4` may be an answer.
"""

import re

from packtrain.core.conversation import Conversation
from packtrain.data.clean import Stage
from packtrain.data.texts import with_content, with_messages

STAGE = Stage.RESIDUE

_COUNTER = re.compile(r"\s*(\d{1,2}) / (\d{1,2})(?:(?P<apart>[ \t]*\n[ \t]*\n\s*)(?=\S)|(?=[^\W\d_a-z]))")
_ABOUT_NUMBERS = re.compile(r"\d|fraction|ratio|divide|division|probability|odds|chance|half|third|quarter", re.I)


def apply(conversation: Conversation) -> Conversation | str:
    """The conversation without counters in front of its answers."""
    messages = list(conversation.messages)
    for index, message in enumerate(messages):
        if message.role != "assistant":
            continue
        text = message.content
        question = messages[index - 1] if index else message
        about_numbers = bool(_ABOUT_NUMBERS.search(f"{question.content}\n{question.context or ''}"))
        start = 0
        while (found := _COUNTER.match(text, start)) and 1 <= int(found[1]) <= int(found[2]):
            if found["apart"] and about_numbers:
                break
            start = found.end()
        messages[index] = with_content(message, text[start:])
    return with_messages(conversation, messages)
