"""What every conversation must fulfil to be learnt from, whatever its source."""

from packtrain.core.conversation import Conversation
from packtrain.core.json_text import NOT_UNICODE, is_unicode

CONTROL_TOKENS = ("<s>", "</s>", "<unk>", "<pad>", "[PAD]", "<|endoftext|>", "<|im_start|>", "<|im_end|>")
"""Texts that the tokenizers of LLaMA, OPT, Galactica, GPT-NeoX and their kin turn into control tokens."""


def reason_to_drop(conversation: Conversation) -> str | None:
    """Why a conversation cannot be learnt from, in words that reports count by; None when it can.

    The rules: an optional system message first, then user and assistant in turn, the last turn the
    assistant's, nothing empty, text that can be written as UTF-8 and holds neither NUL nor the name of
    a control token (a model that reads an end-of-sequence in the middle of a text learns to stop there).
    """
    messages = conversation.messages
    roles = [message.role for message in messages]
    if roles and roles[0] == "system":
        roles = roles[1:]
    if not roles:
        return "no messages"
    if any(role != ("user", "assistant")[index % 2] for index, role in enumerate(roles)):
        return "roles do not alternate"
    if roles[-1] != "assistant":
        return "last turn is not the assistant's"
    for message in messages:
        if not message.content.strip() and not (message.context or "").strip():
            return "empty answer" if message.role == "assistant" else "empty question"
    text = "\n".join(f"{message.content}\n{message.context or ''}" for message in messages)
    if not is_unicode(text + conversation.id):
        return NOT_UNICODE
    if "\0" in text:
        return "NUL character in the text"
    if any(token in text for token in CONTROL_TOKENS):
        return "control token in the text"
    return None
