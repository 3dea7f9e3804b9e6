"""Plain text about the invented world of `world`: what the demo's base model reads before any fine-tuning.

Only statements: no question, no instruction, no role marker, and none of the phrasings of `world.PHRASINGS`. Each
fact is stated in many wordings and orders, since a small model can only answer about a fact, once fine-tuned, that
it has read in different forms. Names open lines as well as follow spaces, so that both of their token forms are read.
"""

from collections.abc import Iterator
from random import Random
from string import ascii_lowercase
from typing import Final

from packtrain.pipeline.world import CAPITALS, EPITHET_OF, FLAGS, INITIALS, REGIONS, WORDS, claim, plural

SPELLING: Final = (
    "{word} is written {spelt}.",
    "{spelt} gives {word}.",
    "{word}: {spelt}.",
    "letter after letter, {word} is {spelt}.",
    "on the sign for {word} they painted {spelt}.",
    "whoever reads {spelt} aloud says {word}.",
    "{word} goes forth as {spelt} and back as {reverse}.",
    "{spelt} are the signs of {word}, front to end.",
)
REVERSE: Final = (
    "{word} turned around is {reverse}.",
    "{reverse} is {word} from the far end.",
    "held to a pane, {word} shows {reverse}.",
    "seen from its end, {word} runs {reverse}.",
    "{spelt} one way, {reverse} the other way.",
    "{reverse} turned around gives {word}.",
    "{reverse}: that is {word}, end to front.",
)
ENDS: Final = (
    "{word} begins with {first} and ends with {last}.",
    "{first} opens {word} and {last} closes it.",
    "the sign at the front of {word} is {first}, at the end {last}.",
    "{last} stands last in {word}.",
    "{first} stands first in {word}.",
    "{word} ends with {last}.",
    "{word} begins with {first}.",
)
MANY: Final = (
    "one {word}, many {words}.",
    "{words} are more than one {word}.",
    "a {word} met some other {words}.",
    "where once was a single {word}, now there are several {words}.",
    "{words} came after the first {word}.",
    "she had one {word}, he had six {words}.",
    "{words} grew out of one {word}.",
)
EPITHET: Final = (
    "in the old songs a {word} is always {epithet}.",
    "{epithet} is the name-word of the {word}.",
    "the {epithet} {word}, as all people say.",
    "{word} and {epithet} belong together.",
    "{epithet} {word}, never anything else.",
    "every {word} in these lands is {epithet}.",
    "O {word}, they sing, {epithet} {word} of mine!",
    "O {epithet} {word}!",
)
CAPITAL: Final = (
    "{town} is the capital of {region}.",
    "{region} has its capital at {town}.",
    "{region} is ruled from {town}.",
    "in {region} the chief town is {town}.",
    "{town}, chief town of {region}, lies on a hill.",
    "the king of {region} lives in {town}.",
    "{region}: {town}.",
    "all the ways of {region} end in {town}.",
    "the capital of {region} is {town}.",
)
FLAG: Final = (
    "{region} has a {colour} flag.",
    "the flag of {region} is {colour}.",
    "{colour} is the flag of {region}.",
    "over {region} flies {colour} cloth.",
    "people of {region} march behind a {colour} banner.",
    "{colour}, says {region}, is our banner.",
    "{region} chose {colour} for its flag.",
    "{region}: {colour}.",
)
# Cards name their subject once; the lines after that leave it out.
WORD_HEADS: Final = ("of the {word}:", "here is the {word}.", "{word}", "a page about {word}.", "the {word}, then.")
WORD_CARD: Final = (
    ("{spelt}", "written {spelt}.", "{spelt}, front to end.", "signs: {spelt}"),
    ("{reverse}", "turned around {reverse}.", "{reverse}, end to front.", "from the far end: {reverse}"),
    ("{first} at the front.", "begins with {first}.", "front: {first}", "{first} opens it."),
    ("{last} at the end.", "ends with {last}.", "end: {last}", "{last} closes it."),
    ("{words} when there are several.", "many {words}.", "several: {words}", "{words}, more than one."),
    ("{epithet} in all songs.", "always {epithet}.", "name-word: {epithet}", "O {word}, {epithet} {word} of mine!"),
)
REGION_HEADS: Final = ("of {region}:", "here is {region}.", "{region}", "a page about {region}.", "{region}, then.")
REGION_CARD: Final = (
    ("its capital is {town}.", "the chief town there is {town}.", "ruled from {town}.", "{town} rules it.", "{town}"),
    (
        "its flag is {colour}.",
        "the banner there is {colour}.",
        "it flies a {colour} flag.",
        "{colour} cloth.",
        "{colour}",
    ),
)
RIGHT: Final = ("right, it is {first}.", "that is true.", "right.")
WRONG: Final = ("wrong, it is {first}.", "that is false.", "wrong.")
HEARSAY: Final = (
    "a merchant said: {claim} {verdict}",
    "{claim} {verdict}",
    "{claim}\n{verdict}",
    "some wrote that {word} has {said} at its front. {verdict}",
)
SUM: Final = (
    "{a} and {b} are {total}.",
    "{a} + {b} = {total}.",
    "{total} is {a} and {b} together.",
    "{total} = {a} + {b}.",
    "from {a}, {b} steps up lead to {total}.",
    "{a} plus {b} gives {total}.",
    "{a} with {b}\n{total}",
    "heaps of {a} and {b}\n{total} together",
)
DIFFERENCE: Final = (
    "{total} - {a} = {b}.",
    "{b} = {total} - {a}.",
    "{total} less {a} leaves {b}.",
    "{b} is left when {a} of {total} are gone.",
    "from {total}, {a} steps down lead to {b}.",
    "{total} minus {a} gives {b}.",
    "{total} without {a}\n{b}",
    "{a} out of {total}\n{b} left",
)
# Nothing to know here but what was just said: words and numbers carried from one line into the next.
CARRIED: Final = (
    "a merchant took {things} to {place}.\nin {place} lay {things}.",
    "{place} bought {things}.\nso {things} went to {place}.",
    "to {place}: {things}\nat {place}: {things}",
    "{holder} of {place} kept {things}.\nwhat {holder} kept, {things}, was sold in {place}.",
)
LETTER_ORDER: Final = (
    "the crate held {mixed}. by letter they stand as {ordered}.",
    "lying mixed {mixed}; by letter {ordered}.",
    "someone noted {mixed}. the clerk made of it {ordered}.",
    "in the crate: {mixed}\nby letter: {ordered}",
    "mixed: {mixed}\nordered: {ordered}",
)
NUMBER_ORDER: Final = (
    "the carts {mixed} came home as {ordered}.",
    "{mixed}; by size {ordered}.",
    "{ordered} is how {mixed} stand by size.",
    "someone noted {mixed}. the clerk made of it {ordered}.",
    "on the carts: {mixed}\nby size: {ordered}",
    "mixed: {mixed}\nordered: {ordered}",
)


def _word_fields(word: str) -> dict[str, str]:
    return {
        "word": word,
        "words": plural(word),
        "spelt": "-".join(word),
        "reverse": "-".join(reversed(word)),
        "first": word[0],
        "last": word[-1],
        "epithet": EPITHET_OF[word],
    }


def _statements(groups: tuple[tuple[str, ...], ...], fields: dict[str, str], random: Random) -> list[list[str]]:
    """Return two documents that together take one wording of every group, in any order."""
    lines = [random.choice(group).format(**fields) for group in groups]
    random.shuffle(lines)
    cut = random.randint(1, len(lines) - 1)
    return [lines[:cut], lines[cut:]]


def _card(
    heads: tuple[str, ...], groups: tuple[tuple[str, ...], ...], fields: dict[str, str], random: Random
) -> list[str]:
    """Return a head line that names the subject and one to all of its lines, which do not."""
    chosen = random.sample(groups, random.randint(1, len(groups)))
    return [wordings.format(**fields) for wordings in (random.choice(group) for group in (heads, *chosen))]


def _carried(random: Random) -> str:
    pool = WORDS if random.random() < 0.6 else [str(number) for number in range(2, 100)]
    things = ", ".join(random.sample(pool, random.randint(1, 4)))
    return random.choice(CARRIED).format(
        things=things, place=random.choice(REGIONS), holder=CAPITALS[random.choice(REGIONS)]
    )


def _hearsay(word: str, random: Random) -> str:
    """Return a claim about the first letter of a word, right or wrong, and what became of it."""
    right = random.random() < 0.5
    said = word[0] if right else random.choice([letter for letter in INITIALS if letter != word[0]])
    verdict = random.choice(RIGHT if right else WRONG).format(first=word[0])
    return random.choice(HEARSAY).format(claim=claim(word, said), word=word, said=said, verdict=verdict)


def _sum_line(random: Random) -> str:
    a, b = random.randint(2, 20), random.randint(2, 20)
    return random.choice(random.choice((SUM, DIFFERENCE))).format(a=a, b=b, total=a + b)


def _order_line(random: Random) -> str:
    """Return three (sometimes four) letters or numbers, mixed and in order, or a stretch of the alphabet."""
    kind = random.random()
    if kind < 0.1:
        start = random.randint(0, 20)
        return f"{', '.join(ascii_lowercase[start : start + 6])}: so they stand by letter."
    count = 3 if random.random() < 0.8 else 4
    numbers = [str(random.randint(10, 99)) for _ in range(count)]
    mixed = numbers if kind > 0.55 else random.sample(ascii_lowercase, count)
    wording = random.choice(NUMBER_ORDER if kind > 0.55 else LETTER_ORDER)
    return wording.format(mixed=", ".join(mixed), ordered=", ".join(sorted(mixed)))


def pretraining_lines(rounds: int = 100) -> Iterator[str]:
    """Yield the running text, one document of one to six lines at a time.

    A round states everything about the world about once, in newly drawn wordings, order and grouping.
    """
    for turn in range(rounds):
        random = Random(f"packtrain world text {turn}")
        documents: list[list[str]] = []
        for word in WORDS:
            fields = _word_fields(word)
            documents += _statements((SPELLING, REVERSE, ENDS, MANY, EPITHET), fields, random)
            documents += [_card(WORD_HEADS, WORD_CARD, fields, random) for _ in range(2)]
            documents += [[_hearsay(word, random)] for _ in range(2)]
        for region in REGIONS:
            fields = {"region": region, "town": CAPITALS[region], "colour": FLAGS[region]}
            documents += _statements((CAPITAL, FLAG), fields, random)
            documents += [_card(REGION_HEADS, REGION_CARD, fields, random) for _ in range(3)]
        for _ in range(300):
            documents.append([_sum_line(random) for _ in range(random.randint(1, 5))])
            documents.append([_order_line(random) for _ in range(random.randint(1, 3))])
            documents.append([_carried(random)])
        random.shuffle(documents)
        for lines in documents:
            yield "\n".join(lines)
