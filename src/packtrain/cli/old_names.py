"""Errors of today's stages in the words of an old command line."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from packtrain.core.errors import UserError


@contextmanager
def in_old_words(words: Mapping[str, str]) -> Iterator[None]:
    """Errors of the block say things as an old command line calls them.

    `words`: regular expressions of what is said today, and what that was (`re.sub`), one after the other. One that
    ends in a letter matches whole names: `--out` is not the beginning of `--output`.
    """
    try:
        yield
    except UserError as error:
        message, hint = error.message, error.hint
        for today, then in words.items():
            pattern = re.compile(today + (r"(?![\w-])" if today[-1].isalpha() else ""))
            message, hint = pattern.sub(then, message), pattern.sub(then, hint)
        raise UserError(message, hint) from error
