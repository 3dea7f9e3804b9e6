"""Roots of instructions by a shallow parse of our own: word lists, and where clauses and noun groups begin and end.

Rules, in their order, for each sentence:
- Words of politeness and adverbs in front are passed over: `Please`, `Can you`, `I want you to`, `Let's`.
- A command begins with a verb in its base form; of coordinated verbs the first counts.
- A question has the main verb as its root (`instruction_parser_questions`).
- A clause in front (`Given a list, sort it`) is passed over, and so are words before a colon or dash.
- A statement sets the scene: the first command or question behind it counts, and its own verb only without one.
"""

from collections.abc import Iterable, Iterator

from packtrain.data.diversity.objects import object_of
from packtrain.data.diversity.parser import NO_ROOT, Root
from packtrain.data.diversity.questions import question_at
from packtrain.data.diversity.tokens import Token, sentences, word_at
from packtrain.data.diversity.words import base_verb, is_adjective, is_adverb, is_in, lexicon, verb_lemma

_MAX_SENTENCES = 6
"""Of an instruction that are read for a command or a question."""
_REQUESTED = ("asked", "required", "supposed", "expected", "tasked", "requested", "instructed", "told")
_WISHES = ("want", "need", "like", "ask", "require")


class LexiconParser:
    """Parses without any model, some 20,000 instructions a second."""

    @property
    def name(self) -> str:
        """`lexicon`."""
        return "lexicon"

    def roots(self, instructions: Iterable[str]) -> Iterator[Root]:
        """One root per instruction."""
        return map(parse_instruction, instructions)


def parse_instruction(text: str) -> Root:
    """The root of one instruction; without any verb in it, one without verb and object."""
    stated = NO_ROOT
    for tokens in sentences(text)[:_MAX_SENTENCES]:
        if (asked := _request_in(tokens)) is not None:
            return asked
        if stated.verb is None:
            stated = _statement(tokens)
    return stated


def _request_in(tokens: list[Token]) -> Root | None:
    """Root of the first command or question in a sentence; None in a statement."""
    if (found := _request_at(tokens, 0, sure=False)) is not None:
        return found
    breaks = [n for n, token in enumerate(tokens) if token.kind == "mark" and token.lower in ",:;-–—)*"]
    for place in breaks:
        if (found := _request_at(tokens, place + 1, sure=True)) is not None:
            return found
    if tokens and (is_in(tokens[0].lower, "fronting") or tokens[0].lower.endswith("ing")):
        for place in breaks:
            if tokens[place].lower == "," and _is_command(tokens, place + 1, sure=False):
                return _command(tokens, place + 1)
        for place in range(2, len(tokens)):
            if not _is_inside_group(tokens, place) and _is_command(tokens, place, sure=True):
                return _command(tokens, place)
    return None


def _request_at(tokens: list[Token], place: int, *, sure: bool) -> Root | None:
    """Root of the command or question that begins at `place`; with `sure`, only where it can be nothing else."""
    place = _skip_courtesy(tokens, place)
    if _is_command(tokens, place, sure=sure):
        return _command(tokens, place)
    return question_at(tokens, place)


def _command(tokens: list[Token], place: int) -> Root:
    verb = verb_lemma(tokens[place].lower)
    return Root(verb, object_of(tokens, place + 1, verb))


def _is_command(tokens: list[Token], place: int, *, sure: bool) -> bool:
    """Whether a verb in its base form begins a command at `place`.

    A word that is also a noun is one before `of` or a finite verb (`List of fruits`, `Research is ...`). At the
    beginning of a sentence, where it is not `sure`, a verb may be unknown or in another form before a determiner:
    `Generated a story`.
    """
    word, following = word_at(tokens, place), word_at(tokens, place + 1)
    if not word or tokens[place].kind != "word":
        return False
    if following == "of" and not is_in(word, "takes_of"):
        return False
    if word in ("do", "have") and is_in(following, "subjects") and following not in ("this", "that", "one", "it"):
        return False
    if base_verb(word):
        ends = _ends_or_breaks(tokens, place + 1)
        ends = ends or (is_in(following, "conjunctions") and _ends_or_breaks(tokens, place + 3))  # `..., run and play,`
        if is_in(following, "be", "modals") or (sure and ends):
            return False
        return not (is_in(following, "do", "have") and place + 2 < len(tokens))
    if sure or place + 1 == len(tokens) or not is_in(following, "determiners") or not word.replace("-", "").isalpha():
        return False
    return word not in lexicon().closed and not is_adverb(word) and not is_in(word, "fronting", "openers", "adverbs")


def _ends_or_breaks(tokens: list[Token], place: int) -> bool:
    """Whether the sentence is over at `place`, or pauses."""
    return place >= len(tokens) or (tokens[place].kind == "mark" and tokens[place].lower in ",:")


def _is_inside_group(tokens: list[Token], place: int) -> bool:
    """Whether the word at `place` cannot begin a clause: behind an article, adjective or preposition."""
    before = tokens[place - 1]
    if before.kind == "number" or before.lower.endswith("'s") or is_adjective(before.lower):
        return True
    return is_in(
        before.lower,
        "determiners",
        "prepositions",
        "conjunctions",
        "numerals",
        "modals",
        "subjects",
        "do",
        "subordinators",
    )


def _skip_courtesy(tokens: list[Token], place: int) -> int:
    """Past greetings, adverbs, and whatever asks politely, to the place where the request itself begins."""
    while place < len(tokens):
        word = word_at(tokens, place)
        if tokens[place].kind in ("mark", "number") and word_at(tokens, place + 1) and word not in ",":
            place += 1
        elif (word, word_at(tokens, place + 1)) in (("let", "us"), ("do", "not")):
            place += 2
        elif word == "don't" or is_in(word, "openers") or (is_adverb(word) and not base_verb(word)):
            place += 1
        elif (past := _past_wish(tokens, place)) != place:
            place = past
        else:
            break
    return place


def _past_wish(tokens: list[Token], place: int) -> int:
    """Past `can you`, `you should`, `you need to`, `you are asked to`, `I want you to`, `your task is to`."""
    word, second = word_at(tokens, place), word_at(tokens, place + 1)
    if word in ("can", "could", "would", "will") and second == "you":
        return (
            _past_adverbs(tokens, place + 2) if base_verb(word_at(tokens, _past_adverbs(tokens, place + 2))) else place
        )
    if word == "you":
        if is_in(second, "modals") and second not in ("will", "may", "might", "can"):
            return place + 2
        if second in ("need", "have", "want") and word_at(tokens, place + 2) == "to":
            return place + 3
        if second in ("are", "will", "were") and word_at(tokens, place + 2) in _REQUESTED:
            return place + 4 if word_at(tokens, place + 3) == "to" else place
    if word in ("i", "we", "i'd", "we'd"):
        for ahead in range(place + 1, min(place + 4, len(tokens))):
            if (
                word_at(tokens, ahead) in _WISHES
                and word_at(tokens, ahead + 1) == "you"
                and word_at(tokens, ahead + 2) == "to"
            ):
                return ahead + 3
    if word in ("your", "the") and second in ("task", "job", "goal", "objective"):
        ahead = place + 2
        return ahead + 2 if word_at(tokens, ahead) == "is" and word_at(tokens, ahead + 1) == "to" else place
    return place


def _past_adverbs(tokens: list[Token], place: int) -> int:
    while is_adverb(word_at(tokens, place)) or is_in(word_at(tokens, place), "openers"):
        place += 1
    return place


def _statement(tokens: list[Token]) -> Root:
    """Root of a sentence that asks nothing: its first finite verb; none in a mere title."""
    for place in range(1, len(tokens)):
        word = tokens[place].lower
        if is_in(word, "be"):
            return Root("be", None)
        if is_in(word, "modals"):
            verb = next((n for n in range(place + 1, len(tokens)) if not is_adverb(tokens[n].lower)), None)
            if verb is not None and base_verb(tokens[verb].lower):
                return _command(tokens, verb)
        behind_subject = is_in(tokens[place - 1].lower, "subjects") or is_in(word_at(tokens, place + 1), "determiners")
        known = word in lexicon().verb_forms or (is_in(tokens[place - 1].lower, "subjects") and base_verb(word))
        if known and behind_subject and not word.endswith("ing") and not is_in(tokens[place - 1].lower, "prepositions"):
            return _command(tokens, place)
    return NO_ROOT
