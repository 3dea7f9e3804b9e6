"""Drop conversations in which an answer is the web page's `Too many requests` message.

Source: clean_sharegpt.py of FastChat.
"""

import re

from packtrain.core.conversation import Conversation
from packtrain.data.clean import Stage
from packtrain.data.texts import answers

STAGE = Stage.FAULT

_MESSAGE = re.compile(r"\s*!?Too many requests in \d+ hours?\b|\s*!?Too many requests\W*(?:Please )?try again", re.I)


def apply(conversation: Conversation) -> Conversation | str:
    """The reason, when an answer begins with the message."""
    if any(_MESSAGE.match(answer) for _, answer in answers(conversation)):
        return "an answer is the message of an overloaded server"
    return conversation
