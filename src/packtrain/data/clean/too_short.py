"""Drop conversations of fewer than 16 characters in all.

Source: clean_sharegpt.py of FastChat. Counted are the texts of all messages, contexts included, without the white
space around them.
"""

from packtrain.core.conversation import Conversation
from packtrain.data.clean import Stage
from packtrain.data.texts import texts

STAGE = Stage.CHOICE

FEWEST_CHARACTERS = 16


def apply(conversation: Conversation) -> Conversation | str:
    """The reason, when there is too little text."""
    characters = sum(len(text.strip()) for _, text, _ in texts(conversation))
    return f"fewer than {FEWEST_CHARACTERS} characters" if characters < FEWEST_CHARACTERS else conversation
