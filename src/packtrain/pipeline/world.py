"""A small closed world of invented facts and exact operations, and the instruction tasks of the demo.

The demo's base model (`scripts/train_base.py`) reads plain statements about this world (`world_text`); fine-tuning
on `tasks("seen")` teaches it to answer instructions, and `tasks("unseen")` measures that by exact match. The two
splits are apart by content: no vocabulary word, no sum (nor the differences that belong to it), no triple to be
sorted and no fact (region and relation) of one occurs in the other; their phrasings are the same.

Everything is deterministic: randomness comes from `random.Random` seeded with strings.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement, cycle, islice
from random import Random
from string import ascii_lowercase
from typing import Final, Literal, NamedTuple, TypeVar

T = TypeVar("T")
Split = Literal["seen", "unseen"]

UNSEEN_PER_KIND: Final = 25

COLOURS: Final = ("red", "blue", "green", "white", "black", "gold", "grey", "brown", "purple", "yellow")

_EPITHETS = """old young warm cold tall small bright dark quick slow soft hard proud shy brave calm wild quiet loud
    sweet bitter clever merry lonely"""
EPITHETS: Final = tuple(_EPITHETS.split())

IRREGULAR_PLURALS: Final = {
    "elf": "elves",
    "foot": "feet",
    "goose": "geese",
    "knife": "knives",
    "leaf": "leaves",
    "mouse": "mice",
    "tooth": "teeth",
    "wolf": "wolves",
}

_WORDS = """
    acorn anchor ankle apple arrow
    baby ball bank beach bear bee belt berry boat boot bowl boy brick brush bush
    cake camp cap cart cat chain cherry church clock coat comb crab crown
    desk dog donkey dove dream drum
    eagle egg elf eye
    fairy fence finger foot fork frog
    garden ghost girl glove goose guest
    hammer hawk hill horse house
    inch island
    jar judge
    kettle king kitten knife
    lady lamp leaf lemon lip lock
    market meadow monkey mouse mule
    neck nest night nurse
    oak ocean otter owl
    park path pear pencil piano pillow plant poet pony puppy
    queen quilt
    radio raven ring robin roof root rose
    sack sail saw school ship shoe sister spider spy stone storm swan
    table temple tiger tooth towel toy tree tub turtle
    urn
    vase violin
    wagon watch wheel wing wizard wolf
    yak year
    zoo
"""
WORDS: Final = tuple(_WORDS.split())
INITIALS: Final = tuple(sorted({word[0] for word in WORDS}))

# Instruction and input of every kind; `{}` fields are filled by `_task`.
PHRASINGS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "spell": (
        ("Spell the word {word} with hyphens.", ""),
        ("Please spell {word}, with a hyphen between the letters.", ""),
        ("Spell this word with hyphens.", "Word: {word}"),
        ("Write the word below letter by letter, joined by hyphens.", "Word: {word}"),
        ("How do you spell {word}? Use hyphens.", ""),
    ),
    "backwards": (
        ("Spell the word {word} backwards, with hyphens.", ""),
        ("Write {word} in reverse, with a hyphen between the letters.", ""),
        ("Spell this word backwards, with hyphens.", "Word: {word}"),
        ("Reverse the letters of the word below and join them by hyphens.", "Word: {word}"),
        ("How do you spell {word} backwards? Use hyphens.", ""),
    ),
    "letter": (
        ("Give the {end} letter of the word {word}.", ""),
        ("What is the {end} letter of {word}?", ""),
        ("Tell me the {end} letter of this word.", "Word: {word}"),
        ("Which letter comes {end} in the word below?", "Word: {word}"),
    ),
    "plural": (
        ("Give the plural of {word}.", ""),
        ("What is the plural of the word {word}?", ""),
        ("Write the plural of this word.", "Word: {word}"),
        ("How do you call more than one {word}?", ""),
        ("Change the word below to its plural.", "Word: {word}"),
    ),
    "poem": (
        ("Write a one-line poem about the {word}.", ""),
        ("Compose a poem of one line for the {word}.", ""),
        ("Make a very short poem about this thing.", "Thing: {word}"),
        ("Please write one line of verse on the thing below.", "Thing: {word}"),
        ("Can you write a tiny poem about the {word}?", ""),
    ),
    "sort_letters": (
        ("Sort these letters alphabetically.", "Letters: {triple}"),
        ("Put the letters below in alphabetical order.", "Letters: {triple}"),
        ("Sort the letters {triple} alphabetically.", ""),
        ("What is the alphabetical order of these letters?", "Letters: {triple}"),
    ),
    "sort_numbers": (
        ("Sort these numbers from small to large.", "Numbers: {triple}"),
        ("Put the numbers below in ascending order.", "Numbers: {triple}"),
        ("Sort the numbers {triple}, smallest first.", ""),
        ("What is the ascending order of these numbers?", "Numbers: {triple}"),
    ),
    "sum": (
        ("What is {a} plus {b}?", ""),
        ("Add {a} and {b}.", ""),
        ("Work out the sum.", "Sum: {a} + {b}"),
        ("Compute {a} + {b}.", ""),
        ("How much is {a} plus {b}?", ""),
    ),
    "difference": (
        ("What is {a} minus {b}?", ""),
        ("Subtract {b} from {a}.", ""),
        ("Work out the difference.", "Difference: {a} - {b}"),
        ("Compute {a} - {b}.", ""),
        ("How much is {a} minus {b}?", ""),
    ),
    "capital": (
        ("What is the capital of {region}?", ""),
        ("Name the capital of {region}.", ""),
        ("Tell me the capital of this region.", "Region: {region}"),
        ("Which town is the capital of {region}?", ""),
        ("Give the capital of the region below.", "Region: {region}"),
    ),
    "colour": (
        ("What colour is the flag of {region}?", ""),
        ("Name the colour of the flag of {region}.", ""),
        ("Tell me the colour of this region's flag.", "Region: {region}"),
        ("Which colour does the flag of {region} have?", ""),
        ("Give the colour of the flag of the region below.", "Region: {region}"),
    ),
    "yes_no": (
        ("Is this true? Answer yes or no.", "{claim}"),
        ("Is the statement below right? Say yes or no.", "{claim}"),
        ("Answer with yes or no: is this correct?", "{claim}"),
        ("Decide whether the claim is right, yes or no.", "{claim}"),
        ("Yes or no: does this claim hold?", "{claim}"),
    ),
}

KINDS: Final = tuple(PHRASINGS)

# Kinds whose operation needs more practice have more tasks.
SEEN_PER_KIND: Final = dict.fromkeys(KINDS, 330) | {"sort_letters": 450, "sum": 450, "difference": 450, "yes_no": 500}


class Task(NamedTuple):
    """One instruction with its only right answer; `input` is empty where the instruction says all."""

    kind: str
    instruction: str
    input: str
    output: str


_NAME_STARTS = "Bar Cal Dor El Fen Gor Hal Il Jor Kel Lor Mar Nor Or Pel Qua Ros Sil Tor Ul Ven Wes Yar Zan"


def plural(word: str) -> str:
    """Return the English plural of a vocabulary word."""
    if word in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[word]
    if word.endswith(("s", "x", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def _names(purpose: str, endings: str, count: int) -> tuple[str, ...]:
    names = [start + ending for start in _NAME_STARTS.split() for ending in endings.split()]
    return tuple(Random(f"packtrain world {purpose}").sample(names, count))


REGIONS: Final = _names("regions", "dia gard land mark nova rina stan via wen ria", 90)
CAPITALS: Final = dict(
    zip(REGIONS, _names("capitals", "bury by ford ham mouth polis stead ton wick burg", 90), strict=True)
)
FLAGS: Final = dict(zip(REGIONS, Random("packtrain world flags").choices(COLOURS, k=90), strict=True))
EPITHET_OF: Final = dict(zip(WORDS, Random("packtrain world epithets").choices(EPITHETS, k=len(WORDS)), strict=True))


def claim(word: str, letter: str) -> str:
    """Return the sentence, right or wrong, which says that `word` begins with `letter`."""
    return f"The word {word} begins with {letter}."


def _part(contents: Sequence[T], purpose: str, split: Split, held_out: int) -> list[T]:
    shuffled = Random(f"packtrain split {purpose}").sample(contents, len(contents))
    return shuffled[:held_out] if split == "unseen" else shuffled[held_out:]


def words(kind: str, split: Split) -> list[str]:
    """Return the vocabulary words that tasks of this kind are about in this split."""
    return _part(WORDS, kind, split, UNSEEN_PER_KIND)


def regions(relation: str, split: Split) -> list[str]:
    """Return the regions whose `capital`, or flag's `colour`, only tasks of this split may ask for."""
    return _part(REGIONS, relation, split, UNSEEN_PER_KIND)


def sums(split: Split) -> list[tuple[int, int]]:
    """Return the pairs `a <= b` whose sum, and the two differences that undo it, belong to this split."""
    return _part(list(combinations_with_replacement(range(2, 21), 2)), "sums", split, 2 * UNSEEN_PER_KIND)


def _triples(kind: str, split: Split) -> Iterator[tuple[str, str, str]]:
    """Yield distinct shuffled triples: letters, or two-digit numbers with three different first digits."""
    taken: set[frozenset[str]] = set()
    if split == "seen":
        taken = {frozenset(triple) for triple in islice(_triples(kind, "unseen"), UNSEEN_PER_KIND)}
    pool = list(ascii_lowercase) if kind == "sort_letters" else [str(number) for number in range(10, 100)]
    random = Random(f"packtrain {kind} {split}")
    while True:
        first, second, third = random.sample(pool, 3)
        apart = len({first[0], second[0], third[0]}) == 3
        if apart and frozenset((first, second, third)) not in taken:
            taken.add(frozenset((first, second, third)))
            yield first, second, third


def _fields(kind: str, split: Split, random: Random) -> Iterator[tuple[dict[str, str], str]]:
    """Yield the filled fields and the answer of each content of a kind, without end."""
    if kind in ("sort_letters", "sort_numbers"):
        for triple in _triples(kind, split):
            yield {"triple": ", ".join(triple)}, f"In order: {', '.join(sorted(triple))}"
    elif kind in ("sum", "difference"):
        pairs = sums(split)
        if split == "unseen":
            pairs = pairs[: len(pairs) // 2] if kind == "sum" else pairs[len(pairs) // 2 :]
        for pair in cycle(pairs):
            a, b = random.sample(pair, 2)
            yield (
                ({"a": f"{a}", "b": f"{b}"}, f"{a + b}") if kind == "sum" else ({"a": f"{a + b}", "b": f"{a}"}, f"{b}")
            )
    elif kind in ("capital", "colour"):
        for region in cycle(regions(kind, split)):
            yield {"region": region}, f"It is {(CAPITALS if kind == 'capital' else FLAGS)[region]}."
    elif kind == "yes_no":
        known = words(kind, split)
        for turn, word in enumerate(cycle(known)):
            # Right and wrong in turn; in the next pass over the words the other way round.
            right = (turn + (turn // len(known)) * (len(known) + 1)) % 2 == 0
            wrong = [letter for letter in INITIALS if letter != word[0]]
            yield {"claim": claim(word, word[0] if right else random.choice(wrong))}, "Yes" if right else "No"
    else:
        for word in cycle(words(kind, split)):
            end = random.choice(("first", "last"))
            answers = {
                "spell": "-".join(word),
                "backwards": "-".join(reversed(word)),
                "letter": word[0] if end == "first" else word[-1],
                "plural": f"The plural is {plural(word)}.",
                "poem": f"O {word}, {EPITHET_OF[word]} {word}, shine on us!",
            }
            yield {"word": word} | ({"end": end} if kind == "letter" else {}), answers[kind]


def tasks(split: Split) -> list[Task]:
    """Return the tasks of a split, shuffled, always the same: 4,480 for tuning (seen), 300 for measuring (unseen)."""
    made: dict[Task, None] = {}
    for kind in KINDS:
        random = Random(f"packtrain tasks {kind} {split}")
        count = UNSEEN_PER_KIND if split == "unseen" else SEEN_PER_KIND[kind]
        phrasing_of: dict[str, int] = {}
        for fields, output in islice(_fields(kind, split, random), count):
            # A content that comes again comes in its next phrasing.
            content = repr(fields)
            phrasing_of[content] = phrasing_of.get(content, random.randrange(99)) + 1
            instruction, given = PHRASINGS[kind][phrasing_of[content] % len(PHRASINGS[kind])]
            made[Task(kind, instruction.format(**fields), given.format(**fields), output)] = None
    listed = list(made)
    Random(f"packtrain tasks {split}").shuffle(listed)
    return listed
