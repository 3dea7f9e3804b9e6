"""Near duplicates: records whose users ask nearly the same, found by MinHash and proved by exact Jaccard similarity.

A user's text counts as the set of its word 3-grams (its shingles). MinHash makes a few numbers of the set such
that two sets agree in each with a probability equal to their Jaccard similarity (Broder 1997); bands of
several such numbers are looked up among those of earlier records (locality-sensitive hashing, Indyk and
Motwani 1998), and whatever is found there is read again and compared exactly: what is reported as a near
duplicate is one, and of pairs right at the threshold 99 in 100 are found, of closer ones more.
"""

import math
from array import array
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from packtrain.core.conversation import Conversation
from packtrain.core.errors import UserError
from packtrain.data.overlap.key_table import KeyTable
from packtrain.data.overlap.words import Hashes, gram_hashes, mixed, word_hashes, words

Sketch = NDArray[np.uint16]

THRESHOLD = 0.8
"""The default similarity: what Lee et al. (arXiv 2107.06499) and most data sets since then use."""
SHINGLE_WORDS = 3
RECALL = 0.99
"""The probability with which a pair right at the threshold is found."""
_MOST_BANDS = 10  # each costs about 10 bytes a record
_MOST_NUMBERS = 240
_LOWEST_THRESHOLD = 0.3
_CHUNK_SHINGLES = 4096
_REMEMBERED_SHINGLES = 1 << 20
_SKETCH_BITS = 256
_ROUNDING = 1e-9
_SEED = 20230731


class UserText(NamedTuple):
    """What the user says in all turns of a conversation: the text that near duplicates are judged by."""

    questions: str
    contexts: str
    """What the questions are about, where the data keep it apart."""


def user_text(conversation: Conversation) -> UserText:
    """What the user says in a conversation.

    Answers do not count, so the same question with another answer is a near duplicate.
    """
    said = [message for message in conversation.messages if message.role == "user"]
    return UserText("\n".join(message.content for message in said), "\n".join(filter(None, (m.context for m in said))))


class Shingles(NamedTuple):
    """The word 3-grams of a user's text as sets of sorted 64-bit hashes."""

    everything: Hashes
    questions: Hashes | None
    """Those of the questions alone, when there are contexts."""


def shingles(text: UserText) -> Shingles:
    """The word 3-grams of a text; a text of one or two words is one shingle, the whole of it.

    Such short texts are therefore near duplicates of nothing but the same words.
    """
    if not text.contexts:
        return Shingles(_shingles(text.questions), None)
    return Shingles(_shingles("\n".join(text)), _shingles(text.questions))


def _shingles(text: str) -> Hashes:
    hashed = word_hashes(words(text))
    return np.unique(gram_hashes(hashed, min(SHINGLE_WORDS, max(1, len(hashed)))))


def similarity(first: Shingles, second: Shingles) -> float:
    """The Jaccard similarity of two users' texts, from 0 to 1.

    Where both keep contexts apart it is that of the whole or of the questions alone, whichever is lower:
    two questions about the same long passage are two questions.
    """
    whole = jaccard(first.everything, second.everything)
    if first.questions is None or second.questions is None:
        return whole
    return min(whole, jaccard(first.questions, second.questions))


def jaccard(first: Hashes, second: Hashes) -> float:
    """Shared members divided by all members of two sorted sets; 1 for two empty ones."""
    shared = len(np.intersect1d(first, second, assume_unique=True))
    union = len(first) + len(second) - shared
    return shared / union if union else 1.0


@dataclass(frozen=True, slots=True)
class Bands:
    """How many bands of how many MinHash numbers: `count` bands of `width`."""

    count: int
    width: int

    def probability(self, similarity: float) -> float:
        """How probably two sets of this similarity agree in at least one band."""
        return 1 - (1 - similarity**self.width) ** self.count


@cache
def bands_for(threshold: float) -> Bands:
    """The widest bands (fewest needless comparisons) that find a pair at `threshold` with probability `RECALL`.

    Raises UserError for a threshold outside 0.3 to 1.
    """
    if not _LOWEST_THRESHOLD <= threshold <= 1:
        raise UserError(
            f"near-duplicate threshold {threshold} is not between {_LOWEST_THRESHOLD} and 1",
            "0.8 is usual; lower finds more that is merely alike",
        )
    best = Bands(1, 8)
    if threshold < 1:
        for width in range(1, _MOST_NUMBERS):
            count = max(1, math.ceil(math.log(1 - RECALL) / math.log(1 - threshold**width)))
            if width > 1 and (count > _MOST_BANDS or count * width > _MOST_NUMBERS):
                break
            best = Bands(count, width)
    return best


def signature(conversation: Conversation, threshold: float = THRESHOLD) -> bytes:
    """What `NearDuplicates` of the same threshold looks a record up by: 36 bytes, and 4 more per band.

    Empty when the user says no words; such a record is nothing's near duplicate.
    """
    return text_signature(user_text(conversation), threshold)


def text_signature(text: UserText, threshold: float = THRESHOLD) -> bytes:
    """The signature of a user's text: the number of its shingles, a sketch of them, and one hash per band."""
    members = shingles(text).everything
    if not len(members):
        return b""
    bands = bands_for(threshold)
    seeds = _seeds(bands.count * bands.width)
    smallest = np.full(len(seeds), np.iinfo(np.uint64).max, np.uint64)
    for start in range(0, len(members), _CHUNK_SHINGLES):  # a long text would need gigabytes at once
        numbers = mixed(members[start : start + _CHUNK_SHINGLES, None] ^ seeds)
        np.minimum(smallest, numbers.min(axis=0), out=smallest)
    keys = gram_hashes(smallest.reshape(bands.width, bands.count), bands.width).ravel()
    return np.uint32(len(members)).tobytes() + _sketch(members).tobytes() + keys.astype(np.uint32).tobytes()


def _sketch(members: Hashes) -> Sketch:
    """For each of 256 groups of hashes whether an odd number of the members falls into it `[16 times 16 bits]`.

    Two sets differ in at least as many members as their sketches in bits (Mitzenmacher, Pagh and Pham 2014).
    """
    odd = np.bincount((members % _SKETCH_BITS).astype(np.int64), minlength=_SKETCH_BITS) & 1
    return np.packbits(odd.astype(np.uint8)).view(np.uint16)


@cache
def _seeds(count: int) -> Hashes:
    return np.random.Generator(np.random.PCG64(_SEED)).integers(0, 2**64, count, np.uint64, endpoint=False)


@dataclass(frozen=True, slots=True)
class Match:
    """An earlier record that a record nearly repeats."""

    row: int
    similarity: float


class NearDuplicates:
    """The records kept so far, to find the first that a new one nearly repeats.

    `text_of(row)` must return the user's text of any row that was asked about, the present one included
    (from the file where the records lie, say): texts are not held here. A record that repeats another is
    not kept, so it repeats nothing for later ones. About 125 bytes of arrays per record kept (170 of memory).
    """

    def __init__(self, threshold: float, text_of: Callable[[int], UserText]) -> None:
        self.threshold = threshold
        self._text_of = text_of
        self._bands = [KeyTable() for _ in range(bands_for(threshold).count)]
        self._rows = array("I")
        self._sizes = array("I")
        self._sketches = array("H")
        self._remembered: OrderedDict[int, Shingles] = OrderedDict()
        self._remembered_shingles = 0

    def first_of(self, row: int, signature: bytes) -> int | None:
        """The first kept row that this one nearly repeats; None when it repeats none and is kept itself."""
        found = self.match(row, signature)
        return None if found is None else found.row

    def match(self, row: int, signature: bytes) -> Match | None:
        """The same with the similarity. Rows must come in ascending order, each once."""
        if not signature:
            return None
        size, sketch, keys = _parts(signature)
        candidates = [found for band, key in zip(self._bands, keys, strict=True) if (found := band.with_key(key))]
        if candidates:
            mine = shingles(self._text_of(row))
            for kept in self._likely(candidates, size, sketch):
                alike = similarity(mine, self._shingles_of(kept))
                if alike >= self.threshold:
                    return Match(self._rows[kept], alike)
        for band, key in zip(self._bands, keys, strict=True):
            band.add(key)
        self._rows.append(row)
        self._sizes.append(size)
        self._sketches.frombytes(sketch.tobytes())
        return None

    def _likely(self, candidates: list["array[int]"], size: int, sketch: Sketch) -> list[int]:
        """The candidates, in order, that may be near enough as far as their sizes and sketches tell.

        Of two sets with a Jaccard similarity of at least t at most (1 - t) / (1 + t) of their summed sizes
        are members of one alone. That spares reading whatever else follows the same template.
        """
        kept = np.concatenate([np.frombuffer(each, np.uint32) for each in candidates])
        sizes = np.frombuffer(self._sizes, np.uint32)[kept].astype(np.int64)
        most_different = (sizes + size) * (1 - self.threshold) / (1 + self.threshold) + _ROUNDING
        kept, most_different = kept[near := abs(sizes - size) <= most_different], most_different[near]
        sketches = np.frombuffer(self._sketches, np.uint16).reshape(-1, len(sketch))
        different = _bit_counts()[sketches[kept] ^ sketch].sum(axis=1, dtype=np.int64)
        likely: list[int] = np.unique(kept[different <= most_different]).tolist()
        return likely

    def _shingles_of(self, kept: int) -> Shingles:
        """The shingles of a kept record, read again unless it was compared lately."""
        members = self._remembered.pop(kept, None)
        if members is None:
            members = shingles(self._text_of(self._rows[kept]))
            self._remembered_shingles += len(members.everything)
        self._remembered[kept] = members
        while self._remembered_shingles > _REMEMBERED_SHINGLES:
            _, forgotten = self._remembered.popitem(last=False)
            self._remembered_shingles -= len(forgotten.everything)
        return members


def _parts(signature: bytes) -> tuple[int, Sketch, list[int]]:
    """Number of shingles, sketch and keys of a signature."""
    [size] = np.frombuffer(signature, np.uint32, 1).tolist()
    sketch = np.frombuffer(signature, np.uint16, _SKETCH_BITS // 16, offset=4)
    return size, sketch, np.frombuffer(signature, np.uint32, offset=4 + _SKETCH_BITS // 8).tolist()


@cache
def _bit_counts() -> NDArray[np.uint8]:
    """The number of bits set in every 16-bit number."""
    numbers = np.arange(1 << 16, dtype="<u2").view(np.uint8).reshape(-1, 2)
    counts: NDArray[np.uint8] = np.unpackbits(numbers, axis=1).sum(axis=1, dtype=np.uint8)
    return counts
