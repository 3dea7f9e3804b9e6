"""The noun that a verb acts upon: the head of the noun group behind it."""

from packtrain.data.diversity.tokens import Token, word_at
from packtrain.data.diversity.words import (
    base_verb,
    is_adjective,
    is_adverb,
    is_gerund,
    is_in,
    is_participle,
    lexicon,
    noun_lemma,
)

_BARE_INFINITIVE_BEHIND_OBJECT = ("help", "have", "let")
_AROUND_WORDS = "#*_<>[]"
_NAMING = ("term", "phrase", "idiom", "acronym", "proverb")
"""Nouns whose instance may follow without a quotation mark: `the term entropy`."""
_REFERRING = ("following", "preceding", "remaining", "given")
"""Modifiers that stay modifiers where their noun is left out: `Answer the following`."""


def object_of(tokens: list[Token], place: int, verb: str) -> str | None:
    """Head of the direct object of `verb`, whose last word stands before `place`; None where there is none.

    The person addressed is passed over (`Give me a list`), and so are particles (`Point out the error`) and verbs that
    share the object (`Compare and contrast the styles`). A clause (`Explain why ...`), a pronoun, a quotation and a
    name are no objects.
    """
    place = _skip_adverbs(tokens, _skip_coordinated_verbs(tokens, place))
    word = word_at(tokens, place)
    if is_in(word, "particles") or (word == "in" and is_in(verb, "fill_in")):
        place += 1
    if word_at(tokens, place) == "for" and is_in(word_at(tokens, place + 1), "objects_of_address"):
        place += 2
    word, following = word_at(tokens, place), word_at(tokens, place + 1)
    if is_in(word, "objects_of_address") or (word in ("it", "her") and is_in(verb, "two_objects")):
        if word != "her" or is_in(following, "determiners"):
            place += 1
        if base_verb(word_at(tokens, place)) and verb in _BARE_INFINITIVE_BEHIND_OBJECT:
            return None
    if is_in(verb, "infinitive_follows") and base_verb(word_at(tokens, place)):
        return None
    head, end = noun_group(tokens, place, stop_at_verbs=verb in _BARE_INFINITIVE_BEHIND_OBJECT)
    if head and is_in(verb, "two_objects") and _begins_a_group(tokens, end):
        return noun_group(tokens, end)[0] or head
    return head


def noun_group(tokens: list[Token], place: int, *, stop_at_verbs: bool = False) -> tuple[str | None, int]:
    """Head of the noun group that begins at `place`, in the singular, and where the group ends.

    The head is the last noun before whatever ends the group (`machine learning model`); None for a pronoun, a
    quotation or a name alone. Of `some of the words` it is `word`; of `a list of words`, `list`.
    """
    start = place = _skip_amount(tokens, place)
    if _is_partitive(tokens, place):
        return noun_group(tokens, place + 2, stop_at_verbs=stop_at_verbs)
    nouns: list[Token] = []
    last: Token | None = None
    while place < len(tokens):
        token = tokens[place]
        if not _continues(tokens, place, nouns, last):
            break
        if stop_at_verbs and nouns and base_verb(token.lower):
            break
        if _is_noun(tokens, place):
            nouns.append(token)
        if token.kind != "mark" and not is_in(token.lower, "conjunctions", "prepositions"):
            last = token
        place += 1
    indefinite = word_at(tokens, start) in ("a", "an")
    return _head(nouns, indefinite) or _elliptic_head(tokens, start, last if not nouns else None), place


def _continues(tokens: list[Token], place: int, nouns: list[Token], last: Token | None) -> bool:
    """Whether the token at `place` belongs to the noun group that has been read so far."""
    token, word = tokens[place], tokens[place].lower
    if token.kind == "mark":
        return not nouns and (word in _AROUND_WORDS or (word == "," and _joins_modifiers(tokens, place, last)))
    if token.kind in ("quote", "number"):
        return not nouns
    if is_in(word, "conjunctions") or (word == "to" and last is not None and _is_number(last)):
        return not nouns and _joins_modifiers(tokens, place, last)
    if is_in(word, "determiners"):
        first = last is None or (is_in(last.lower, "determiners") and last.lower != "that")
        return first and not is_in(word, "question_words") and _begins_with_noun(tokens, place + 1)
    if is_in(word, "prepositions", "subordinators", "be", "do", "have", "modals"):
        return False
    if is_in(word, "pronouns"):
        return word in ("one", "some", "any", "another") and not nouns and _begins_with_noun(tokens, place + 1)
    if not nouns:
        return True
    if is_adverb(word) or is_gerund(word) or (word == "set" and word_at(tokens, place + 1) in ("in", "during")):
        return False
    if nouns[-1].lower in _NAMING and word_at(tokens, place - 2) == "the":
        return False
    if is_participle(word) or (is_adjective(word) and not token.titled):
        return _begins_with_noun(tokens, place + 1) and not is_in(word_at(tokens, place + 1), "determiners", "numerals")
    return True


def _is_noun(tokens: list[Token], place: int) -> bool:
    """Whether a token of a noun group can be its head: neither determiner nor number, adjective, participle, owner."""
    token, word = tokens[place], tokens[place].lower
    if token.kind != "word" or word.endswith(("'s", "s'")) or is_in(word, "numerals", "determiners", "conjunctions"):
        return False
    if word in lexicon().nouns or (is_adjective(word) and word_at(tokens, place + 1) == "of"):
        return True
    if is_gerund(word) and word not in _REFERRING and not _begins_with_noun(tokens, place + 1):
        return True
    modifies = is_adjective(word) or is_participle(word) or is_gerund(word) or is_adverb(word)
    return not modifies and not is_in(word, "pronouns", "prepositions")


def _head(nouns: list[Token], indefinite: bool) -> str | None:
    """The last of the nouns, or the last before a name in apposition: `the programming language Python`."""
    common = [token for token in nouns if not token.titled]
    if nouns and nouns[-1].titled and not common and not (indefinite and len(nouns) == 1):
        return None
    head = nouns[-1] if nouns and (not nouns[-1].titled or not common) else common[-1] if common else None
    return noun_lemma(head.lower.split("/")[0].removesuffix("'")) if head else None


def _elliptic_head(tokens: list[Token], start: int, last: Token | None) -> str | None:
    """An adjective behind an article, where no noun follows: `Compute the exponential of 6`."""
    if last is None or last.kind != "word" or not is_in(word_at(tokens, start), "determiners") or last is tokens[start]:
        return None
    word = last.lower
    if word in _REFERRING or is_adverb(word) or is_in(word, "numerals", "determiners", "pronouns", "conjunctions"):
        return None
    return noun_lemma(word) if is_adjective(word) and not last.titled else None


def _joins_modifiers(tokens: list[Token], place: int, last: Token | None) -> bool:
    """Whether what stands at `place` joins two adjectives or two numbers before one noun."""
    if last is None or place + 1 >= len(tokens):
        return False
    following = tokens[place + 1]
    if _is_number(last):
        return _is_number(following) or following.lower in ("more", "less", "fewer")
    if is_in(following.lower, "conjunctions"):
        return _joins_modifiers(tokens, place + 1, last)
    modifies = is_adjective(last.lower) or is_gerund(last.lower) or is_participle(last.lower)
    return modifies and last.lower not in _REFERRING and _begins_with_noun(tokens, place + 1)


def _is_number(token: Token) -> bool:
    return token.kind == "number" or is_in(token.lower, "numerals")


def _begins_with_noun(tokens: list[Token], place: int) -> bool:
    """Whether a noun or what goes before one stands at `place`."""
    if place >= len(tokens) or tokens[place].kind == "mark":
        return place < len(tokens) and tokens[place].lower in _AROUND_WORDS
    word = tokens[place].lower
    if tokens[place].kind != "word" or is_in(word, "determiners", "numerals"):
        return not is_in(word, "question_words")
    return word not in lexicon().closed


def _begins_a_group(tokens: list[Token], place: int) -> bool:
    """Whether a determiner or number stands at `place`: after a noun it begins a second group."""
    if place >= len(tokens):
        return False
    token = tokens[place]
    determines = is_in(token.lower, "determiners") and not is_in(token.lower, "subordinators", "pronouns")
    return determines or _is_number(token)


def _is_partitive(tokens: list[Token], place: int) -> bool:
    """Whether `some of`, `one of`, `3 of` or the like stands at `place`."""
    if word_at(tokens, place + 1) != "of" or place >= len(tokens):
        return False
    word = tokens[place].lower
    return _is_number(tokens[place]) or (is_in(word, "determiners", "pronouns") and not is_in(word, "question_words"))


def _skip_coordinated_verbs(tokens: list[Token], place: int) -> int:
    """Past the verbs that share an object with the one before `place`: `Compare and contrast`."""
    while True:
        ahead = place
        while word_at(tokens, ahead) in (",", "and", "or", "and/or", "then", "&", "/"):
            ahead += 1
        if ahead == place or not base_verb(word_at(tokens, ahead := _skip_adverbs(tokens, ahead))):
            return place
        place = ahead + 1


def _skip_adverbs(tokens: list[Token], place: int) -> int:
    while is_adverb(word_at(tokens, place)) and not is_in(word_at(tokens, place), "particles", "determiners"):
        place += 1
    return place


def _skip_amount(tokens: list[Token], place: int) -> int:
    """Past `at least`, `up to`, `between 3 and` and the like, when a number follows."""
    ahead = place
    while is_in(word_at(tokens, ahead), "amount_words") and ahead < place + 4:
        ahead += 1
    if ahead == place or ahead >= len(tokens) or not _is_number(tokens[ahead]):
        return place
    if word_at(tokens, place) == "between" and word_at(tokens, ahead + 1) == "and":
        return ahead + 2
    return ahead
