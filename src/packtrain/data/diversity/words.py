"""What the shallow parser knows of English words: their classes, and the base forms of verbs and nouns.

The words themselves are listed in the files of `lexicon/`.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

_ADJECTIVE_ENDINGS = ("ful", "less", "ous", "able", "ible", "ive", "ical", "ic", "al")
_NOT_PLURAL = (
    "ss",
    "us",
    "is",
    "news",
    "series",
    "species",
    "means",
    "physics",
    "mathematics",
    "economics",
    "politics",
)
_VOWELS = "aeiou"


def _lines(name: str) -> list[list[str]]:
    """Words of each line of a lexicon file that is no comment."""
    text = (files("packtrain.data.diversity") / "lexicon" / name).read_text(encoding="utf-8")
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


@dataclass(frozen=True, slots=True)
class Lexicon:
    """English words by what they can be."""

    classes: dict[str, frozenset[str]]
    """Closed classes, such as `prepositions`."""
    verbs: frozenset[str]
    """Base forms."""
    verb_forms: dict[str, str]
    """Base form of every inflected form that is not a base form itself."""
    participles: frozenset[str]
    """Past forms and participles."""
    irregular_nouns: dict[str, str]
    adjectives: frozenset[str]
    nouns: frozenset[str]
    """Nouns that look like something else."""
    closed: frozenset[str]
    """Every word of a closed class that can be no noun."""


@cache
def lexicon() -> Lexicon:
    """The lexicon, read once."""
    file = files("packtrain.data.diversity") / "lexicon" / "word_classes.yaml"
    loaded = yaml.safe_load(file.read_text(encoding="utf-8"))
    classes = {name: frozenset(map(str, members)) for name, members in loaded.items()}
    verbs = frozenset(word for line in _lines("verbs.txt") for word in line) | {"be"}
    irregular = {base: forms for base, *forms in _lines("irregular_verbs.txt")}
    verb_forms: dict[str, str] = {}
    participles: set[str] = set()
    for verb in sorted(verbs):
        pasts = irregular[verb] if verb in irregular else _past_forms(verb)
        regular = [*_third_person(verb), *_with_ending(verb, "ing")] if verb != "be" else []
        verb_forms.update({form: verb for form in (*regular, *pasts) if form not in verbs})
        participles.update(form for form in pasts if not form.endswith("ing"))
    closed = ("determiners", "pronouns", "prepositions", "subordinators", "conjunctions", "be", "do", "have", "modals")
    return Lexicon(
        classes=classes,
        verbs=verbs,
        verb_forms=verb_forms,
        participles=frozenset(participles - {"is", "am", "are", "was", "were"}),
        irregular_nouns={line[0]: line[1] for line in _lines("irregular_nouns.txt")},
        adjectives=frozenset(word for line in _lines("adjectives.txt") for word in line),
        nouns=frozenset(word for line in _lines("nouns.txt") for word in line),
        closed=frozenset(word for name in closed for word in classes[name]),
    )


def is_in(word: str, *names: str) -> bool:
    """Whether a word belongs to one of the closed classes."""
    classes = lexicon().classes
    return any(word in classes[name] for name in names)


def is_adjective(word: str) -> bool:
    """Whether a word is known as an adjective or ends like one."""
    known = lexicon()
    return word in known.adjectives or (word.endswith(_ADJECTIVE_ENDINGS) and len(word) > 4 and word not in known.nouns)


def is_adverb(word: str) -> bool:
    """Whether a word is known as an adverb or ends like one."""
    known = lexicon()
    if word in known.classes["adverbs"]:
        return True
    return word.endswith("ly") and len(word) > 4 and word not in known.adjectives | known.nouns | known.verbs


def is_participle(word: str) -> bool:
    """Whether a word is a past participle, as in `the text provided`, or ends like one."""
    known = lexicon()
    if word in known.nouns:
        return False
    return word in known.participles or (word.endswith("ed") and len(word) > 4)


def is_gerund(word: str) -> bool:
    """Whether a word is a verb in -ing that is not used as a noun everywhere."""
    return word.endswith("ing") and len(word) > 4 and word not in lexicon().nouns


def base_verb(word: str) -> str | None:
    """The verb in its base form when `word` is that form, `re-` before it included; None otherwise."""
    known = lexicon()
    if word in known.verbs:
        return word
    joined = word.replace("-", "")
    if "-" in word and (joined in known.verbs or (word.startswith("re-") and word[3:] in known.verbs)):
        return joined
    return None


def verb_lemma(word: str) -> str:
    """The base form of a verb in any form; for an unknown one what its ending suggests."""
    known = lexicon()
    if found := base_verb(word) or known.verb_forms.get(word):
        return found
    for ending in ("ing", "ed", "s"):
        if word.endswith(ending) and len(word) > len(ending) + 3 and not word.endswith("ss"):
            return word.removesuffix(ending)
    return word


def noun_lemma(word: str) -> str:
    """The singular of a noun: irregular ones as listed, others by their ending."""
    known = lexicon()
    first, hyphen, last = word.rpartition("-")
    if hyphen and first:
        return first + hyphen + noun_lemma(last)
    if word in known.irregular_nouns:
        return known.irregular_nouns[word]
    if not word.endswith("s") or len(word) < 4 or word.endswith(_NOT_PLURAL):
        return word
    for ending, singular in (
        ("ies", "y"),
        ("sses", "ss"),
        ("shes", "sh"),
        ("ches", "ch"),
        ("xes", "x"),
        ("men", "man"),
    ):
        if word.endswith(ending):
            return word.removesuffix(ending) + singular
    return word[:-1]


def _third_person(verb: str) -> list[str]:
    if verb.endswith("y") and verb[-2] not in _VOWELS:
        return [verb[:-1] + "ies"]
    return [verb + ("es" if verb.endswith(("s", "sh", "ch", "x", "z", "o")) else "s")]


def _past_forms(verb: str) -> list[str]:
    if verb.endswith("y") and verb[-2] not in _VOWELS:
        return [verb[:-1] + "ied"]
    return _with_ending(verb, "ed")


def _with_ending(verb: str, ending: str) -> list[str]:
    """The forms that `-ed` or `-ing` may give; the doubled consonant is allowed wherever it can be."""
    if verb.endswith("e") and not (verb.endswith(("ee", "oe", "ye")) and ending == "ing"):
        return [verb[:-1] + ending]
    doubled = len(verb) > 2 and verb[-1] not in _VOWELS + "wxy" and verb[-2] in _VOWELS and verb[-3] not in _VOWELS
    return [verb + ending, *([verb + verb[-1] + ending] if doubled else [])]
