"""ShareGPT: conversations of people with ChatGPT, and every file of that shape: `id`, `conversations[{from, value}]`.

Source: sg_90k_part1_html_cleaned.json and part 2, shared by users; the recipes expect the file that Open-Instruct
split at 2,048 tokens. Licence: unclear, the text is its users'. Expected: 168,864 conversations after splitting.
"""

from collections.abc import Iterator
from pathlib import Path

from packtrain.core.conversation import Conversation, Message, Role
from packtrain.core.errors import UserError
from packtrain.data.records import Dropped, Record, not_text, read_records

_ROLES: dict[str, Role] = {"human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant"}


def read(path: Path, dataset: str = "sharegpt") -> Iterator[Conversation | Dropped]:
    """One conversation per record, id `<dataset>_<id>`, without leading answers and a last unanswered question.

    Conversations with a sender other than human, user, gpt and chatgpt are dropped whole, and so are
    empty ones. Raises UserError for a record of another shape.
    """
    for record in read_records(path):
        record.require("conversations")
        identity = f"{dataset}_{record.fields.get('id', record.number)}"
        messages = _messages(record)
        if isinstance(messages, str):
            yield Dropped(identity, messages)
            continue
        rounds = _whole_rounds(messages)
        yield Conversation(dataset, identity, rounds) if rounds else Dropped(identity, "no question with an answer")


def _messages(record: Record) -> list[Message] | str:
    """The turns, or the reason for dropping the conversation."""
    turns = record.fields["conversations"]
    if not isinstance(turns, list) or not all(
        isinstance(turn, dict) and {"from", "value"} <= turn.keys() for turn in turns
    ):
        raise UserError(
            f"{record.where}: `conversations` is not a list of turns (expected in each: from, value)",
            "check that the source's format in the recipe fits the file",
        )
    messages = []
    for turn in turns:
        if turn["from"] not in _ROLES:
            return f"sender {turn['from']}"
        wrong = not_text(("value", turn["value"]))
        if wrong:
            return wrong
        messages.append(Message(_ROLES[turn["from"]], turn["value"]))
    return messages


def _whole_rounds(messages: list[Message]) -> tuple[Message, ...]:
    """The messages without what is said before the first question and behind the last answer."""
    roles = [message.role for message in messages]
    if "user" not in roles or "assistant" not in roles:
        return ()
    return tuple(messages[roles.index("user") : len(roles) - roles[::-1].index("assistant")])
