"""Baize: ChatGPT in conversation with itself, each record one transcript, `input`, with [|Human|] and [|AI|] marks."""

from collections.abc import Iterator

from packtrain.core.conversation import Conversation, Message
from packtrain.core.errors import UserError
from packtrain.data.about import About
from packtrain.data.conversion import Conversion
from packtrain.data.fitting import fitting_formats
from packtrain.data.records import Dropped, Record, not_text

ABOUT = About(
    dataset="baize",
    title="Baize",
    source="https://github.com/project-baize/baize-chatbot",
    license="baize",
    citation="xu2023baize",
    files=("alpaca_chat_data.json", "medical_chat_data.json", "quora_chat_data.json", "stackoverflow_chat_data.json"),
    rows=210_311,
    rounds=3.1,
    prompt_tokens=17.6,
    completion_tokens=52.8,
)
FIELDS = ("input", "topic")
_HUMAN, _AI = "[|Human|]", "[|AI|]"


def convert(record: Record, conversion: Conversion) -> Iterator[Conversation | Dropped]:
    """The rounds of one transcript, both sides stripped; what stands before the first [|Human|] is no part of it.

    A round without [|AI|], or with a blank side, is left out, and a transcript without a whole round is
    dropped. Two answers in a row become one with a blank line between: all of it was said, and what
    follows may refer to it. In compat a round with [|AI|] stays whatever is blank, a transcript without
    rounds gives a conversation without messages, and two answers in a row, at which the original stops,
    are a UserError.
    """
    record.require("input")
    identity = f"{conversion.dataset}_{record.number}"
    wrong = not_text(("input", record.fields["input"]))
    if wrong:
        yield Dropped(identity, wrong)
        return
    if _HUMAN not in record.fields["input"]:
        _refuse_other_formats(record)
    messages: list[Message] = []
    for part in record.fields["input"].split(_HUMAN)[1:]:
        question, *answers = (side.strip() for side in part.split(_AI))
        if conversion.compat and len(answers) > 1:
            raise UserError(
                f"{record.where}: two answers in one round, at which the original converter stops",
                "convert without compat: they are joined",
            )
        answer = "\n\n".join(filter(None, answers))
        if (question and answer) or (conversion.compat and answers):
            messages += [Message("user", question), Message("assistant", answer)]
    whole = messages or conversion.compat
    yield Conversation(conversion.dataset, identity, tuple(messages)) if whole else Dropped(identity, "no whole round")


def _refuse_other_formats(record: Record) -> None:
    """Raise UserError for a record of another format: Alpaca has an `input`, too, which is no transcript."""
    if fitting_formats(record.fields) not in ([], ["baize"]):
        raise UserError(
            f"{record.where}: `input` is no transcript with {_HUMAN} and {_AI} (found: {', '.join(record.fields)}; "
            "expected: input, with a transcript)",
            "check that the format fits the file",
        )
