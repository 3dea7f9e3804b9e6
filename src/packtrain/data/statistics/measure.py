"""What there is to count in each conversation: turns, lengths, and what the length limit of training takes away.

Lengths of turns are those of Table 1 of arXiv 2306.04751, as get_statistics.py of Open-Instruct counts them: tokens of
a message's text alone, without special tokens or anything that a template puts around it. A `context` is part of its
prompt, behind a blank line. System messages are no turns.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from packtrain.core.conversation import Conversation, Message
from packtrain.prompts.encode import encode_rows
from packtrain.prompts.flat import flat_tokens
from packtrain.prompts.template import PromptTemplate
from packtrain.prompts.tokenizer import Tokenizer

KNOWN_CONTROL_TOKENS = ("<s>", "</s>", "<pad>", "<unk>", "<|endoftext|>")
"""Looked for when no tokenizer says which are its own."""

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_WORD = re.compile(r"\S+")
_LONG_CHARACTERS = 1 << 20
"""Words of a longer text are counted one by one, which is slower, so that they need not all be in memory."""
_NO_LIMIT_TOKENS = 1 << 30


@dataclass(frozen=True, slots=True)
class AtLimit:
    """A conversation as training sees it; lengths in tokens."""

    rendered: int
    """Length of the whole, special tokens and the template's words included."""
    within: int
    """Tokens of it within the limit."""
    learnt: int
    """Tokens that contribute to the loss, within the limit."""
    eos_lost: bool
    """The last end-of-sequence that would be learnt lies behind the limit."""
    rounds_lost: int
    """Answers of which nothing lies within the limit."""
    rounds_cut: int
    """Answers that begin within the limit and end behind it."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One conversation in figures."""

    dataset: str
    id: str
    prompts: tuple[int, ...]
    """Length of each question, in tokens or in words."""
    completions: tuple[int, ...]
    prompt_characters: int
    completion_characters: int
    bytes: int
    """Of all texts, system messages included, as UTF-8."""
    control_tokens: frozenset[str]
    """Those whose text stands in a message, and would be read as the token itself."""
    at_limit: AtLimit | None = None
    """None without a template, and for what is left out for another reason than its length."""
    left_out: str | None = None
    """Why training would leave it out."""


class LengthOf(Protocol):
    """Measures texts."""

    def __call__(self, texts: Sequence[str]) -> list[int]:
        """The length of each text."""


def in_words(texts: Sequence[str]) -> list[int]:
    """Words of each text: what white space separates."""
    return [
        len(text.split()) if len(text) < _LONG_CHARACTERS else sum(1 for _ in _WORD.finditer(text)) for text in texts
    ]


class InTokens:
    """Tokens of each text, without the special tokens that the tokenizer puts around it; uses all cores."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._around = len(tokenizer.ids(""))

    def __call__(self, texts: Sequence[str]) -> list[int]:
        """The length of each text; half surrogate pairs, which no tokenizer takes, count as U+FFFD."""
        whole = [_LONE_SURROGATE.sub("\ufffd", text) for text in texts]
        lengths: list[int] = (flat_tokens(self._tokenizer, whole).lengths - self._around).tolist()
        return lengths


def measure(batch: Sequence[Conversation], length_of: LengthOf, controls: Sequence[str]) -> list[Measured]:
    """Each conversation in figures, but for what only a template can tell."""
    prompts = [[_prompt(message) for message in row.messages if message.role == "user"] for row in batch]
    answers = [[message.content for message in row.messages if message.role == "assistant"] for row in batch]
    lengths = iter(length_of([text for turns in (*prompts, *answers) for text in turns]))
    prompt_lengths = [tuple(next(lengths) for _ in turns) for turns in prompts]
    answer_lengths = [tuple(next(lengths) for _ in turns) for turns in answers]
    return [
        Measured(
            row.dataset,
            row.id,
            prompt_lengths[place],
            answer_lengths[place],
            sum(map(len, prompts[place])),
            sum(map(len, answers[place])),
            sum(len(text.encode(errors="surrogatepass")) for text in _texts(row.messages)),
            frozenset(token for token in controls if any(token in text for text in _texts(row.messages))),
        )
        for place, row in enumerate(batch)
    ]


def measure_training(
    batch: Sequence[Conversation],
    measured: Sequence[Measured],
    template: PromptTemplate,
    tokenizer: Tokenizer,
    max_length_tokens: int,
) -> list[Measured]:
    """`measured`, completed by what training makes of each conversation."""
    encoded = encode_rows(batch, template, tokenizer, _NO_LIMIT_TOKENS)
    found: dict[int, AtLimit] = {}
    for row, start, end in zip(encoded.rows.tolist(), encoded.offsets[:-1], encoded.offsets[1:], strict=True):
        is_eos = encoded.ids[start:end] == tokenizer.eos_id
        found[row] = _at_limit(encoded.learnt[start:end], is_eos, max_length_tokens)
    completed = []
    for place, (conversation, figures) in enumerate(zip(batch, measured, strict=True)):
        at_limit, reason = found.get(place), None
        if at_limit is None or not at_limit.learnt:  # rare: ask for this one alone, to learn why
            [reason] = encode_rows([conversation], template, tokenizer, max_length_tokens).dropped
        completed.append(replace(figures, at_limit=at_limit, left_out=reason))
    return completed


def _at_limit(learnt: NDArray[np.bool_], is_eos: NDArray[np.bool_], limit: int) -> AtLimit:
    """From which tokens of a whole conversation are learnt, and which are an end-of-sequence."""
    steps = np.diff(learnt.astype(np.int8), prepend=0, append=0)
    begins, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)  # of each answer, the end exclusive
    eos_places = np.flatnonzero(learnt & is_eos)
    return AtLimit(
        rendered=len(learnt),
        within=min(len(learnt), limit),
        learnt=int(learnt[1:limit].sum()),
        eos_lost=bool(eos_places.size and eos_places[-1] >= limit),
        rounds_lost=int((begins >= limit).sum()),
        rounds_cut=int(((begins < limit) & (ends > limit)).sum()),
    )


def _prompt(message: Message) -> str:
    return message.content if message.context is None else f"{message.content}\n\n{message.context}"


def _texts(messages: Sequence[Message]) -> list[str]:
    return [text for message in messages for text in (message.content, message.context or "")]
