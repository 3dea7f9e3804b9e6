"""Drop conversations that mention OpenAI or ChatGPT, in any case and also inside longer words.

Source: clean_sharegpt.py of FastChat, as Vicuna was trained. Narrower in names than `identity`, wider in where it finds
them; take it alone to repeat FastChat's cleaning.
"""

import re

from packtrain.core.conversation import Conversation
from packtrain.data.clean import Stage
from packtrain.data.texts import texts

STAGE = Stage.CHOICE

_WORDS = re.compile("openai|chatgpt", re.IGNORECASE)
SIGNS = (_WORDS,)


def apply(conversation: Conversation) -> Conversation | str:
    """The reason, when a text holds one of the words."""
    return (
        "mentions OpenAI or ChatGPT" if any(_WORDS.search(text) for _, text, _ in texts(conversation)) else conversation
    )
