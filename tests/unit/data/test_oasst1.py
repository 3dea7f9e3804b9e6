"""Open Assistant trees: which paths become conversations, by every rule, and what odd trees are told."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packtrain.core.conversation import Conversation, Message
from packtrain.core.errors import UserError
from packtrain.data.conversion import Conversion
from packtrain.data.format import converted, open_format
from packtrain.data.formats.oasst1 import count_paths
from packtrain.data.records import Dropped, Record

FORM = open_format("oasst1")
DELETED = "deleted message, with all below it"
QUESTION = "path ends in a question"


def node(role: str, text: str, *replies: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"message_id": f"id-{text}", "role": role, "text": text, "replies": list(replies), **fields}


def ask(text: str, *replies: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return node("prompter", text, *replies, **fields)


def answer(text: str, *replies: dict[str, Any], quality: Any = None, **fields: Any) -> dict[str, Any]:
    labels = {} if quality is None else {"labels": {"quality": {"value": quality, "count": 3}}}
    return node("assistant", text, *replies, **labels, **fields)


def trees(*prompts: Any) -> list[Record]:
    return [Record(number, f"o.jsonl:{number + 1}", {"prompt": prompt}) for number, prompt in enumerate(prompts)]


def found(*prompts: Any, compat: bool = False, **options: Any) -> list[Conversation | Dropped]:
    return list(converted(trees(*prompts), FORM, Conversion("d", compat=compat, options=FORM.options(options))))


def paths(*prompts: Any, compat: bool = False, **options: Any) -> list[str]:
    """The texts of each conversation, in order."""
    items = found(*prompts, compat=compat, **options)
    return [" ".join(m.content for m in item.messages) for item in items if isinstance(item, Conversation)]


def dropped(*prompts: Any, **options: Any) -> list[tuple[str, str]]:
    return [(item.id, item.reason) for item in found(*prompts, **options) if isinstance(item, Dropped)]


TREE = ask(
    "q1",
    answer("a1", ask("q2", answer("a3"), answer("a4", deleted=True)), ask("q3")),
    answer("a2", ask("gone", answer("below"), deleted=True)),
    answer("a5", ask("q4"), ask("q5")),
)


def test_a_tree_gives_its_paths_to_assistant_leaves_and_says_what_it_leaves_out() -> None:
    def said(*texts: str) -> tuple[Message, ...]:
        return tuple(Message("assistant" if place % 2 else "user", text) for place, text in enumerate(texts))

    assert found(TREE) == [
        Conversation("d", "d_0", said("q1", "a1", "q2", "a3")),
        Dropped("id-a4", DELETED, said("q1", "a1", "q2", "a4")),
        Dropped("id-q3", QUESTION, said("q1", "a1", "q3")),
        Conversation("d", "d_1", said("q1", "a2")),
        Dropped("id-gone", DELETED, said("q1", "a2", "gone")),
        Dropped("id-q4", QUESTION, said("q1", "a5", "q4")),
        Dropped("id-q5", QUESTION, said("q1", "a5", "q5")),
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["q1 a1 q2 a3", "q1 a2"]),
        ({"skip_deleted": "false"}, ["q1 a1 q2 a3", "q1 a1 q2 a4", "q1 a2 gone below"]),
        ({"paths": "leaf_last_assistant"}, ["q1 a1 q2 a3", "q1 a2", "q1 a5"]),
        ({"paths": "all_assistant"}, ["q1 a1", "q1 a1 q2 a3", "q1 a2", "q1 a5"]),
        (
            {"paths": "all_assistant", "skip_deleted": False},
            ["q1 a1", "q1 a1 q2 a3", "q1 a1 q2 a4", "q1 a2", "q1 a2 gone below", "q1 a5"],
        ),
        ({"top_k": "1"}, ["q1 a1 q2 a3"]),
    ],
)
def test_rules_of_paths(options: dict[str, Any], expected: list[str]) -> None:
    assert paths(TREE, **options) == expected


def test_compat_is_the_converter_of_july_2023_and_takes_no_other_options() -> None:
    published: dict[str, Any] = {"paths": "all_assistant", "skip_deleted": False}
    assert paths(TREE, compat=True) == paths(TREE, **published) == paths(TREE, compat=True, **published)
    with pytest.raises(UserError, match="compat takes no options"):
        paths(TREE, compat=True, top_k=1)


def test_top_k_keeps_the_best_replies_of_every_message_with_ties_in_file_order() -> None:
    questions = ask("q2", answer("x"), labels={"quality": {"value": 0.1}}), ask("q3", answer("y"))
    tree = ask("q", answer("low", quality=0.2), answer("best", *questions, quality=0.9), answer("tie", quality=0.2))
    assert paths(tree, top_k=1) == ["q best q2 x"]
    assert paths(tree, top_k=2) == ["q best q2 x", "q best q3 y", "q low"]
    assert paths(tree, top_k=9) == ["q best q2 x", "q best q3 y", "q low", "q tie"]
    assert dropped(tree, top_k=1) == [
        ("id-q3", "reply beyond top_k, with all below it"),
        ("id-low", "reply beyond top_k, with all below it"),
        ("id-tie", "reply beyond top_k, with all below it"),
    ]


def test_top_k_counts_only_messages_that_stay() -> None:
    tree = ask("q", answer("a", quality=1.0, deleted=True), answer("b", quality=0.9, lang="de"), answer("c", lang="en"))
    tree["lang"] = "en"
    assert paths(tree, top_k=1, languages="en") == ["q c"]


@pytest.mark.parametrize("value", [None, "0.9", True, float("nan"), float("inf"), [], {"value": 1}])
def test_a_quality_that_is_no_number_counts_as_none(value: Any) -> None:
    odd = answer("odd", labels={"quality": {"value": value}})
    assert paths(ask("q", odd, answer("good", quality=0.1)), top_k=1) == ["q good"]
    assert paths(ask("q", odd, answer("zero")), top_k=1) == ["q odd"]
    odd_labels: tuple[Any, ...] = (None, [], {"quality": None}, {"quality": 3})
    for labels in odd_labels:
        assert paths(ask("q", answer("first", labels=labels), answer("second")), top_k=1) == ["q first"]


def test_languages_are_judged_message_by_message() -> None:
    german = answer("de", ask("en again", answer("x", lang="en"), lang="en"), lang="de-DE")
    tree = ask("q", answer("en", ask("fr", lang="fr"), lang="en"), german, answer("none"), lang="en")
    assert paths(tree) == ["q de en again x", "q none"]
    assert paths(tree, languages="en") == ["q en"]
    assert paths(tree, languages=["EN", "de"]) == ["q en", "q de en again x"]
    assert paths(tree, languages="de") == []
    other = "message in another language, with all below it"
    assert dropped(tree, languages="en") == [("id-fr", other), ("id-de", other), ("id-none", other)]
    assert paths(ask("q", answer("a", lang="pt-BR"), lang="pt"), languages="pt-BR, pt") == ["q a"]


def test_options_that_do_not_exist_or_cannot_be_are_refused() -> None:
    for options in ({"path": "leaf"}, {"paths": "leaves"}, {"top_k": "0"}, {"languages": " , "}, {"skip_deleted": "x"}):
        with pytest.raises(UserError, match="options of oasst1"):
            FORM.options(options)


def test_ids_run_on_through_the_trees() -> None:
    items = found(ask("q", answer("a"), answer("b")), ask("alone"), ask("q", answer("c")))
    assert [item.id for item in items] == ["d_0", "d_1", "id-alone", "d_2"]


def test_every_rule_is_counted() -> None:
    counts = count_paths(trees(TREE, TREE))
    assert counts == {
        "paths=all_assistant skip_deleted=false": 12,
        "paths=all_assistant": 8,
        "paths=leaf": 4,
        "paths=leaf skip_deleted=false": 6,
        "paths=leaf_last_assistant": 6,
        "paths=leaf top_k=1": 2,
    }
    for name, count in counts.items():
        options: dict[str, Any] = dict(part.split("=") for part in name.split())
        assert len(paths(TREE, TREE, **options)) == count, name


def test_trees_may_be_deep_but_not_go_in_a_circle() -> None:
    tree = answer("end")
    for turn in range(4999):
        tree = (ask, answer)[turn % 2](str(turn), tree)
    (conversation,) = found(tree)
    assert len(conversation.messages) == 5000
    assert [len(text.split()) for text in paths(tree, paths="leaf_last_assistant")] == [5000]

    circle = ask("round")
    circle["replies"] = [answer("and", circle)]
    with pytest.raises(UserError, match=r"o\.jsonl:1: more than 10,000 replies deep"):
        found(circle)


def test_what_is_no_message_is_named() -> None:
    with pytest.raises(UserError, match=r"o\.jsonl:1: unknown role 'bot'"):
        found(node("bot", "hi"))
    with pytest.raises(UserError, match=r"o\.jsonl:1: unknown role \(a list\)"):
        found({"role": ["bot"], "text": "hi"})
    with pytest.raises(UserError, match=r"o\.jsonl:2: a message without text and role \(found: body; expected"):
        found(answer("hi"), {"body": "x"})
    with pytest.raises(UserError, match=r"a message without text and role \(found: null; expected"):
        found(None)
    with pytest.raises(UserError, match=r"`replies` is no list but text"):
        found(ask("q", replies="abc"))
    with pytest.raises(UserError, match=r"o:1: missing prompt \(found: text; expected: prompt\)"):
        list(FORM.convert(Record(0, "o:1", {"text": "x"}), Conversion("d")))


def test_early_exports_and_missing_fields_are_read() -> None:
    assert paths(
        {"role": "prompter", "text": "q", "replies": [{"role": "assistant", "text": "a", "replies": None}]}
    ) == ["q a"]
    assert dropped({"role": "prompter", "text": None}) == [("tree 0", "text is not text")]
    assert dropped({"role": "gone", "text": None, "deleted": True}) == [("tree 0", DELETED)]
    assert dropped(ask("q", message_id=7)) == [("tree 0", QUESTION)]
    record = Record(3, "o:4", {"message_tree_id": "t", "prompt": {"role": "prompter", "text": "q"}})
    (item,) = FORM.convert(record, Conversion("d"))
    assert item.id == "t"


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


def _nodes(replies: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    quality = st.fixed_dictionaries({"quality": st.fixed_dictionaries({"value": st.floats() | st.integers() | ODD})})
    optional = {
        "replies": replies,
        "deleted": st.booleans() | ODD,
        "lang": st.sampled_from(["en", "de-DE"]) | ODD,
        "labels": quality | ODD,
        "message_id": ODD,
    }
    roles, texts = st.sampled_from(["prompter", "assistant"]), st.text(max_size=3)
    plain = st.fixed_dictionaries({"role": roles, "text": texts}, optional=optional)
    odd = st.fixed_dictionaries({}, optional={"role": roles | ODD, "text": texts | ODD, **optional})
    return st.one_of(plain, plain, plain, odd)


TREES = st.recursive(_nodes(st.just([])), lambda inner: _nodes(st.lists(inner, max_size=3) | ODD), max_leaves=8)


@given(
    prompt=TREES | ODD,
    options=st.fixed_dictionaries(
        {},
        optional={
            "paths": st.sampled_from(["leaf", "leaf_last_assistant", "all_assistant"]),
            "skip_deleted": st.booleans(),
            "top_k": st.integers(1, 3),
            "languages": st.sampled_from(["en", "de", "en,de"]),
        },
    ),
    compat=st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_whatever_a_tree_holds_nothing_is_lost_silently(prompt: Any, options: dict[str, Any], compat: bool) -> None:
    conversion = Conversion("d", compat=compat, options={} if compat else FORM.options(options))
    try:
        items = list(FORM.convert(Record(0, "o:1", {"prompt": prompt}), conversion))
        told = ""
    except UserError as error:
        items, told = [], error.message
    assert items or "o:1" in told
    for item in items:
        assert isinstance(item, Conversation | Dropped)
        assert all(isinstance(message.content, str) for message in item.messages)
        if isinstance(item, Conversation):
            assert item.messages[-1].role == "assistant"
        json.dumps([message.as_json() for message in item.messages])
