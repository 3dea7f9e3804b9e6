"""`prepare`: what is kept, drawn, held out, dropped and recorded, and that nothing is lost without a count."""

import json
from pathlib import Path
from typing import Any

import pytest

from packtrain.core.conversation import read_conversations
from packtrain.core.errors import UserError
from packtrain.core.manifest import read_manifest, sha256_of_file
from packtrain.core.recipe import Source
from packtrain.data.prepare import prepare


def alpaca(path: Path, count: int, *extra: dict[str, Any]) -> Source:
    rows = [{"instruction": f"Say {number}.", "input": "", "output": str(number)} for number in range(count)]
    path.write_text(json.dumps([*rows, *extra]), encoding="utf-8")
    return Source(format="alpaca", path=str(path), license="mit")


def ids(path: Path) -> list[str]:
    return [conversation.id for conversation in read_conversations(path)]


def test_everything_read_is_kept_or_counted(tmp_path: Path) -> None:
    empty = {"instruction": "Nothing.", "input": "", "output": " \n"}
    sources = {"first": alpaca(tmp_path / "a.json", 5, empty), "second": alpaca(tmp_path / "b.json", 3)}
    report = prepare(sources, tmp_path / "out", seed=1)

    train = list(read_conversations(tmp_path / "out" / "train.jsonl"))
    assert [(conversation.dataset, conversation.id) for conversation in train] == [
        *(("first", f"first_{number}") for number in range(5)),
        *(("second", f"second_{number}") for number in range(3)),
    ]
    dropped = [json.loads(line) for line in (tmp_path / "out" / "dropped.jsonl").read_text().splitlines()]
    said = [{"role": "user", "content": "Nothing."}, {"role": "assistant", "content": " \n"}]
    assert dropped == [{"dataset": "first", "id": "first_5", "reason": "empty answer", "messages": said}]
    none = {"held_out": 0, "not_drawn": 0, "repeated": 0, "mended": {}}
    counts = {
        "first": {"read": 6, "train": 5, **none, "dropped": {"empty answer": 1}},
        "second": {"read": 3, "train": 3, **none, "dropped": {}},
    }
    assert report.figures() == {"train": 8, "held_out": 0, "sources": counts}

    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert manifest.figures == report.figures()
    assert manifest.seed == 1
    assert manifest.inputs["first"] == {"a.json": sha256_of_file(tmp_path / "a.json")}
    assert sorted(manifest.outputs) == ["dropped.jsonl", "train.jsonl"]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["dropped.jsonl", "run.json", "train.jsonl"]


def turns(*roles_and_texts: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in roles_and_texts]


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (turns(("system", "s"), ("user", "q"), ("assistant", "a")), None),
        (turns(("user", "q"), ("assistant", "a"), ("user", "q"), ("assistant", "a")), None),
        (turns(("system", "s")), "no messages"),
        (turns(("user", "q"), ("system", "s"), ("assistant", "a")), "roles do not alternate"),
        (turns(("user", "q"), ("user", "q"), ("assistant", "a")), "roles do not alternate"),
        (turns(("assistant", "a"), ("user", "q")), "roles do not alternate"),
        (turns(("user", "q"), ("assistant", "a"), ("user", "q")), "last turn is not the assistant's"),
        (turns(("user", "q"), ("assistant", ""), ("user", "q"), ("assistant", "a")), "empty answer"),
        (turns(("user", "\t"), ("assistant", "a")), "empty question"),
        (turns(("user", "q"), ("assistant", "\ud800")), "text is not valid Unicode"),
        (turns(("user", "q\0"), ("assistant", "a")), "NUL character in the text"),
        (turns(("user", "q"), ("assistant", "a</s>b")), "control token in the text"),
        (turns(("user", "<|endoftext|>"), ("assistant", "a")), "control token in the text"),
        (turns(("user", "x < s > y </ s>"), ("assistant", "<b>a</b>")), None),
    ],
)
def test_conversations_that_cannot_be_learnt_from_are_dropped(
    tmp_path: Path, messages: list[dict[str, str]], reason: str | None
) -> None:
    good = {"messages": turns(("user", "q"), ("assistant", "a")), "id": "good"}
    path = tmp_path / "m.jsonl"
    path.write_text("\n".join(map(json.dumps, [good, {"messages": messages, "id": "this"}])))
    report = prepare({"m": Source(format="messages", path=str(path))}, tmp_path / "out", seed=1)
    assert dict(report.sources["m"].dropped) == ({reason: 1} if reason else {})
    assert ids(tmp_path / "out" / "train.jsonl") == ["good"] + ([] if reason else ["this"])


def test_a_second_record_of_the_same_id_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    rows = [{"messages": turns(("user", "q"), ("assistant", answer)), "id": "same"} for answer in "ab"]
    path.write_text("\n".join(map(json.dumps, rows)))
    report = prepare({"m": Source(format="messages", path=str(path))}, tmp_path / "out", seed=1)
    assert dict(report.sources["m"].dropped) == {"id already taken": 1}


def test_draws_depend_on_the_records_and_not_on_their_order(tmp_path: Path) -> None:
    rows = [{"messages": turns(("user", str(n)), ("assistant", "a")), "id": f"r{n}"} for n in range(300)]
    drawn, aside = [], []
    for name, ordered in (("there", rows), ("back", rows[::-1])):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("\n".join(map(json.dumps, ordered)))
        source = Source(format="messages", path=str(path), max_examples=120)
        report = prepare({"m": source}, tmp_path / name, held_out=20, seed=7)
        assert (report.train, report.held_out, report.sources["m"].not_drawn) == (100, 20, 180)
        drawn.append(set(ids(tmp_path / name / "train.jsonl")))
        aside.append(set(ids(tmp_path / name / "held_out.jsonl")))
    assert drawn[0] == drawn[1]
    assert aside[0] == aside[1]
    assert not drawn[0] & aside[0]


def test_another_seed_draws_others_and_the_same_seed_the_same_bytes(tmp_path: Path) -> None:
    source = alpaca(tmp_path / "a.json", 200).model_copy(update={"max_examples": 50})
    for name, seed in (("one", 1), ("again", 1), ("two", 2)):
        prepare({"a": source}, tmp_path / name, held_out=10, seed=seed)
    for file in ("train.jsonl", "held_out.jsonl", "dropped.jsonl"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
    assert ids(tmp_path / "one" / "train.jsonl") != ids(tmp_path / "two" / "train.jsonl")


def test_held_out_rows_come_from_every_source_in_proportion(tmp_path: Path) -> None:
    """Drawn with another key than `max_examples`, or a source cut by it would give all the held-out rows."""
    cut = alpaca(tmp_path / "a.json", 2000).model_copy(update={"max_examples": 100})
    report = prepare({"cut": cut, "whole": alpaca(tmp_path / "b.json", 100)}, tmp_path / "out", held_out=40, seed=3)
    assert 10 <= report.sources["cut"].held_out <= 30
    assert report.held_out == 40


def test_bad_requests_leave_nothing_behind(tmp_path: Path) -> None:
    three = alpaca(tmp_path / "a.json", 3)
    gone = Source(format="alpaca", path=str(tmp_path / "none.json"))
    (tmp_path / "empty.json").write_text("[]")
    (tmp_path / "cut.json").write_text('[{"instruction": "a", "output": "b"}, {"instr')
    cases = [
        ({"a": three}, 3, "held_out is 3, but only 3 conversations were kept"),
        ({"a": gone, "b": gone}, 0, "no such data file: a .*none.json.*, b .*none.json"),
        (
            {"a": Source(format="alpaca", path=str(tmp_path / "empty.json"))},
            0,
            "nothing left .* the files hold no records",
        ),
        (
            {"a": alpaca(tmp_path / "e.json", 0, {"instruction": "x", "output": ""})},
            0,
            "nothing left .* 1 empty answer",
        ),
        ({"a": Source(format="alpaca", path=str(tmp_path / "cut.json"))}, 0, r"record 2 \(line 1\): not valid JSON"),
        ({"a": three.model_copy(update={"format": "alpacca"})}, 0, "unknown data format: alpacca"),
    ]
    for sources, held_out, message in cases:
        with pytest.raises(UserError, match=message):
            prepare(sources, tmp_path / "out", held_out=held_out, seed=1)
    assert not list(tmp_path.glob("out*"))


def test_an_existing_folder_is_kept_unless_overwritten(tmp_path: Path) -> None:
    source = {"a": alpaca(tmp_path / "a.json", 3)}
    prepare(source, tmp_path / "out", seed=1)
    with pytest.raises(UserError, match="exists already"):
        prepare(source, tmp_path / "out", seed=1)
    assert prepare({"b": source["a"]}, tmp_path / "out", seed=1, overwrite=True).train == 3
    assert ids(tmp_path / "out" / "train.jsonl")[0] == "b_0"
