"""Which of several options an answer in words names: for models that do not tell how likely a continuation is."""

import re
from collections.abc import Sequence

_BEFORE = re.compile(r"[\s\"'`*_(\[{]+")
_ANNOUNCED = re.compile(
    r"(the )?((correct|right|best) )?(answer|option|choice)( is)?:?(?=[\s\"'`*_(\[{])", re.IGNORECASE
)
_ARTICLES = ("A", "I")
"""Options that are English words too: `A good question` names none."""


def named_option(answer: str, options: Sequence[str], prompt: str = "") -> int:
    """Index of the option that `answer` begins with, the longest of several; -1 when it begins with none.

    White space, quotes and brackets before it do not count, nor does the last line of `prompt` where the answer
    repeats it (`The answer is: B`), nor an announcement (`The correct answer is`). Upper and lower case differ, and the
    option must end where a word ends.
    """
    lead_in = prompt.rstrip().rpartition("\n")[2].strip()
    answer = answer.lstrip()
    if lead_in and answer.startswith(lead_in):
        answer = answer[len(lead_in) :]
    named = _begun_with(answer, options)
    announced = _ANNOUNCED.match(answer.lstrip()) if named < 0 else None
    return _begun_with(answer.lstrip()[announced.end() :], options) if announced else named


def _begun_with(answer: str, options: Sequence[str]) -> int:
    answer = answer[found.end() :] if (found := _BEFORE.match(answer)) else answer
    lengths = {index: len(text.strip()) for index, text in enumerate(options) if _begins(answer, text.strip())}
    return max(lengths, key=lambda index: (lengths[index], -index)) if lengths else -1


def _begins(answer: str, option: str) -> bool:
    after = answer[len(option) :]
    article = option in _ARTICLES and re.match(r"[ \t]+\w", after)
    return bool(option) and answer.startswith(option) and not re.match(r"\w", after) and not article
