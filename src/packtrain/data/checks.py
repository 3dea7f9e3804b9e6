"""What every conversation must fulfil to be learnt from, whatever its source."""

import json

from packtrain.core.conversation import Conversation


def reason_to_drop(conversation: Conversation) -> str | None:
    """Why a conversation cannot be learnt from, in words that reports count by; None when it can.

    The rules: an optional system message first, then user and assistant in turn, the last turn the
    assistant's, nothing empty, and text that can be written as UTF-8.
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
    if not _is_unicode(json.dumps(conversation.as_json(), ensure_ascii=False)):
        return "text is not valid Unicode"
    return None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
