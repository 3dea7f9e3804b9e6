"""ShareGPT: which turns become conversations, their pieces and ids, and what the converter of 2023 made of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packtrain.core.conversation import Conversation, Message
from packtrain.core.errors import UserError
from packtrain.data.checks import reason_to_drop
from packtrain.data.conversion import Conversion
from packtrain.data.format import converted, open_format
from packtrain.data.formats.sharegpt import TOO_LONG
from packtrain.data.records import Dropped, Record
from packtrain.data.split import load_ruler

FORM = open_format("sharegpt")
LOST = "lost by the splitter of 2023"


def said(*turns: tuple[Any, Any]) -> list[dict[str, Any]]:
    return [{"from": sender, "value": text} for sender, text in turns]


def talk(identity: str, *texts: str, first: int = 0) -> Conversation:
    """A conversation in turns; `first` is 1 when the assistant begins."""
    roles = [Message("assistant" if (place + first) % 2 else "user", text) for place, text in enumerate(texts)]
    return Conversation("d", identity, tuple(roles))


def found(rows: list[dict[str, Any]], *, compat: bool = False, **options: Any) -> list[Conversation | Dropped]:
    records = [Record(number, f"s.jsonl:{number + 1}", row) for number, row in enumerate(rows)]
    return list(converted(records, FORM, Conversion("d", compat=compat, options=FORM.options(options))))


ROWS: list[dict[str, Any]] = [
    {"id": "a", "conversations": said(("gpt", "x"), ("human", " h "), ("gpt", "g\n"), ("human", "bye"))},
    {"id": "b", "conversations": said(("user", "h"), ("chatgpt", "g"))},
    {"id": "c", "conversations": said(("system", "s"), ("human", "h"), ("gpt", "g"))},
    {"id": "d", "conversations": said(("human", "h"), ("bing", "b"))},
    {"id": "e", "conversations": []},
    {"id": "f", "conversations": said(("gpt", "only"))},
    {"id": "g", "conversations": said(("human", None))},
    {"id": "h", "conversations": said(("human", "h"), ("what is\ud800", "g"))},
    {"id": "i", "conversations": said((["human"], "h"))},
    {"conversations": said(("human", "h"), ("human", "h2"), ("gpt", "g"))},
    {"id": 7, "conversations": said(("human", "h"), ("gpt", "g"))},
    {"id": ["x"], "conversations": said(("human", "h"), ("gpt", "g"))},
]


def test_whole_rounds_are_kept_and_other_senders_dropped() -> None:
    items = found(ROWS)
    strange = items.pop(9)
    assert items == [
        talk("d_a", " h ", "g\n"),
        talk("d_b", "h", "g"),
        Dropped("d_c", "sender system"),
        Dropped("d_d", "sender bing"),
        Dropped("d_e", "no question with an answer"),
        Dropped("d_f", "no question with an answer"),
        Dropped("d_g", "value is not text"),
        Dropped("d_h", "unknown sender"),
        Dropped("d_i", "from is not text"),
        talk("d_7", "h", "g"),
        talk("d_11", "h", "g"),
    ]
    assert isinstance(strange, Conversation)
    assert strange.id == "d_9"
    assert reason_to_drop(strange) == "roles do not alternate"


def test_pieces_are_named_by_their_first_turn(tiny_base: Path) -> None:
    """The first turn, an answer to nothing, counts in the index and is no part of any piece."""
    ruler = load_ruler(str(tiny_base), "tulu")
    turns = [("gpt", "x")]
    for number in range(4):
        turns += [("human", f"Count to {number}."), ("gpt", "one, two, three")]
    turns[5] = ("human", "ten, " * 100)
    limit = ruler.length(talk("", turns[1][1], turns[2][1], turns[3][1], turns[4][1]).messages)
    items = found([{"id": "a", "conversations": said(*turns)}], tokenizer=str(tiny_base), max_length_tokens=str(limit))
    assert items == [
        talk("d_a_1", *(text for _, text in turns[1:5])),
        Dropped("d_a_5", TOO_LONG, talk("", *(text for _, text in turns[5:7])).messages),
        talk("d_a_7", *(text for _, text in turns[7:9])),
    ]


def test_with_a_tokenizer_what_is_short_stays_whole_and_the_rest_is_judged_alike(tiny_base: Path) -> None:
    assert [(item.id, type(item)) for item in found(ROWS, tokenizer=str(tiny_base))] == [
        (
            {"d_a": "d_a_1", "d_b": "d_b_0", "d_7": "d_7_0", "d_11": "d_11_0"}.get(item.id, item.id),
            Dropped if item.id == "d_9" else type(item),
        )
        for item in found(ROWS)
    ]
    assert found(ROWS, tokenizer=str(tiny_base))[9] == Dropped("d_9", "roles do not alternate")


def test_the_template_decides_how_long_a_piece_is(tiny_base: Path) -> None:
    """Alpaca's shows one round, and needs more words around it than Tulu's."""
    rows = [{"id": "a", "conversations": said(*[("human", "h"), ("gpt", "g")] * 3)}]
    tulu = found(rows, tokenizer=str(tiny_base), max_length_tokens=2048)
    alpaca = found(rows, tokenizer=str(tiny_base), max_length_tokens=2048, template="alpaca")
    assert [item.id for item in tulu] == ["d_a_0"]
    assert [item.id for item in alpaca] == ["d_a_0", "d_a_2", "d_a_4"]
    limit = load_ruler(str(tiny_base), "alpaca").length(talk("", "h", "g").messages) - 1
    short = found(rows, tokenizer=str(tiny_base), max_length_tokens=limit, template="alpaca")
    assert {item.reason for item in short if isinstance(item, Dropped)} == {TOO_LONG}
    assert len(short) == 3


def test_text_that_no_tokenizer_takes_costs_its_piece_only(tiny_base: Path) -> None:
    turns = [("human", "h"), ("gpt", "\ud800 " * 60), ("human", "h"), ("gpt", "g " * 60)]
    items = found([{"id": "a", "conversations": said(*turns)}], tokenizer=str(tiny_base), max_length_tokens=200)
    assert [item.id for item in items if isinstance(item, Conversation)] == ["d_a_0", "d_a_2"]
    assert [reason_to_drop(item) for item in items if isinstance(item, Conversation)] == [
        "text is not valid Unicode",
        None,
    ]


def test_compat_without_a_tokenizer_is_the_converter_alone() -> None:
    items = found(ROWS, compat=True)
    assert items[0] == talk("d_a", "x", " h ", "g\n", "bye", first=1)
    assert items[2:6] == [
        Dropped("d_c", "sender system"),
        Dropped("d_d", "sender bing"),
        Dropped("d_e", "no messages"),
        talk("d_f", "only", first=1),
    ]


def test_compat_with_a_tokenizer_filters_pieces_by_their_senders_and_tells_what_it_loses(tiny_base: Path) -> None:
    long = ("human", "h"), ("gpt", "g " * 400)
    rows = [
        {"id": "a", "conversations": said(("human", "h"), ("gpt", "g"), ("human", "odd"))},
        {"id": "b", "conversations": said(("user", "h"), ("gpt", "g"))},
        {"id": "c", "conversations": said(("human", "h"), ("gpt", "g"), *long, ("human", "h"), ("gpt", "g"))},
        {"id": "d", "conversations": said(("human", "only"))},
        {"id": "e", "conversations": said(("human", "h"), ("gpt", 3))},
        {"id": "f", "conversations": said(("human", "h"), ("stranger", "g"))},
    ]
    items = found(rows, compat=True, tokenizer=str(tiny_base), max_length_tokens=100)
    assert [item.id if isinstance(item, Conversation) else (item.id, item.reason) for item in items] == [
        "d_a_0",
        ("d_b_0", "not human and gpt in turn"),
        "d_c_0",
        ("d_c_2", LOST),
        ("d_c_4", LOST),
        ("d_d", "fewer than two turns"),
        ("d_e", "value is not text"),
        ("d_f_0", "not human and gpt in turn"),
    ]


def test_what_is_no_list_of_turns_is_named(tmp_path: Path) -> None:
    odd: dict[str, Any] = {"null": None, "text": "text", "a number": 3, "an object": {}}
    for kind, turns in odd.items():
        with pytest.raises(UserError, match=rf"s\.jsonl:1: `conversations` is no list of turns but {kind}"):
            found([{"id": "a", "conversations": turns}])
    for kind, turn in {"null": None, "text": "x", "from": {"from": "human"}, "value": {"value": "x"}}.items():
        with pytest.raises(UserError, match=rf"s\.jsonl:1: a turn without from and value \(found: {kind}; expected"):
            found([{"id": "a", "conversations": [{"from": "human", "value": "x"}, turn]}])
    with pytest.raises(UserError) as caught:
        found([{"id": "a", "conversations": [{"role": "user", "content": "x"}]}])
    assert caught.value.hint == "rename `conversations` to `messages` and give the format messages"
    with pytest.raises(UserError, match=r"missing conversations \(found: text; expected: conversations\)"):
        found([{"text": "x"}])
    with pytest.raises(UserError, match="no tokenizer at"):
        found(ROWS, tokenizer=str(tmp_path / "none"))
    for wrong in ({"tokeniser": "x"}, {"max_length_tokens": "0"}, {"max_length_tokens": "many"}):
        with pytest.raises(UserError, match="options of sharegpt"):
            FORM.options(wrong)


SENDERS = st.sampled_from(["human", "gpt", "user", "chatgpt", "system", "bing", "\ud800"])
TEXTS = st.sampled_from(["The sea is wide.", "", " ", "\ud800", "</s>"]) | st.text(max_size=60)
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
IN_TURN = st.lists(st.tuples(TEXTS, TEXTS), max_size=8).map(
    lambda rounds: said(*(turn for ask, answer in rounds for turn in (("human", ask), ("gpt", answer))))
)
TURNS = st.fixed_dictionaries({"from": SENDERS, "value": TEXTS})
ODD_TURNS = st.fixed_dictionaries({"from": SENDERS | ODD, "value": TEXTS | ODD})


@given(
    turns=st.one_of(IN_TURN, st.lists(TURNS, max_size=8), st.lists(TURNS | ODD_TURNS, max_size=5), ODD),
    own=st.one_of(st.just("id"), ODD),
    limit=st.none() | st.integers(1, 200),
    compat=st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_whatever_a_record_holds_nothing_is_lost_silently(
    tiny_base: Path, turns: Any, own: Any, limit: int | None, compat: bool
) -> None:
    options = {} if limit is None else {"tokenizer": str(tiny_base), "max_length_tokens": limit}
    try:
        items = found([{"id": own, "conversations": turns}], compat=compat, **options)
        told = ""
    except UserError as error:
        items, told = [], error.message
    assert items or "s.jsonl:1" in told
    assert len({item.id for item in items}) == len(items)
    ruler = load_ruler(str(tiny_base), "tulu")
    for item in items:
        assert isinstance(item, Conversation | Dropped)
        assert all(isinstance(message.content, str) for message in item.messages)
        json.dumps([item.id, [message.as_json() for message in item.messages]])
        if isinstance(item, Conversation) and limit is not None and not compat:
            assert [message.role for message in item.messages] == ["user", "assistant"] * (len(item.messages) // 2)
            assert 0 < ruler.length(item.messages) <= limit


@given(turns=IN_TURN, limit=st.integers(1, 200), compat=st.booleans())
@settings(max_examples=100, deadline=None)
def test_pieces_and_lost_rounds_are_the_conversation(
    tiny_base: Path, turns: list[dict[str, Any]], limit: int, compat: bool
) -> None:
    items = found(
        [{"id": "a", "conversations": turns}], compat=compat, tokenizer=str(tiny_base), max_length_tokens=limit
    )
    assert [message.content for item in items for message in item.messages] == [turn["value"] for turn in turns]
    places = [len([m for item in items[:number] for m in item.messages]) for number in range(len(items))]
    if turns:
        assert [item.id for item in items] == [f"d_a_{place}" for place in places]
