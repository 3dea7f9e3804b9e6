"""Strip `Copy123 chars / 45 words`, a button of a browser extension, out of answers.

Source: clean_sharegpt.py of FastChat.
"""

import re

from packtrain.core.conversation import Conversation
from packtrain.data.clean import Stage
from packtrain.data.texts import rewritten

STAGE = Stage.RESIDUE

_COUNTS = re.compile(r"Copy ?\d+ chars / \d+ words(?!\w)")
_MOST_LAYERS = 50
"""A text with more of them inside one another than a page has ever shown is none of a page."""


def apply(conversation: Conversation) -> Conversation | str:
    """The conversation without the button in its answers."""
    return rewritten(conversation, _stripped)


def _stripped(text: str) -> str:
    """The text without the button and the white space in front of it, until nothing changes."""
    given, layers = text, 0
    while "chars / " in text:
        *before, last = _COUNTS.split(text)
        found = "".join([part.rstrip() for part in before] + [last])
        if found == text:
            break
        text, layers = found, layers + 1
        if layers > _MOST_LAYERS:
            return given
    return text
