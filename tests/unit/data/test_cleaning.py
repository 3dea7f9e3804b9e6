"""Which rules run, in which order, and what is counted."""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packtrain.core.conversation import Conversation, Message
from packtrain.core.errors import UserError
from packtrain.core.folder import names
from packtrain.data.clean import Stage
from packtrain.data.cleaning import RULES, Cleaner, load_rules


def talk(question: str, answer: str, context: str | None = None) -> Conversation:
    return Conversation("toy", "toy_0", (Message("user", question, context), Message("assistant", answer)))


def chosen(*wanted: str) -> list[str]:
    return [rule.name for rule in load_rules(wanted)]


def test_presets_names_and_what_is_left_out() -> None:
    every = sorted(set(names(RULES, ".py")) - {"language"})
    assert chosen("paper") == chosen() == chosen("") == []
    assert sorted(chosen("clean")) == every
    assert (
        chosen("identity", "html") == chosen("identity,html") == chosen("html, identity,html") == ["html", "identity"]
    )
    assert (
        sorted(chosen("clean,-identity")) == sorted(chosen("-identity", "clean")) == sorted(set(every) - {"identity"})
    )
    assert chosen("paper", "too_short") == ["too_short"]


def test_what_mends_runs_before_what_drops() -> None:
    stages = [rule.stage for rule in load_rules()]
    assert stages == sorted(stages)
    order = [(rule.stage, rule.name) for rule in load_rules()]
    assert order == sorted(order)
    assert order[0] == (Stage.MARKUP, "html")
    assert {name for stage, name in order if stage is Stage.CHOICE} == {"identity", "too_short", "vendor_words"}


@pytest.mark.parametrize(
    ("wanted", "message", "hint"),
    [
        (["identitty"], "unknown cleaning rule: identitty", "did you mean identity?"),
        (["clean,-nosuch"], "unknown cleaning rule: nosuch", "there are: paper, clean, control_tokens, copy_code"),
        (["-identity"], "rules to leave out are not among those chosen: identity", "such as: clean,-identity"),
        (["html,-identity"], "rules to leave out are not among those chosen: identity", "such as: clean,-identity"),
        (["language"], "the cleaning rule language needs an argument", "as in `language=en`"),
        (["identity=x"], "the cleaning rule identity takes no argument", "Drop conversations that name"),
    ],
)
def test_wrong_names_are_told(wanted: list[str], message: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        Cleaner(wanted)
    assert caught.value.message == message
    assert hint in caught.value.hint


def test_counts_what_was_mended_and_why_what_was_dropped() -> None:
    cleaner = Cleaner(["clean"])
    lake = talk("Name a lake in Europe.", "Lake Como")
    assert cleaner.apply(lake) is lake
    assert cleaner.apply(talk("Name a lake in Europe.", "Lake Como", "<noinput>")) == lake
    assert cleaner.apply(talk("Name a lake in Europe.", "1 / 1\n\nLake Como", "No input")) == lake
    reason = "identity: names another assistant"
    assert cleaner.apply(talk("Who?", "I am ChatGPT, a model.", "<noinput>")) == reason
    assert cleaner.apply(talk("Hi", "Ho")) == "too_short: fewer than 16 characters"
    assert cleaner.mended == {"placeholder_input": 2, "regenerate_counter": 1}
    assert cleaner.dropped == {reason: 1, "too_short: fewer than 16 characters": 1}


def test_goes_to_a_worker_and_back() -> None:
    cleaner = Cleaner(["clean,-identity"])
    cleaner.apply(talk("Name a lake in Europe.", "Lake Como", "<noinput>"))
    copy = pickle.loads(pickle.dumps(cleaner))
    assert copy.rules == cleaner.rules
    assert copy.mended == {"placeholder_input": 1}
    assert copy.apply(talk("Hi", "Ho")) == "too_short: fewer than 16 characters"


@given(st.text(), st.text(), st.one_of(st.none(), st.text()))
def test_the_paper_preset_returns_the_same_object(question: str, answer: str, context: str | None) -> None:
    cleaner, conversation = Cleaner(["paper"]), talk(question, answer, context)
    assert cleaner.apply(conversation) is conversation
    assert not cleaner.mended
    assert not cleaner.dropped


def alpaca_rows(path: Path) -> Iterator[Conversation]:
    for row in json.loads(path.read_text(encoding="utf-8")):
        yield talk(row["instruction"], row["output"], row["input"] or None)


@pytest.mark.real_data
def test_alpaca_cleaned_once_is_clean(shared: Path) -> None:
    cleaner = Cleaner(["clean"])
    rows = list(alpaca_rows(shared / "data" / "alpaca" / "random_9k.json"))
    once = [found for row in rows if not isinstance(found := cleaner.apply(row), str)]
    assert {reason.partition(":")[0] for reason in cleaner.dropped} == {
        "empty_answer", "identity", "link_input", "media", "merged_item", "no_output",
    }  # fmt: skip
    assert cleaner.mended.keys() == {"placeholder_input"}
    assert len(rows) - len(once) == sum(cleaner.dropped.values())
    assert 80 <= len(rows) - len(once) <= 120  # about one in a hundred
    again = Cleaner(["clean"])
    assert all(again.apply(conversation) is conversation for conversation in once)
