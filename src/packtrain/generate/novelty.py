"""Novelty: how much an instruction resembles those that are there already, by ROUGE-L.

Same scores, decisions and metadata as the original (stanford_alpaca, generate_instruction.py with
rouge_score, no stemmer), computed by rapidfuzz: each distinct token becomes one character, and the
longest common subsequence of two such strings is that of the token lists.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist

_TOKEN = re.compile(r"[a-z0-9]+")
_SURROGATES_START, _SURROGATES = 0xD800, 0x800
EXACT = 1.0
"""From this threshold on only exact duplicates are dropped."""


def tokens(text: str) -> list[str]:
    """Lower-case runs of a-z and 0-9, as the tokenizer of rouge_score has them; empty for text in other scripts."""
    return _TOKEN.findall(text.lower())


@dataclass(frozen=True, slots=True)
class Similarity:
    """ROUGE-L F-measure of one text with every text of a pool, in pool order: `scores` [pool]."""

    texts: tuple[str, ...]
    scores: NDArray[np.float64]

    @property
    def highest(self) -> float:
        """The largest score; 0.0 for an empty pool."""
        return float(self.scores.max()) if len(self.scores) else 0.0

    @property
    def average(self) -> float:
        """The mean score over the whole pool, seed tasks included (`avg_similarity_score`); 0.0 for an empty pool."""
        return float(self.scores.mean()) if len(self.scores) else 0.0

    def most_similar(self, count: int = 10) -> dict[str, float]:
        """The `count` highest scores by text, descending (`most_similar_instructions`); equal texts share one entry.

        Among equal scores the earlier text comes first; the original leaves that order open.
        """
        order = np.argsort(-self.scores, kind="stable")[:count]
        return {self.texts[index]: float(self.scores[index]) for index in order}


class Pool:
    """The instructions kept so far; grows by one text at a time."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._ids: dict[str, int] = {}
        self._texts: list[str] = []
        self._encoded: list[str] = []
        self._lengths = np.zeros(1024, dtype=np.float64)
        self._seen: set[str] = set()
        for text in texts:
            self.add(text)

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: str) -> None:
        """Make `text` part of the pool."""
        encoded = self._encode(text)
        size = len(self._texts)
        if size == len(self._lengths):
            self._lengths = np.concatenate([self._lengths, np.zeros_like(self._lengths)])
        self._lengths[size] = len(encoded)
        self._texts.append(text)
        self._encoded.append(encoded)
        self._seen.add(encoded or text.strip())

    def compare(self, text: str) -> Similarity:
        """The similarity of `text` to everything in the pool."""
        scores = self._scores(self._encode(text))
        return Similarity(tuple(self._texts), scores)

    def too_similar(self, text: str, threshold: float) -> str | None:
        """What in the pool `text` repeats, with the score; None when it is new enough.

        Repeating means a score above `threshold`, as in the original (a score of just 0.7 passes 0.7).
        With a threshold of 1.0 or more it means the same sequence of tokens, which a set answers at
        once; text without any token is then compared as it is written.
        """
        encoded = self._encode(text)
        if threshold >= EXACT:
            return "1.000 with an equal instruction" if (encoded or text.strip()) in self._seen else None
        scores = self._scores(encoded)
        if not len(scores):
            return None
        closest = int(scores.argmax())
        return f"{scores[closest]:.3f} with: {self._texts[closest]}" if scores[closest] > threshold else None

    def _encode(self, text: str) -> str:
        numbers = (self._ids.setdefault(token, len(self._ids)) for token in tokens(text))
        return "".join(chr(n if n < _SURROGATES_START else n + _SURROGATES) for n in numbers)

    def _scores(self, encoded: str) -> NDArray[np.float64]:
        size = len(self._texts)
        scores = np.zeros(size, dtype=np.float64)
        if not encoded or not size:
            return scores
        common = cdist([encoded], self._encoded, scorer=LCSseq.similarity, dtype=np.int32)[0]
        found = np.flatnonzero(common)
        # The order of operations is that of rouge_score.scoring.fmeasure: the scores are equal to the bit.
        recall = common[found] / len(encoded)
        precision = common[found] / self._lengths[found]
        scores[found] = 2 * precision * recall / (precision + recall)
        return scores
