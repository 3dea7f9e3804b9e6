"""Conversations as token ids and labels: what the training loop sees.

The default mode renders once, tokenises once with offsets and labels a token when it begins
inside what the assistant says. `compat` labels as the code of 2023 did, by counting the tokens of
ever longer prefixes; docs/divergences.md lists where the two differ.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from packtrain.core.conversation import Conversation, Message
from packtrain.core.errors import UserError
from packtrain.core.json_text import NOT_UNICODE, is_unicode
from packtrain.prompts.flat import FlatTokens, Ints, Longs, flat_tokens
from packtrain.prompts.template import PromptTemplate, Rendered
from packtrain.prompts.tokenizer import Tokenizer

IGNORED = -100
"""Label of a token that is not learnt."""

Mode = Literal["default", "compat"]
Tokens = Sequence[int] | npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Example:
    """One conversation for the training loop; `input_ids` and `labels` have equal length."""

    dataset: str
    id: str
    input_ids: Tokens
    labels: Tokens
    """Token ids where learnt, IGNORED elsewhere; not shifted."""

    @property
    def learnt_tokens(self) -> int:
        """Tokens that contribute to the loss: a label at position 0 has nothing to be predicted from."""
        return int(np.count_nonzero(np.asarray(self.labels)[1:] != IGNORED))


@dataclass
class Encoded:
    """Examples and what was counted on the way."""

    examples: list[Example] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    """Reason -> conversations without a place in training."""
    cut_at_limit: int = 0
    """Conversations longer than the limit, cut on the right."""


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Encoded conversations as flat arrays; what `encode` gives as lists."""

    ids: Ints
    """[tokens] int32: the token ids of all rows behind one another."""
    learnt: npt.NDArray[np.bool_]
    """[tokens] Which of them are learnt."""
    offsets: Longs
    """[rows + 1] Where each row begins."""
    rows: npt.NDArray[np.int64]
    """[rows] Which conversation each row is."""
    dropped: Counter[str]
    cut_at_limit: int


def encode(
    conversations: Sequence[Conversation],
    template: PromptTemplate,
    tokenizer: Tokenizer,
    max_length_tokens: int,
    mode: Mode = "default",
) -> Encoded:
    """Examples of all conversations that have something to learn within `max_length_tokens`; the rest is counted."""
    encoded = encode_rows(conversations, template, tokenizer, max_length_tokens, mode)
    labels = np.where(encoded.learnt, encoded.ids, IGNORED)
    bounds = encoded.offsets.tolist()
    examples = [
        Example(
            conversations[row].dataset,
            conversations[row].id,
            encoded.ids[start:end].tolist(),
            labels[start:end].tolist(),
        )
        for row, start, end in zip(encoded.rows.tolist(), bounds, bounds[1:], strict=False)
    ]
    return Encoded(examples, encoded.dropped, encoded.cut_at_limit)


def encode_rows(
    conversations: Sequence[Conversation],
    template: PromptTemplate,
    tokenizer: Tokenizer,
    max_length_tokens: int,
    mode: Mode = "default",
) -> EncodedRows:
    """The same as `encode` in flat arrays."""
    dropped: Counter[str] = Counter()
    rows, renderings = _rendered(conversations, template, tokenizer, mode, dropped)
    tokens = flat_tokens(tokenizer, [rendered.text for rendered in renderings])
    lengths = np.minimum(tokens.lengths, max_length_tokens)
    if mode == "compat":
        shown = [conversations[row] for row in rows]
        learnt = _learnt_by_prefix(shown, renderings, template, tokenizer, tokens, max_length_tokens)
    else:
        learnt = _learnt_by_place(renderings, tokens)
    within = np.arange(len(tokens.ids)) - np.repeat(tokens.offsets[:-1], tokens.lengths)
    counted = learnt & (within > 0) & (within < max_length_tokens)
    sums = np.concatenate([[0], np.cumsum(counted)])
    useful = sums[tokens.offsets[1:]] > sums[tokens.offsets[:-1]]
    if not useful.all():
        dropped["nothing to learn within the length limit"] += int((~useful).sum())
    kept = np.repeat(useful, tokens.lengths) & (within < max_length_tokens)
    offsets = np.concatenate([[0], np.cumsum(lengths[useful])])
    cut = int((tokens.lengths > max_length_tokens).sum())
    return EncodedRows(tokens.ids[kept], learnt[kept], offsets, np.array(rows, np.int64)[useful], dropped, cut)


def _rendered(
    conversations: Sequence[Conversation],
    template: PromptTemplate,
    tokenizer: Tokenizer,
    mode: Mode,
    dropped: Counter[str],
) -> tuple[list[int], list[Rendered]]:
    """The conversations that can be shown, by their place, and their text; the rest is counted in `dropped`."""
    specials = control_tokens(tokenizer)
    rows, renderings = [], []
    for row, conversation in enumerate(conversations):
        text = _texts(conversation)
        if not is_unicode(f"{text}{conversation.dataset}{conversation.id}"):
            dropped[NOT_UNICODE] += 1
            continue
        if mode == "default" and any(token in text for token in specials):
            dropped["control token in the text"] += 1
            continue
        try:
            renderings.append(template.render(conversation.messages, tokenizer.eos_token))
        except UserError as error:
            dropped[error.message] += 1
            continue
        rows.append(row)
    return rows, renderings


def _learnt_by_place(renderings: Sequence[Rendered], tokens: FlatTokens) -> npt.NDArray[np.bool_]:
    """A token is learnt when it begins inside a span: one that straddles the start of an answer is not."""
    widths = np.array([len(rendered.text) + 1 for rendered in renderings], np.int64)
    origins = np.cumsum(widths) - widths
    places = np.repeat(origins, tokens.lengths) + np.maximum(tokens.starts, 0)  # ascending over all texts
    counts = [len(rendered.spans) for rendered in renderings]
    spans = np.array([span for rendered in renderings for span in rendered.spans], np.int64).reshape(-1, 2)
    bounds = np.searchsorted(places, spans + np.repeat(origins, counts)[:, None])
    steps = np.zeros(len(places) + 1, np.int64)
    np.add.at(steps, bounds[:, 0], 1)
    np.add.at(steps, bounds[:, 1], -1)
    return (np.cumsum(steps[:-1]) > 0) & (tokens.starts >= 0)


def _learnt_by_prefix(
    conversations: Sequence[Conversation],
    renderings: Sequence[Rendered],
    template: PromptTemplate,
    tokenizer: Tokenizer,
    tokens: FlatTokens,
    limit: int,
) -> npt.NDArray[np.bool_]:
    """Everything is learnt but [start, end) of each turn that is not the assistant's, counted in tokens of prefixes.

    An answer that is only shown, which the original knows nothing of, counts among these. As
    encode_with_messages_format and encode_with_prompt_completion_format of Open-Instruct and preprocess of
    Stanford Alpaca (July 2023).
    """
    prefixes: list[str] = []
    turns: list[tuple[int, int | None, int]] = []
    """Row, and which prefixes end where a turn that is not learnt begins (None: the beginning) and ends."""

    for row, (conversation, rendered) in enumerate(zip(conversations, renderings, strict=True)):
        messages = conversation.messages
        for index, message in enumerate(messages):
            if message.role == "assistant" and message.learnt:
                continue
            start = None
            if index:
                start = len(prefixes)
                prefixes.append(_prefix(messages, index, rendered, template, tokenizer.eos_token))
            turns.append((row, start, len(prefixes)))
            prefixes.append(_prefix(messages, index + 1, rendered, template, tokenizer.eos_token))
    lengths = np.minimum(flat_tokens(tokenizer, prefixes).lengths, limit).tolist()
    learnt = np.ones(len(tokens.ids), np.bool_)
    offsets = tokens.offsets.tolist()
    over = -1
    for row, first, last in turns:
        if row == over:
            continue
        start, end = 0 if first is None else lengths[first], lengths[last]
        begin, stop = offsets[row], offsets[row + 1]
        learnt[min(begin + start, stop) : min(begin + end, stop)] = False
        if end >= limit:
            over = row
    return learnt


def _prefix(messages: Sequence[Message], count: int, whole: Rendered, template: PromptTemplate, eos_token: str) -> str:
    """The text of the first `count` messages, up to where the next one begins to be its speaker's own.

    In the formats that packtrain ships it is the beginning of the whole text, and need not be rendered.
    """
    answered = count < len(messages) and messages[count].role == "assistant"
    before = sum(message.role == "assistant" for message in messages[:count])
    marked = sum(message.role == "assistant" for message in messages) == len(whole.spans)
    if template.shipped and marked and answered:
        return whole.text[: whole.spans[before][0]]
    if template.shipped and marked and messages[count - 1].role == "assistant":
        return whole.text[: whole.spans[before - 1][1]] + "\n"
    text = template.render(messages[:count], eos_token, for_answer=answered).text
    return text if answered else text + "\n"


@lru_cache(maxsize=8)
def control_tokens(tokenizer: Tokenizer) -> tuple[str, ...]:
    """The texts that the tokenizer reads as control tokens wherever they stand."""
    added = tokenizer.backend.get_added_tokens_decoder().values()
    return tuple(token.content for token in added if token.special)


def _texts(conversation: Conversation) -> str:
    return "\n".join(f"{message.content}\n{message.context or ''}" for message in conversation.messages)
