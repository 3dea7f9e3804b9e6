"""Splitting of long conversations: the limit holds for every piece, and nothing is lost but what cannot be kept."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packtrain.core.conversation import Message
from packtrain.core.errors import UserError
from packtrain.data.split import Piece, Ruler, load_ruler, split
from packtrain.data.split_compat import message_lengths, split_as_published, windows
from packtrain.prompts.template import PromptTemplate, Rendered, load_template
from packtrain.prompts.tokenizer import load_tokenizer

TEXTS = st.one_of(
    st.sampled_from(["", " ", "The sea is wide.", "one, two, three " * 8, "</s>", "\ud800", "🙂 ñ"]),
    st.text(max_size=40),
)
ROUNDS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=12)


def talk(rounds: list[tuple[str, str]]) -> list[Message]:
    return [message for ask, answer in rounds for message in (Message("user", ask), Message("assistant", answer))]


@dataclass(frozen=True)
class CountingTemplate(PromptTemplate):
    """Notes how many messages it rendered each time."""

    rendered: list[int] = field(default_factory=list, hash=False)

    def render(
        self, messages: Sequence[Message], eos_token: str, *, for_answer: bool = False, answer_prefix: str = ""
    ) -> Rendered:
        self.rendered.append(len(messages))
        return super().render(messages, eos_token, for_answer=for_answer, answer_prefix=answer_prefix)


TEMPLATES = {
    "tulu": load_template("tulu").source,
    "alpaca": load_template("alpaca").source,
    "marks the last answer only": (
        "{% for message in messages %}{% if loop.last %}{% generation %}{{ message.content }}{% endgeneration %}"
        "{% else %}{{ message.content }};{% endif %}{% endfor %}"
    ),
    "tells how much there is": "{{ 'ab ' * messages | length * messages | length }}{% for message in messages %}"
    "{% generation %}{{ message.content }}{% endgeneration %}{% endfor %}",
}


def ruler_of(template: str, folder: Path) -> Ruler:
    return Ruler(PromptTemplate(template, TEMPLATES[template]), load_tokenizer(folder))


@pytest.mark.parametrize("template", TEMPLATES)
@given(rounds=ROUNDS, limit=st.integers(1, 300))
@settings(max_examples=60, deadline=None)
def test_pieces_fit_lose_nothing_and_are_as_long_as_they_can_be(
    template: str, tiny_base: Path, rounds: list[tuple[str, str]], limit: int
) -> None:
    ruler, messages = ruler_of(template, tiny_base), talk(rounds)
    pieces = list(split(messages, ruler, limit))
    assert [place for piece in pieces for place in range(piece.start, piece.stop)] == list(range(len(rounds)))
    for piece in pieces:
        length = ruler.length(messages[2 * piece.start : 2 * piece.stop])
        assert (length <= limit) == piece.kept
        assert piece.kept or piece.stop == piece.start + 1
        if piece.kept and piece.stop < len(rounds) and template != "alpaca":
            assert ruler.length(messages[2 * piece.start : 2 * piece.stop + 2]) > limit
        assert template != "alpaca" or piece.stop == piece.start + 1
    assert list(split(messages, ruler, limit)) == pieces


def test_a_round_that_is_too_long_cuts_the_conversation(tiny_base: Path) -> None:
    ruler = ruler_of("tulu", tiny_base)
    messages = talk([("a", "b"), ("c", "d"), ("long " * 200, "e"), ("f", "g"), ("h", "i " * 300)])
    limit = ruler.length(messages[6:8]) * 3
    assert list(split(messages, ruler, limit)) == [
        Piece(0, 2, True),
        Piece(2, 3, False),
        Piece(3, 4, True),
        Piece(4, 5, False),
    ]


def test_the_limit_is_met_exactly(tiny_base: Path) -> None:
    """A conversation of just the limit is one piece; one token less makes two."""
    ruler, messages = ruler_of("tulu", tiny_base), talk([("The lamp is red.", "ten"), ("The sea.", "wide")])
    length = ruler.length(messages)
    assert list(split(messages, ruler, length)) == [Piece(0, 2, True)]
    assert list(split(messages, ruler, length - 1)) == [Piece(0, 1, True), Piece(1, 2, True)]


def test_the_whole_is_rendered_once_and_each_piece_twice(tiny_base: Path) -> None:
    template = CountingTemplate("tulu", TEMPLATES["tulu"])
    ruler = Ruler(template, load_tokenizer(tiny_base))
    messages = talk([(f"Count to {number}.", "one, two, three") for number in range(100)])
    limit = ruler.length(messages[:20])
    template.rendered.clear()
    assert list(split(messages, ruler, 10**6)) == [Piece(0, 100, True)]
    assert template.rendered == [200]
    template.rendered.clear()
    pieces = list(split(messages, ruler, limit))
    assert 9 <= len(pieces) <= 12
    assert template.rendered[0] == 200
    assert len(template.rendered) <= 1 + 3 * len(pieces)
    assert max(template.rendered[1:]) <= 22


def test_a_ruler_is_loaded_once_and_tells_what_it_lacks(tiny_base: Path, tmp_path: Path) -> None:
    assert load_ruler(str(tiny_base), "tulu") is load_ruler(str(tiny_base), "tulu")
    with pytest.raises(UserError, match="no tokenizer at"):
        load_ruler(str(tmp_path / "nowhere"), "tulu")
    with pytest.raises(UserError, match="unknown template: tula"):
        load_ruler(str(tiny_base), "tula")


@pytest.mark.parametrize(
    ("lengths", "given"),
    [
        ([], []),
        ([5], []),
        ([5, 5], [(0, 1)]),
        ([5, 5, 9], [(0, 1)]),
        ([5, 5, 5, 5], [(0, 2)]),
        ([5, 5, 5, 6], [(0, 1)]),
        ([5, 5, 5, 6, 1, 1], [(0, 1), (1, 3)]),
        ([5, 5, 20, 20, 1, 1], [(0, 1), (2, 2)]),
        ([20, 20], [(0, 0)]),
        ([20, 20, 1, 1], [(0, 0), (1, 1)]),
        ([20, 20, 1, 1, 1, 1], [(0, 0), (1, 1), (1, 3)]),
    ],
    ids=[
        "nothing", "no pair", "one pair", "an odd last message is left out", "just the limit",
        "the last pair is lost when it opens a piece", "another pair is not", "a long pair goes on to count",
        "an empty piece for a long pair", "and the pair behind it lost", "unless another follows",
    ],
)  # fmt: skip
def test_the_splitter_of_2023_keeps_its_defects(lengths: list[int], given: list[tuple[int, int]]) -> None:
    assert windows(lengths, 20) == given


@given(texts=st.lists(TEXTS, max_size=14), limit=st.integers(1, 200))
@settings(max_examples=100, deadline=None)
def test_what_the_splitter_of_2023_loses_is_told(tiny_base: Path, texts: list[str], limit: int) -> None:
    tokenizer = load_tokenizer(tiny_base)
    pieces = list(split_as_published(texts, tokenizer, limit))
    assert [place for piece in pieces for place in range(piece.start, piece.stop)] == list(range(len(texts) // 2))
    assert [(piece.start, piece.stop) for piece in pieces if piece.kept] == [
        window for window in windows(message_lengths(texts, tokenizer), limit) if window[0] < window[1]
    ]
