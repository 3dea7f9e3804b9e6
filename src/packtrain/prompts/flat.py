"""Many texts as token ids in flat arrays: what encoding and the token cache work on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from packtrain.prompts.tokenizer import Tokenizer
from packtrain.prompts.words import WordTokenizer, word_tokenizer

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FlatTokens:
    """The tokens of several texts behind one another."""

    ids: Ints
    """[tokens]"""
    starts: Ints
    """[tokens] The character of its text at which a token begins; -1 for one that the tokenizer put before the text."""
    offsets: Longs
    """[texts + 1] Where the tokens of each text begin; the last entry is the number of tokens."""

    @property
    def lengths(self) -> Longs:
        """[texts] Tokens of each text."""
        return np.diff(self.offsets)


def flat_tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> FlatTokens:
    """Ids and places of the tokens of all `texts`, the tokenizer's own first tokens included.

    By words where the tokenizer allows it (several times faster), else by the tokenizers library.
    """
    words = word_tokenizer(tokenizer)
    return _by_library(tokenizer, texts) if words is None else _by_words(words, texts)


def _by_library(tokenizer: Tokenizer, texts: Sequence[str]) -> FlatTokens:
    encodings = tokenizer.encode(texts)
    offsets = np.zeros(len(encodings) + 1, np.int64)
    np.cumsum([len(encoding) for encoding in encodings], out=offsets[1:])
    ids = np.fromiter((token for encoding in encodings for token in encoding.ids), np.int32, offsets[-1])
    places = (start if end > start else -1 for encoding in encodings for start, end in encoding.offsets)
    return FlatTokens(ids, np.fromiter(places, np.int32, offsets[-1]), offsets)


def _by_words(words: WordTokenizer, texts: Sequence[str]) -> FlatTokens:
    ids, starts, counts = words.encode(texts)
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return FlatTokens(ids, starts, offsets)
