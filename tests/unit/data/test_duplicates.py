"""Exact duplicates and the file without duplicates: the first of equals stays, the others are kept aside."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packtrain.core.conversation import Conversation, Message
from packtrain.core.errors import UserError
from packtrain.data.overlap.deduplicate import deduplicate
from packtrain.data.overlap.exact_duplicates import KEY_BYTES, ExactDuplicates, exact_key


def asked(question: str, answer: str = "Yes.", context: str | None = None, *, identity: str = "1") -> Conversation:
    return Conversation("toy", identity, (Message("user", question, context), Message("assistant", answer)))


def write(path: Path, *conversations: Conversation, **more: Any) -> Path:
    records = [{**conversation.as_json(), **more} for conversation in conversations]
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    "same",
    [
        asked("What is café?", identity="other"),
        asked("  What\tis \n café? "),
        asked("What is cafe\N{COMBINING ACUTE ACCENT}?"),
        asked("What is café?", context=""),
        asked("What is café?", context=" \n"),
    ],
)
def test_spacing_unicode_form_and_identity_do_not_count(same: Conversation) -> None:
    key = exact_key(asked("What is café?"))
    assert len(key) == KEY_BYTES
    assert exact_key(same) == key


@pytest.mark.parametrize(
    "other",
    [
        asked("What is Café?"),
        asked("What is café"),
        asked("What is café?", "Yes"),
        asked("What is", context="café?"),
        asked("What is café? Yes.", ""),
        Conversation("toy", "1", (Message("user", "What is café?"),)),
        Conversation("toy", "1", (Message("system", "What is café?"), Message("assistant", "Yes."))),
        Conversation("toy", "1", (*asked("What is café?").messages, *asked("What is café?").messages)),
    ],
)
def test_words_roles_and_borders_count(other: Conversation) -> None:
    assert exact_key(other) != exact_key(asked("What is café?"))


def test_the_key_is_the_same_on_every_machine() -> None:
    assert exact_key(asked("Name a colour.", "Red.")).hex() == "3edd9cda13b4fcea3d4a3068b3ad93f0"
    assert exact_key(asked("half a pair: \ud800")) != exact_key(asked("half a pair: \ud801"))


def test_the_first_identity_stays() -> None:
    seen = ExactDuplicates[str]()
    assert seen.first_of(b"a", "one") is None
    assert seen.first_of(b"b", "two") is None
    assert seen.first_of(b"a", "three") == "one"
    assert seen.first_of(b"a", "one") == "one"
    seen.attribute(b"b", "one")
    assert seen.first_of(b"b", "four") == "one"


def test_duplicates_are_dropped_with_what_they_repeat(tmp_path: Path) -> None:
    long = "List three things that one should pack for a long walk in the hills in autumn"
    source = write(
        tmp_path / "all.jsonl",
        asked("Name a colour.", "Red.", identity="1"),
        asked(long, "Bread.", identity="2"),
        Conversation("other", "1", asked("Name a  colour.", "Red.").messages),
        asked(long + ", please", "Cheese.", identity="3"),
        asked(long + ", please", "Cheese.", identity="4"),
        asked("Name a colour.", "Blue.", identity="5"),
        note="kept as it stands",
    )
    report = deduplicate(source, tmp_path / "once.jsonl", report=tmp_path / "pairs.jsonl")

    assert lines(tmp_path / "once.jsonl") == lines(source)[:2]
    dropped = lines(tmp_path / "once.dropped.jsonl")
    assert [(record["dataset"], record["id"], record["reason"], record["duplicate_of"]) for record in dropped] == [
        ("other", "1", "repeats a record of another set", {"dataset": "toy", "id": "1"}),
        ("toy", "3", "nearly repeats a record of the same set", {"dataset": "toy", "id": "2"}),
        ("toy", "4", "repeats a record of the same set", {"dataset": "toy", "id": "2"}),
        ("toy", "5", "nearly repeats a record of the same set", {"dataset": "toy", "id": "1"}),
    ]
    assert {**dropped[0], "reason": 0, "duplicate_of": 0} == {**lines(source)[2], "reason": 0, "duplicate_of": 0}
    pairs = lines(tmp_path / "pairs.jsonl")
    assert [(pair["id"], pair["kind"], pair["similarity"]) for pair in pairs] == [
        ("1", "exact", 1.0),
        ("3", "near", 0.9333),
        ("4", "exact", 1.0),
        ("5", "near", 1.0),
    ]
    assert report.figures() == {
        "read": 6,
        "kept": 2,
        "dropped": {"exact": 2, "near": 2},
        "pairs": [
            {"dataset": "toy", "repeats": "toy", "kind": "near", "records": 2},
            {"dataset": "other", "repeats": "toy", "kind": "exact", "records": 1},
            {"dataset": "toy", "repeats": "toy", "kind": "exact", "records": 1},
        ],
    }


def test_exact_only_keeps_near_duplicates(tmp_path: Path) -> None:
    source = write(tmp_path / "all.jsonl", asked("Why?", "A."), asked("Why?", "B."), asked("Why?", "A."))
    report = deduplicate(source, tmp_path / "once.jsonl", threshold=None)
    assert (report.read, report.kept, report.dropped("exact"), report.dropped("near")) == (3, 2, 1, 0)


QUESTIONS = st.lists(st.sampled_from(["red", "green", "blue", "red,", "green ", ""]), min_size=0, max_size=6)


@given(st.lists(QUESTIONS, min_size=1, max_size=12))
def test_deduplication_keeps_order_loses_nothing_and_is_done_after_once(
    tmp_path_factory: pytest.TempPathFactory, questions: list[list[str]]
) -> None:
    folder = tmp_path_factory.mktemp("dedup")
    conversations = [asked(" ".join(words), identity=str(number)) for number, words in enumerate(questions)]
    source = write(folder / "all.jsonl", *conversations)
    deduplicate(source, folder / "once.jsonl")
    deduplicate(folder / "once.jsonl", folder / "twice.jsonl")

    kept = [int(record["id"]) for record in lines(folder / "once.jsonl")]
    dropped = {int(record["id"]): int(record["duplicate_of"]["id"]) for record in lines(folder / "once.dropped.jsonl")}
    assert kept == sorted(kept)
    assert sorted([*kept, *dropped]) == list(range(len(questions)))
    assert all(first in kept and first < number for number, first in dropped.items())
    assert (folder / "twice.jsonl").read_bytes() == (folder / "once.jsonl").read_bytes()
    assert (folder / "twice.dropped.jsonl").read_bytes() == b""


def test_odd_records_pass_through(tmp_path: Path) -> None:
    odd = [asked(text, str(number)) for number, text in enumerate(["", " ", "???", "\ud800", "word " * 200_000])]
    source = write(tmp_path / "odd.jsonl", *odd)
    assert deduplicate(source, tmp_path / "once.jsonl").kept == len(odd)
    assert lines(tmp_path / "once.jsonl") == lines(source)


def test_errors_say_what_and_where(tmp_path: Path) -> None:
    source = write(tmp_path / "all.jsonl", asked("Why?"))
    with pytest.raises(UserError, match="holds no conversations"):
        deduplicate(write(tmp_path / "empty.jsonl"), tmp_path / "out.jsonl")
    (tmp_path / "cut.jsonl").write_text(source.read_text() + '{"dataset": "toy", "id"')
    with pytest.raises(UserError, match=r"cut\.jsonl:2: not valid JSON"):
        deduplicate(tmp_path / "cut.jsonl", tmp_path / "out.jsonl")
    with pytest.raises(UserError, match="cannot read"):
        deduplicate(tmp_path / "absent.jsonl", tmp_path / "out.jsonl")
    with pytest.raises(UserError, match="its own input"):
        deduplicate(source, source, overwrite=True)
    with pytest.raises(UserError, match="two outputs"):
        deduplicate(source, tmp_path / "out.jsonl", report=tmp_path / "out.jsonl")
    with pytest.raises(UserError, match=r"threshold 0\.1"):
        deduplicate(source, tmp_path / "out.jsonl", threshold=0.1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.jsonl", "cut.jsonl", "empty.jsonl"]
    (tmp_path / "out.dropped.jsonl").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        deduplicate(source, tmp_path / "out.jsonl")
    deduplicate(source, tmp_path / "out.jsonl", overwrite=True)
    assert (tmp_path / "out.dropped.jsonl").read_text() == ""


def test_the_command(tmp_path: Path, packtrain: Any) -> None:
    source = write(tmp_path / "all.jsonl", asked("Why?", "A."), asked("Why?", "B.", identity="2"))
    finished = packtrain("data", "dedup", source, "--out", tmp_path / "once.jsonl")
    assert finished.returncode == 0, finished.stderr
    assert "toy nearly repeats itself" in finished.stdout
    again = packtrain("data", "dedup", source, "--out", tmp_path / "exact.jsonl", "--exact-only", "--json")
    assert json.loads(again.stdout)["kept"] == 2
    assert packtrain("data", "dedup", source, "--out", tmp_path / "once.jsonl").returncode == 2
