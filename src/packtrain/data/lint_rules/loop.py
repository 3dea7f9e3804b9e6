"""Finds answers that repeat the same words over and over, as a model caught in a loop does."""

import zlib

from packtrain.core.conversation import Conversation
from packtrain.data.lint_rules import Place, Severity
from packtrain.data.texts import answers

SEVERITY: Severity = "error"
MEND = "cut the answer before the repetition, or drop the record"

FEWEST_CHARACTERS = 200
MOST_COMPRESSED = 0.2
"""Compressed to less than this share of their size are texts that may hold a loop; prose comes to about a half."""
FEWEST_REPEATS = 5
FEWEST_REPEATED_CHARACTERS = 100
LONGEST_WORDS = 60
MOST_CHARACTERS = 1 << 20
"""Looked at in one answer: its words are held one by one, and a loop that begins later is in no answer of a model."""


def find(conversation: Conversation) -> Place | None:
    """The first run of at least five times the same words, 100 characters or more in all."""
    for number, answer in answers(conversation):
        if len(answer) < FEWEST_CHARACTERS:
            continue
        answer = answer[:MOST_CHARACTERS]
        data = answer.encode("utf-8", "replace")
        if len(zlib.compress(data, 1)) < MOST_COMPRESSED * len(data):
            run = _run(answer)
            if run:
                return Place(number, *run)
    return None


def _run(text: str) -> tuple[int, int] | None:
    """Beginning and end of the first run of the fewest words, None when there is none."""
    words = text.split()
    for size in range(1, min(LONGEST_WORDS, len(words) // FEWEST_REPEATS) + 1):
        equal = 0
        for index in range(size, len(words) + 1):
            if index < len(words) and words[index] == words[index - size]:
                equal += 1
                continue
            begin = index - equal - size
            if equal >= size * (FEWEST_REPEATS - 1) and _is_text(words[begin : begin + size]):
                return _span(text, begin, index - 1)
            equal = 0
    return None


def _is_text(unit: list[str]) -> bool:
    """Whether the repeated words are no mere table or number, and long enough to matter."""
    return any(map(str.isalpha, "".join(unit))) and len(" ".join(unit)) * FEWEST_REPEATS >= FEWEST_REPEATED_CHARACTERS


def _span(text: str, first: int, last: int) -> tuple[int, int]:
    """Characters from the first to the last of two words."""
    begin = end = 0
    position = 0
    for index, word in enumerate(text.split()):
        position = text.index(word, position)
        if index == first:
            begin = position
        position += len(word)
        if index == last:
            end = position
            break
    return begin, end
