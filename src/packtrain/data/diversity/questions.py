"""Root verb and direct object of a question."""

from packtrain.data.diversity.objects import noun_group, object_of
from packtrain.data.diversity.parser import Root
from packtrain.data.diversity.tokens import Token, word_at
from packtrain.data.diversity.words import (
    base_verb,
    is_adjective,
    is_adverb,
    is_in,
    is_participle,
    lexicon,
    verb_lemma,
)

_AUXILIARIES = ("be", "do", "have", "modals")


def question_at(tokens: list[Token], place: int) -> Root | None:
    """Root of the question that begins at `place`; None when none begins there.

    The verb is the main verb (`How can schools prepare students`: prepare, student); a form of `be` without one is the
    verb `be`, which has no object. The object may stand in front (`What impact does rain have`: have, impact).
    """
    if is_in(word_at(tokens, place), "prepositions") and is_in(word_at(tokens, place + 1), "question_words"):
        return _after_question_word(tokens, place + 1, fronted_preposition=True)
    word = word_at(tokens, place)
    if is_in(word.removesuffix("'s"), "question_words"):
        return _after_question_word(tokens, place, fronted_preposition=False)
    if is_in(word, *_AUXILIARIES) and place + 2 < len(tokens) and _may_be_subject(tokens, place + 1):
        return _after_auxiliary(tokens, place, None)
    return None


def _may_be_subject(tokens: list[Token], place: int) -> bool:
    """Whether a subject can begin here: `Do you ...`, `Is the ...`, but neither `Do not ...` nor `Have fun`."""
    word = word_at(tokens, place)
    if is_in(word_at(tokens, place - 1), "be", "modals"):
        return True
    if word_at(tokens, place - 1) in ("do", "have"):
        return is_in(word, "subjects") and word not in ("this", "that", "one", "it")
    return not is_adverb(word)


def _after_question_word(tokens: list[Token], place: int, *, fronted_preposition: bool) -> Root | None:
    word, following = word_at(tokens, place), word_at(tokens, place + 1)
    if word.endswith("'s"):
        return Root("be", None)
    if word == "how" and following == "to" and base_verb(word_at(tokens, place + 2)):
        return _root(tokens, place + 2, None)
    auxiliary = next((n for n in range(place + 1, len(tokens)) if is_in(tokens[n].lower, *_AUXILIARIES)), None)
    counted = word == "how" and following in ("many", "much")
    asked = None
    if word in ("what", "which", "whose", "who") or counted:
        if auxiliary != place + 1:
            asked, _ = noun_group(tokens, place + 1 + counted, stop_at_verbs=True)
            verb = _verb_of_subject(tokens, place + 1, auxiliary)
            if verb is not None:
                return _root(tokens, verb, None)
        elif is_in(following, "be"):
            at_once = is_participle(word_at(tokens, place + 2)) or is_in(word_at(tokens, place + 2), "subjects")
            return _after_auxiliary(tokens, auxiliary, None) if at_once else Root("be", None)
        elif is_in(following, "modals") and base_verb(word_at(tokens, place + 2)):
            return _root(tokens, place + 2, None)
    if auxiliary is None:
        return None
    return _after_auxiliary(tokens, auxiliary, None if fronted_preposition else asked)


def _root(tokens: list[Token], verb: int, asked: str | None) -> Root:
    """Root with the verb at `verb`; `asked` is the object unless one follows, or a stranded preposition."""
    lemma = verb_lemma(tokens[verb].lower)
    stranded = is_in(word_at(tokens, verb + 1), "prepositions") and word_at(tokens, verb + 2) in ("", "to")
    return Root(lemma, object_of(tokens, verb + 1, lemma) or (None if stranded else asked))


def _verb_of_subject(tokens: list[Token], place: int, auxiliary: int | None) -> int | None:
    """Where the verb of a question about its subject stands (`What causes rain`, `Which piece moves in an L`)."""
    known = lexicon()
    for found in range(place, len(tokens) if auxiliary is None else auxiliary):
        word = tokens[found].lower
        finite = word in known.verb_forms and not word.endswith("ing")
        finite = finite or (found == place and tokens[place - 1].lower == "who" and base_verb(word) is not None)
        plural = found > place and base_verb(word) and tokens[found - 1].lower.endswith("s")
        if (
            (finite or plural)
            and found + 1 != auxiliary
            and (found == place or not _is_noun_use(tokens, found, place - 1))
        ):
            return found
    return None


def _after_auxiliary(tokens: list[Token], auxiliary: int, asked: str | None) -> Root:
    """Root of what follows an auxiliary; `asked` is the noun of the question, the object when there is no other."""
    word = word_at(tokens, auxiliary)
    if is_in(word, "be"):
        found = _participle(tokens, auxiliary + 1)
        return Root(verb_lemma(tokens[found].lower), None) if found is not None else Root("be", None)
    subject = auxiliary + 1
    if is_in(word, "have"):
        found = _participle(tokens, subject)
        if found is None:
            return Root("have", object_of(tokens, subject, "have"))
    else:
        found = _main_verb(tokens, subject)
        if found is None:
            return Root("be" if any(token.lower == "be" for token in tokens[subject:]) else "do", None)
        if tokens[found].lower == "be":
            passive = _participle(tokens, found + 1)
            return Root(verb_lemma(tokens[passive].lower), None) if passive is not None else Root("be", None)
    asks_for_subject = found == subject or word_at(tokens, subject) == "not"  # `How many have passed`
    return _root(tokens, found, None if asks_for_subject else asked)


def _main_verb(tokens: list[Token], subject: int) -> int | None:
    """Where the base form behind a subject stands."""
    for strict in (True, False):
        for place in range(subject + 1, len(tokens)):
            if _may_be_main(tokens, place, subject, strict=strict):
                return place + 1 if _is_compound(tokens, place, subject) else place
    return None


def _may_be_main(tokens: list[Token], place: int, subject: int, *, strict: bool) -> bool:
    """Whether a base form stands at `place` that is no noun; unless `strict`, an adjective may stand before it."""
    return bool(base_verb(word_at(tokens, place))) and not _is_noun_use(tokens, place, subject, strict=strict)


def _is_compound(tokens: list[Token], place: int, subject: int) -> bool:
    """Whether the possible verb at `place` ends the subject, as in `does time travel work`: another verb follows."""
    if place - 1 == subject and is_in(word_at(tokens, subject), "subjects"):
        return False
    following = word_at(tokens, place + 1)
    if is_in(word_at(tokens, place), "infinitive_follows") or not base_verb(following):
        return False
    return following in ("have", "be") or place + 2 == len(tokens) or _begins_object(tokens, place + 2)


def _begins_object(tokens: list[Token], place: int) -> bool:
    return is_in(word_at(tokens, place), "determiners", "numerals", "pronouns")


def _is_noun_use(tokens: list[Token], place: int, subject: int, *, strict: bool = True) -> bool:
    """Whether the word at `place`, a possible verb, is a noun: what stands before it decides."""
    before = tokens[place - 1].lower
    if is_in(before, "subjects") and place - 1 == subject:
        return False
    if before.endswith("'s") or tokens[place - 1].kind == "number":
        return True
    if is_in(before, "determiners", "prepositions", "conjunctions", "numerals") or before == "to":
        return True
    return strict and is_adjective(before) and not is_adverb(before)


def _participle(tokens: list[Token], place: int) -> int | None:
    """Where the participle stands that makes a form of `be` or `have` an auxiliary: `is ... used`, `are you doing`."""
    if is_in(word_at(tokens, place), "subjects") and not is_in(word_at(tokens, place), "determiners"):
        place += 1
        while is_adverb(word_at(tokens, place)):
            place += 1
        word = word_at(tokens, place)
        return place if is_participle(word) or word in lexicon().verb_forms else None
    for found in range(place, len(tokens)):
        token, before = tokens[found], word_at(tokens, found - 1)
        if token.kind == "mark" or is_in(token.lower, "subordinators"):
            return None
        modifies = is_in(before, "determiners", "prepositions", "conjunctions", "numerals") or is_adjective(before)
        if is_participle(token.lower) and not _is_before_noun(tokens, found) and (found == place or not modifies):
            return found
    return None


def _is_before_noun(tokens: list[Token], place: int) -> bool:
    """Whether a participle is a modifier: `sending automated emails`."""
    word = word_at(tokens, place + 1)
    return bool(word) and tokens[place + 1].kind == "word" and word not in lexicon().closed and not is_adverb(word)
