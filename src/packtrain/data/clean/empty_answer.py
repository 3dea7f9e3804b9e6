"""Cut a conversation before its first answer in which nothing can be seen; drop it when that is the first.

Source: clean_sharegpt.py of FastChat, which cuts where an answer is empty or begins with a character that cannot be
printed. Here an answer counts as empty when all its characters are spaces, controls or invisible (Unicode categories
C and Z); a zero width space before text is left alone.
"""

from dataclasses import replace

from packtrain.core.conversation import Conversation
from packtrain.data.clean import Stage

STAGE = Stage.TURNS


def apply(conversation: Conversation) -> Conversation | str:
    """The rounds before the first empty answer."""
    for index, message in enumerate(conversation.messages):
        if message.role == "assistant" and not is_visible(message.content):
            kept = conversation.messages[: max(index - 1, 0)]
            if not any(other.role == "assistant" for other in kept):
                return "nothing before the first empty answer"
            return replace(conversation, messages=kept)
    return conversation


def is_visible(text: str) -> bool:
    """Whether a text has a character that can be seen."""
    return any(character.isprintable() and not character.isspace() for character in text)
