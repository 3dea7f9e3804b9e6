"""Prompt and completion: `prompt`, `completion`, each plain text or a list of messages.

Your own data, P3 and Self-Instruct files, or the conversational form of TRL, whose prompt is all messages but the last.
"""

from collections.abc import Iterator
from typing import Any

from packtrain.core.conversation import Conversation, parse_conversation
from packtrain.data.about import About
from packtrain.data.conversion import Conversion
from packtrain.data.records import Dropped, Record

ABOUT = About(dataset="prompt_completion", title="Prompts with completions", source="your own data", license="")
FIELDS = ("prompt", "completion")
_END_MARK = "<|endoftext|>"


def convert(record: Record, conversion: Conversion) -> Iterator[Conversation | Dropped]:
    """The prompt's messages with the completion's behind; plain text is one message of the user, of the assistant.

    An end mark `<|endoftext|>` behind a plain completion is taken off: GPT-3's fine-tuning files carry it
    as text, and every template writes the tokenizer's own. Raises UserError for unknown roles and for
    contents that are no text.
    """
    record.require(*FIELDS)
    identity = f"{conversion.dataset}_{record.number}"
    prompt, completion = (record.fields[name] for name in FIELDS)
    if isinstance(completion, str):
        completion = completion.removesuffix(_END_MARK)
    sides = {"prompt": _messages("user", prompt), "completion": _messages("assistant", completion)}
    neither = next((name for name, side in sides.items() if side is None), None)
    messages = [message for side in sides.values() for message in side or ()]
    if neither or not messages:
        yield Dropped(identity, f"{neither} is neither text nor a list of messages" if neither else "no messages")
        return
    yield parse_conversation({"dataset": conversion.dataset, "id": identity, "messages": messages}, record.where)


def _messages(role: str, side: Any) -> list[Any] | None:
    """One side as a list of messages; None when it is neither text nor a list."""
    if isinstance(side, str):
        return [{"role": role, "content": side}]
    return side if isinstance(side, list) else None
