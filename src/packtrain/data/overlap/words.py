"""Text as the words that comparisons of records are made of, and the hashes of their n-grams."""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import xxhash
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_ASCII_WORD = re.compile(r"[a-z0-9_]+|[^\sa-z0-9_.,;:!?\"\x00-\x1f\x7f]")
_OPERATORS = frozenset("%&*/\\#@-()[]{}")
_APOSTROPHES = frozenset("'\N{RIGHT SINGLE QUOTATION MARK}\N{LEFT SINGLE QUOTATION MARK}")
_WITHOUT_SPACES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # Japanese syllables
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Chinese characters, here and below
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
_MOST_MARKS = 30
"""On one letter, as in Unicode's Stream-Safe Text Format: sorting them takes the square of their number."""
_MARKS = "".join(re.escape(chr(code)) for code in range(0x300, 0x1F000) if unicodedata.combining(chr(code)))
_MANY_MARKS = re.compile(f"[{_MARKS}]{{{_MOST_MARKS + 1},}}")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio; odd, so nothing is lost
_FINAL_MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)


def words(text: str) -> list[str]:
    """The words of `text` in order, compatibility-normalised (NFKC) and without case.

    Sentence punctuation separates words and is dropped; operators, brackets and other symbols are words
    of their own, because `2 + 2` and `2 * 2` are different questions. Apostrophes vanish ("don't" is
    one word). Scripts that put no spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese)
    give one word per character.
    """
    if text.isascii():
        return _ASCII_WORD.findall(text.lower().replace("'", ""))
    whole = _MANY_MARKS.sub(lambda found: found[0][:_MOST_MARKS], text)
    return unicodedata.normalize("NFKC", whole).casefold().translate(_SPACED).split()


class _Spacing(dict[int, str]):
    """What becomes of a character before the text is split at white space; filled as characters are met."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        kind = unicodedata.category(character)
        if character in _APOSTROPHES or kind == "Cf":  # formatting marks join: soft hyphen, zero-width joiners
            spaced = ""
        elif any(first <= code <= last for first, last in _WITHOUT_SPACES):
            spaced = f" {character} "
        elif character == "_" or kind[0] in "LMN":
            spaced = character
        elif kind[0] == "S" or character in _OPERATORS:
            spaced = f" {character} "
        else:
            spaced = " "
        self[code] = spaced
        return spaced


_SPACED = _Spacing()


def word_hashes(sequence: Sequence[str]) -> Hashes:
    """One 64-bit hash per word `[words]`, the same on every machine (XXH3 of the UTF-8 bytes)."""
    hashes = (xxhash.xxh3_64_intdigest(word.encode("utf-8", "surrogatepass")) for word in sequence)
    return np.fromiter(hashes, np.uint64, len(sequence))


def gram_hashes(hashed_words: Hashes, size: int) -> Hashes:
    """One 64-bit hash per run of `size` words `[words - size + 1]`, in order; empty for shorter texts.

    Any further axes of `hashed_words` are kept.
    """
    count = len(hashed_words) - size + 1
    if count < 1:
        return hashed_words[:0]
    grams = hashed_words[:count].copy()
    for offset in range(1, size):
        grams *= _MULTIPLIER
        grams += hashed_words[offset : offset + count]
    return mixed(grams)


def mixed(hashes: Hashes) -> Hashes:
    """`hashes` with every bit of each depending on all of its bits; done in place."""
    hashes ^= hashes >> _HALF
    hashes *= _FINAL_MULTIPLIER
    hashes ^= hashes >> _HALF
    hashes *= _FINAL_MULTIPLIER
    hashes ^= hashes >> _HALF
    return hashes
