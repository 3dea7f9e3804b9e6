"""LLaMA's tokens, word by word.

A SentencePiece BPE vocabulary has no piece with a space behind something else than a space: no merge ever
reaches over the seam between a word and the space before the next one. The tokens of a text are therefore the
tokens of its words, and a word needs to be tokenised only once. The tokenizers library treats such a text as
one long word instead. Whether a tokenizer is of this kind is read off its vocabulary and tried on probes;
docs/performance.md has the figures.
"""

import json
import re
from array import array
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers

from packtrain.prompts.tokenizer import Tokenizer

_SPACE = "\u2581"
_NOTHING = "(?!)"
"""Matches nowhere."""
_MOST_WORDS = 1 << 18
_MOST_TOKENS = 1 << 22
_PROBES = (
    "",
    " ",
    "a",
    "  two  spaces\n\n\tand a tab ",
    "caf\u00e9 \u4f60\u597d \U0001f600\u200d\U0001f680 \u2581 \u2581\u2581x",
    "def f(x):\n    return x  # 1,234.5\r\n",
    "\n\n### Name:\n\x00\x7f\ufffd",
)

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]


class WordTokenizer:
    """Tokenises texts by words; remembers a quarter of a million of them."""

    def __init__(self, tokenizer: Tokenizer, *, split_lines: bool) -> None:
        """`split_lines`: no piece of the vocabulary holds a line feed, so words end there too."""
        backend = tokenizers.Tokenizer.from_str(tokenizer.backend.to_str())
        backend.normalizer = tokenizers.normalizers.Sequence([])
        self._backend = backend
        added = backend.get_added_tokens_decoder()
        self._added = {token.content: identity for identity, token in added.items()}
        texts = sorted(self._added, key=len, reverse=True)
        self._seams = re.compile("|".join(map(re.escape, texts)) or _NOTHING)
        line = "\n" if split_lines else ""
        self._pattern = re.compile(f"{_SPACE}*[^{_SPACE}{line}]+|{_SPACE}+" + (r"|\n+" if split_lines else ""))
        self._first = list(tokenizer.backend.encode("").ids)
        self._forget()

    def _forget(self) -> None:
        self._known = _Words(self._tokenise)
        self._ids, self._starts, self._ends = array("i"), array("i"), array("q", [0])
        self._characters = array("q")
        self._special = {text: self._remember([token], [0], len(text)) for text, token in self._added.items()}
        self._begin = self._remember(self._first, [0] * len(self._first), 0)

    def _remember(self, ids: Sequence[int], starts: Sequence[int], characters: int) -> int:
        self._ids.extend(ids)
        self._starts.extend(starts)
        self._ends.append(len(self._ids))
        self._characters.append(characters)
        return len(self._characters) - 1

    def _tokenise(self, word: str) -> int:
        encoding = self._backend.encode(word, add_special_tokens=False)
        return self._remember(encoding.ids, [start for start, _ in encoding.offsets], len(word))

    def encode(self, texts: Sequence[str]) -> tuple[Ints, Ints, Longs]:
        """Ids of all texts behind one another, the character at which each begins (-1: before the text), and the
        number of tokens of each text."""
        if len(self._known) > _MOST_WORDS or len(self._ids) > _MOST_TOKENS:
            self._forget()
        words: list[int] = []
        led: list[int] = []
        first_words = [0]
        for text in texts:
            self._add_text(text, words, led)
            first_words.append(len(words))
        return self._gathered(np.array(words, np.int64), np.array(led, np.int64), np.array(first_words, np.int64))

    def _add_text(self, text: str, words: list[int], led: list[int]) -> None:
        """Put the words of a text behind the others, and the places of those that got a space of ours behind `led`."""
        words.append(self._begin)
        position = 0
        for seam in self._seams.finditer(text):
            self._add_words(text[position : seam.start()], words, led)
            words.append(self._special[seam[0]])
            position = seam.end()
        self._add_words(text[position:], words, led)

    def _add_words(self, part: str, words: list[int], led: list[int]) -> None:
        """The same for a part without control tokens; a space is put before it, as LLaMA's normaliser does."""
        if part:
            led.append(len(words))
            words.extend(map(self._known.__getitem__, self._pattern.findall(_SPACE + part.replace(" ", _SPACE))))

    def _gathered(self, words: Longs, led: Longs, first_words: Longs) -> tuple[Ints, Ints, Longs]:
        """The tokens of all words behind one another."""
        ends = np.frombuffer(self._ends, np.int64)
        begins = ends[words]
        counts = ends[words + 1] - begins
        before = np.concatenate([[0], np.cumsum(counts)])
        source = np.repeat(begins - before[:-1], counts) + np.arange(before[-1])
        ours = np.zeros(len(words), np.int64)
        ours[led] = 1
        characters = np.frombuffer(self._characters, np.int64)[words] - ours
        places = np.cumsum(characters) - characters
        places -= np.repeat(places[first_words[:-1]], np.diff(first_words))
        within = np.frombuffer(self._starts, np.int32)[source] - np.repeat(ours, counts)
        starts = np.repeat(places, counts) + np.maximum(within, 0)
        starts[(before[first_words[:-1], None] + np.arange(len(self._first))).ravel()] = -1
        return np.frombuffer(self._ids, np.int32)[source], starts.astype(np.int32), np.diff(before[first_words])


class _Words(dict[str, int]):
    """Word -> its number; one that is not known yet is tokenised."""

    def __init__(self, tokenise: Any) -> None:
        super().__init__()
        self._tokenise = tokenise

    def __missing__(self, word: str) -> int:
        number: int = self._tokenise(word)
        self[word] = number
        return number


@lru_cache(maxsize=4)
def word_tokenizer(tokenizer: Tokenizer) -> WordTokenizer | None:
    """The tokenizer by words, when it is of the kind that allows this; None when it is not."""
    description = json.loads(tokenizer.backend.to_str())
    model = description["model"]
    if model["type"] != "BPE" or not _is_llama(description, model) or _reaches_over_spaces(model):
        return None
    lines = any("\n" in piece for piece in model["vocab"])
    found = WordTokenizer(tokenizer, split_lines=not lines)
    return found if _agrees(found, tokenizer) else None


def _is_llama(description: dict[str, Any], model: dict[str, Any]) -> bool:
    """Whether spaces become pieces of words, nothing else is changed or cut, and no character is unknown."""
    normalizer = {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": _SPACE},
            {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE},
        ],
    }
    plain = all(
        not (token["normalized"] or token["lstrip"] or token["rstrip"] or token["single_word"])
        for token in description["added_tokens"]
    )
    return (
        plain
        and description["normalizer"] == normalizer
        and description["pre_tokenizer"] is None
        and model["byte_fallback"]
        and not model.get("dropout")
        and not model.get("ignore_merges")
        and all(f"<0x{byte:02X}>" in model["vocab"] for byte in range(256))
    )


def _reaches_over_spaces(model: dict[str, Any]) -> bool:
    pieces = ("".join(merge) if isinstance(merge, list) else merge.replace(" ", "") for merge in model["merges"])
    return any(_SPACE in piece.lstrip(_SPACE) for piece in pieces)


def _agrees(words: WordTokenizer, tokenizer: Tokenizer) -> bool:
    """Whether both give the same tokens for the probes, with an end-of-sequence between them and without."""
    probes = [*_PROBES, tokenizer.eos_token.join(_PROBES), f"{_PROBES[3]}{tokenizer.eos_token}"]
    ids, _, counts = words.encode(probes)
    parts = np.split(ids, np.cumsum(counts)[:-1])
    return all(list(part) == tokenizer.ids(probe) for part, probe in zip(parts, probes, strict=True))
