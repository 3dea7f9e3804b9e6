"""Conversations as token ids and labels: what the training loop sees.

The default mode renders once, tokenises once with offsets and labels a token when it begins
inside what the assistant says. `compat` labels as the code of 2023 did, by counting the tokens of
ever longer prefixes; docs/divergences.md lists where the two differ.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from packtrain.core.conversation import Conversation
from packtrain.core.errors import UserError
from packtrain.prompts.template import PromptTemplate, Rendered
from packtrain.prompts.tokenizer import Tokenizer

IGNORED = -100
"""Label of a token that is not learnt."""

Mode = Literal["default", "compat"]


@dataclass(frozen=True, slots=True)
class Example:
    """One conversation for the training loop; `input_ids` and `labels` have equal length."""

    dataset: str
    id: str
    input_ids: list[int]
    labels: list[int]
    """Token ids where learnt, IGNORED elsewhere; not shifted."""

    @property
    def learnt_tokens(self) -> int:
        """Tokens that contribute to the loss: a label at position 0 has nothing to be predicted from."""
        return sum(label != IGNORED for label in self.labels[1:])


@dataclass
class Encoded:
    """Examples and what was counted on the way."""

    examples: list[Example] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    """Reason -> conversations without a place in training."""
    cut_at_limit: int = 0
    """Conversations longer than the limit, cut on the right."""


def encode(
    conversations: Sequence[Conversation],
    template: PromptTemplate,
    tokenizer: Tokenizer,
    max_length_tokens: int,
    mode: Mode = "default",
) -> Encoded:
    """Examples of all conversations that have something to learn within `max_length_tokens`; the rest is counted."""
    result = Encoded()
    specials = _control_tokens(tokenizer)
    renderings: list[tuple[Conversation, Rendered]] = []
    for conversation in conversations:
        if mode == "default" and any(token in _texts(conversation) for token in specials):
            result.dropped["control token in the text"] += 1
            continue
        try:
            renderings.append((conversation, template.render(conversation.messages, tokenizer.eos_token)))
        except UserError as error:
            result.dropped[error.message] += 1
    encodings = tokenizer.encode([rendered.text for _, rendered in renderings])
    for (conversation, rendered), encoding in zip(renderings, encodings, strict=True):
        ids: list[int] = encoding.ids[:max_length_tokens]
        result.cut_at_limit += len(encoding.ids) > max_length_tokens
        if mode == "compat":
            labels = _labels_by_prefix(conversation, template, tokenizer, ids, max_length_tokens)
        else:
            labels = _labels_by_offset(ids, encoding.offsets, rendered.spans)
        example = Example(conversation.dataset, conversation.id, ids, labels)
        if example.learnt_tokens:
            result.examples.append(example)
        else:
            result.dropped["nothing to learn within the length limit"] += 1
    return result


def _labels_by_offset(
    ids: Sequence[int], offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]
) -> list[int]:
    """A token is learnt when it begins inside a span: one that straddles the start of an answer is not."""
    labels = [IGNORED] * len(ids)
    remaining = iter(spans)
    span = next(remaining, None)
    for position, (token_id, (start, end)) in enumerate(zip(ids, offsets, strict=False)):
        while span is not None and start >= span[1]:
            span = next(remaining, None)
        if span is None:
            break
        if start >= span[0] and end > start:
            labels[position] = token_id
    return labels


def _labels_by_prefix(
    conversation: Conversation, template: PromptTemplate, tokenizer: Tokenizer, ids: list[int], limit: int
) -> list[int]:
    """Everything is learnt but [start, end) of each turn that is not the assistant's, counted in tokens of prefixes.

    As encode_with_messages_format and encode_with_prompt_completion_format of Open-Instruct and
    preprocess of Stanford Alpaca (July 2023).
    """
    messages = conversation.messages
    labels = list(ids)

    def tokens_of(count: int) -> int:
        """Tokens of the first `count` messages, up to where the next one begins to be its speaker's own."""
        answered = count < len(messages) and messages[count].role == "assistant"
        text = template.render(messages[:count], tokenizer.eos_token, for_answer=answered).text
        return min(len(tokenizer.ids(text if answered else text + "\n")), limit)

    for index, message in enumerate(messages):
        if message.role == "assistant":
            continue
        start = 0 if index == 0 else tokens_of(index)
        end = tokens_of(index + 1)
        labels[start:end] = [IGNORED] * (min(end, len(labels)) - min(start, len(labels)))
        if end >= limit:
            break
    return labels


def _control_tokens(tokenizer: Tokenizer) -> list[str]:
    added = tokenizer.backend.get_added_tokens_decoder().values()
    return [token.content for token in added if token.special]


def _texts(conversation: Conversation) -> str:
    return "\n".join(f"{message.content}\n{message.context or ''}" for message in conversation.messages)
