"""Drop conversations with an answer that runs on into the next generated task: `14. Instruction: ...`.

Source: AlpacaDataCleaned (github.com/gururise/AlpacaDataCleaned); the generating prompt of Stanford Alpaca numbers its
tasks that way, between lines of `###`. The number must be at least 2 and begin a line behind other text.
"""

import re

from packtrain.core.conversation import Conversation
from packtrain.data.clean import Stage
from packtrain.data.texts import answers

STAGE = Stage.FAULT

_NEXT = re.compile(r"(?<=\n)[ \t]*#*[ \t]*(?:[2-9]|\d\d+)\.?[ \t]*Instruction[ \t]*:")
SIGNS = (_NEXT,)


def apply(conversation: Conversation) -> Conversation | str:
    """The reason, when an answer holds the beginning of another task."""
    for _, answer in answers(conversation):
        if "Instruction" in answer and _NEXT.search(answer.lstrip()):
            return "an answer runs on into another task"
    return conversation
