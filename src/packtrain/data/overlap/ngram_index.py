"""An index of benchmark questions by their word n-grams, past which any number of training records can stream."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from packtrain.core.progress import progress
from packtrain.data.overlap.benchmark_texts import Benchmark, BenchmarkItem
from packtrain.data.overlap.words import Hashes, gram_hashes, word_hashes, words

Places = NDArray[np.int64]

_FILTER_PLACES_PER_GRAM = 8
_SHORTEST_MESSAGE_WORDS = 3


@dataclass(frozen=True, slots=True)
class Evidence:
    """What counts as a sign that a question was seen."""

    ngram_words: int = 13
    """Words in a row that must be the same."""
    shortest_words: int = 8
    """A question without an n-gram that counts, but of so many words at least, must occur as a whole.

    A shorter one, of three words or more, must be the whole of a message or of a context.
    """
    most_items: int = 10
    """An n-gram that more items of one benchmark share belongs to their template and is no sign."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """A benchmark item of which a text holds n-grams."""

    benchmark: int
    """Place in the list of benchmarks that were indexed."""
    item: BenchmarkItem
    ngrams: int
    """Different n-grams of the item that the text holds."""
    coverage: float
    """These as a share of all the item's n-grams that count as a sign."""
    example: str
    """The first of them, as words."""


class NgramIndex:
    """Every n-gram of every benchmark item that counts as a sign, as a hash."""

    def __init__(self, benchmarks: Sequence[Benchmark], evidence: Evidence) -> None:
        self._evidence = evidence
        self._items = [(place, item) for place, benchmark in enumerate(benchmarks) for item in benchmark.items]
        self._signs = np.zeros(len(self._items), np.int64)
        """How many n-grams of each item count as a sign; 0 for an item that cannot be checked."""
        grams, wholes = [], []
        start = 0
        with progress("indexing benchmarks", len(self._items)) as advance:
            for benchmark in benchmarks:
                texts = [[words(text) for text in item.texts] for item in benchmark.items]
                grams.append(self._count([_telling_grams(each, evidence) for each in texts], start))
                without = self._signs[start : start + len(texts)] == 0
                questions = [each[0] if alone else [] for each, alone in zip(texts, without, strict=True)]
                wholes.append(self._count([_whole(question) for question in questions], start))
                start += len(texts)
                advance(len(texts))
        self._grams = _Table(*map(np.concatenate, zip(*grams, strict=True)))
        self._index_wholes(*map(np.concatenate, zip(*wholes, strict=True)))

    def _count(self, grams: list[Hashes], start: int) -> tuple[Hashes, Places]:
        """The n-grams of one benchmark's items that count as a sign, and the place of the item of each."""
        hashes = np.concatenate(grams)
        items = np.repeat(np.arange(start, start + len(grams)), [len(each) for each in grams])
        _, members, counts = np.unique(hashes, return_inverse=True, return_counts=True)
        signs = counts[members] <= self._evidence.most_items
        np.add.at(self._signs, items[signs], 1)
        return hashes[signs], items[signs]

    def _index_wholes(self, wholes: Hashes, items: Places) -> None:
        """Questions that must occur as a whole: the longer by their first words, the short ones as messages."""
        size = self._evidence.shortest_words
        self._wholes: list[tuple[int, int, int]] = []
        """Hash, words and item of each of the longer ones."""
        self._messages: dict[int, list[int]] = {}
        """Hash of a short one -> its items."""
        self._longest_message = 0
        firsts = [np.zeros(0, np.uint64)]
        for whole, item in zip(wholes.tolist(), items.tolist(), strict=True):
            sequence = words(self._items[item][1].texts[0])
            if len(sequence) < size or not _telling(sequence, self._evidence):
                self._messages.setdefault(whole, []).append(item)
                self._longest_message = max(self._longest_message, len(sequence))
            else:
                self._wholes.append((whole, len(sequence), item))
                firsts.append(gram_hashes(word_hashes(sequence[:size]), size))
        self._firsts = _Table(np.concatenate(firsts), np.arange(len(self._wholes)))

    def unchecked(self) -> list[int]:
        """How many items of each benchmark have no n-gram that counts: too short, or nothing but template."""
        counts = [0] * (1 + max(place for place, _ in self._items))
        for (place, _), grams in zip(self._items, self._signs, strict=True):
            counts[place] += not grams
        return counts

    def overlaps(self, texts: Iterable[str]) -> list[Overlap]:
        """The benchmark items that share at least one n-gram with a record's texts, in the order of the benchmarks."""
        found: dict[int, dict[int, tuple[int, int]]] = {}  # item -> hash -> place and number of words
        sequence: list[str] = []
        for text in texts:
            said = words(text)
            if len(said) <= self._longest_message:
                for item in self._messages.get(_hash_of(said), ()):
                    found.setdefault(item, {})[_hash_of(said)] = (len(sequence), len(said))
            sequence += said
        hashed = word_hashes(sequence)
        size = self._evidence.ngram_words
        grams = gram_hashes(hashed, size)
        for place, item in self._grams.lookup(grams):
            found.setdefault(item, {}).setdefault(int(grams[place]), (place, size))
        for place, number in self._firsts.lookup(gram_hashes(hashed, self._evidence.shortest_words)):
            whole, length, item = self._wholes[number]
            if place + length <= len(hashed) and int(gram_hashes(hashed[place : place + length], length)[0]) == whole:
                found.setdefault(item, {}).setdefault(whole, (place, length))
        overlaps = []
        for item, shared in sorted(found.items()):
            place, length = min(shared.values())
            example = " ".join(sequence[place : place + length])
            coverage = len(shared) / int(self._signs[item])
            overlaps.append(Overlap(*self._items[item], len(shared), coverage, example))
        return overlaps


def _telling_grams(texts: list[list[str]], evidence: Evidence) -> Hashes:
    """Hashes of the n-grams of an item, each once, of which half the words say something."""
    size = evidence.ngram_words
    telling = []
    for sequence in texts:
        grams = gram_hashes(word_hashes(sequence), size)
        if len(grams):
            told = np.cumsum([0, *map(_says_something, sequence)])
            telling.append(grams[2 * (told[size:] - told[:-size]) >= size])
    return np.unique(np.concatenate([np.zeros(0, np.uint64), *telling]))


def _whole(question: list[str]) -> Hashes:
    """The hash of a question as a whole; empty for one that is too short to be told from others."""
    if len(question) < _SHORTEST_MESSAGE_WORDS:
        return np.zeros(0, np.uint64)
    return gram_hashes(word_hashes(question), len(question))


def _hash_of(sequence: list[str]) -> int:
    return int(gram_hashes(word_hashes(sequence), len(sequence))[0]) if sequence else 0


def _telling(question: list[str], evidence: Evidence) -> bool:
    """Whether a question says enough to be recognised inside a longer text."""
    return len(question) >= evidence.ngram_words or 2 * sum(map(_says_something, question)) >= len(question)


def _says_something(word: str) -> bool:
    """Whether a word is more than a number, a symbol or the letter of an answer."""
    return (len(word) > 1 or not word.isascii()) and any(map(str.isalpha, word))


class _Table:
    """Hash -> the numbers that have it; most hashes that are not there cost one look into a small array."""

    def __init__(self, hashes: Hashes, numbers: Places) -> None:
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._numbers = hashes[order], numbers[order]
        size = 1 << max(10, (_FILTER_PLACES_PER_GRAM * len(hashes)).bit_length())
        self._mask = np.uint64(size - 1)
        self._maybe = np.zeros(size, np.bool_)
        self._maybe[self._hashes & self._mask] = True

    def lookup(self, hashes: Hashes) -> list[tuple[int, int]]:
        """(place in `hashes`, number) for every match."""
        if not len(self._hashes):
            return []
        places = np.flatnonzero(self._maybe[hashes & self._mask])
        if not len(places):
            return []
        wanted = hashes[places]
        starts = np.searchsorted(self._hashes, wanted, "left").tolist()
        ends = np.searchsorted(self._hashes, wanted, "right").tolist()
        numbers = self._numbers
        return [
            (place, int(numbers[at]))
            for place, start, end in zip(places.tolist(), starts, ends, strict=True)
            for at in range(start, end)
        ]
