"""Put a space into names of control tokens, such as `</s>`, so that no tokenizer takes them for one.

Without this rule a conversation with such a text is left out (data/checks.py): as a control token an end-of-sequence in
the middle of a text teaches the model to stop there. `< /s>` reads nearly the same and is ordinary text.

Source: our own rule, for data about mark-up, tokenizers and language models.
"""

import re
from dataclasses import replace

from packtrain.core.conversation import Conversation, Message
from packtrain.data.checks import CONTROL_TOKENS
from packtrain.data.clean import Stage
from packtrain.data.texts import with_messages

STAGE = Stage.RESIDUE

_NAMES = re.compile("|".join(map(re.escape, CONTROL_TOKENS)))


def apply(conversation: Conversation) -> Conversation | str:
    """The conversation with no text that is the name of a control token."""
    return with_messages(conversation, [_mended(message) for message in conversation.messages])


def _mended(message: Message) -> Message:
    content, context = _apart(message.content), None if message.context is None else _apart(message.context)
    same = (content, context) == (message.content, message.context)
    return message if same else replace(message, content=content, context=context)


def _apart(text: str) -> str:
    return _NAMES.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
