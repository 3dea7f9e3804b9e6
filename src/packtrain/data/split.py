"""Long conversations in pieces that fit: contiguous rounds, measured as training will see them.

Lengths are those of the rendered piece in tokens, everything included that the template and the tokenizer put around
the texts. The splitter of 2023 added 6 tokens to each message instead (data/split_compat.py), which is too little.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from packtrain.core.conversation import Message
from packtrain.core.errors import UserError
from packtrain.data.tokenizer_path import tokenizer_at
from packtrain.prompts.template import PromptTemplate, load_template
from packtrain.prompts.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rounds of a conversation in a row."""

    start: int
    """First round, from 0."""
    stop: int
    """Behind the last round."""
    kept: bool
    """False for what is lost: a round that is longer than the limit by itself."""


@dataclass(frozen=True, slots=True)
class Ruler:
    """Measures messages in tokens of their rendering."""

    template: PromptTemplate
    tokenizer: Tokenizer

    def length(self, messages: Sequence[Message]) -> int:
        """Tokens of the rendered messages, the first token and all ends of sequence included."""
        return len(self.tokenizer.ids(self._text(messages)[0]))

    def round_ends(self, messages: Sequence[Message]) -> list[int]:
        """How many tokens of the whole conversation there are up to the end of each round.

        Rounds of a piece are about as long as they are in the whole. The last number is exact, as are the others in a
        template that marks each answer once.
        """
        text, answer_ends = self._text(messages)
        encoding = self.tokenizer.encode([text])[0]
        rounds, total = len(messages) // 2, len(encoding.ids)
        if len(answer_ends) != rounds:
            return [total * (number + 1) // rounds for number in range(rounds)]
        starts = [start for start, _ in encoding.offsets]
        return [*(bisect_left(starts, end) for end in answer_ends[:-1]), total]

    def _text(self, messages: Sequence[Message]) -> tuple[str, list[int]]:
        """The rendered text and where answers end in it; half of a surrogate pair, which has no token, is one `?`."""
        rendered = self.template.render(messages, self.tokenizer.eos_token)
        return rendered.text.encode(errors="replace").decode(), [end for _, end in rendered.spans]


@cache
def load_ruler(tokenizer: str, template: str) -> Ruler:
    """The ruler of a tokenizer's folder and a prompt format, loaded once per process; UserError as those raise it."""
    try:
        folder = Path(tokenizer).expanduser()
    except RuntimeError as error:
        raise UserError(f"no tokenizer at {tokenizer}: there is no such home", "give the path of its folder") from error
    return Ruler(load_template(template), tokenizer_at(folder))


def split(messages: Sequence[Message], ruler: Ruler, limit_tokens: int) -> Iterator[Piece]:
    """Pieces that together are all rounds, in order: none that is kept is longer than `limit_tokens` or could take one
    round more.

    `messages` are whole rounds, questions and answers in turn. Most conversations are rendered and tokenised once. For
    each piece of a longer one, the lengths in the whole say how many rounds should fit; that many, and one more, are
    then measured.
    """
    rounds = len(messages) // 2
    if ruler.template.one_round:
        for place in range(rounds):
            yield Piece(place, place + 1, ruler.length(messages[2 * place : 2 * place + 2]) <= limit_tokens)
        return
    ends = ruler.round_ends(messages)
    if ends[-1] <= limit_tokens:
        yield Piece(0, rounds, True)
        return

    def fits(start: int, stop: int) -> bool:
        return ruler.length(messages[2 * start : 2 * stop]) <= limit_tokens

    start = 0
    while start < rounds:
        before = ends[start - 1] if start else 0
        stop = max(bisect_right(ends, before + limit_tokens), start + 1)
        if fits(start, stop):
            while stop < rounds and fits(start, stop + 1):
                stop += 1
        else:
            stop -= 1
            while stop > start and not fits(start, stop):
                stop -= 1
        yield Piece(start, max(stop, start + 1), stop > start)
        start = max(stop, start + 1)
