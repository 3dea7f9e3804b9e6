"""`prepare`: what is kept, drawn, held out, dropped and recorded, and that nothing is lost without a count."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import CommandLine

from packtrain.core.conversation import read_conversations
from packtrain.core.errors import UserError
from packtrain.core.manifest import read_manifest, sha256_of_file
from packtrain.core.recipe import Data, Source
from packtrain.data import prepare as prepare_module
from packtrain.data.identities import Identities
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
            "nothing left .* the files of a hold no records",
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


def test_a_provenance_that_is_no_unicode_is_kept_and_copied(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    record = {"id": "a", "messages": turns(("user", "q"), ("assistant", "a\u2028")), "provenance": {"of": "\ud800"}}
    path.write_text(json.dumps(record))
    prepare({"m": Source(format="messages", path=str(path), repeat=2)}, tmp_path / "out", seed=1)
    found = list(read_conversations(tmp_path / "out" / "train.jsonl"))
    assert [conversation.id for conversation in found] == ["a", "a#2"]
    assert {conversation.provenance["of"] for conversation in found} == {"\ud800"}
    assert {conversation.messages[1].content for conversation in found} == {"a\u2028"}


def test_what_is_dropped_after_cleaning_does_not_count_as_mended(tmp_path: Path) -> None:
    rows = [{"instruction": text, "input": "<noinput>", "output": "a"} for text in ("Go.", "Stop.\0", "Go.")]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    source = Source(format="alpaca", path=str(tmp_path / "a.json"), clean=("placeholder_input",))
    report = prepare(Data(sources={"a": source}, duplicates="exact"), tmp_path / "out", seed=1)
    assert report.sources["a"].dropped == {"NUL character in the text": 1, "repeats a record of the same set": 1}
    assert report.sources["a"].mended == {"placeholder_input": 1}


def test_settings_that_make_no_sense_are_told_with_their_source_before_anything_is_read(tmp_path: Path) -> None:
    good = alpaca(tmp_path / "a.json", 3)
    for change, message in (
        ({"format": "alpacca"}, "b: unknown data format: alpacca"),
        ({"clean": ("cleen",)}, "b: unknown cleaning rule: cleen"),
        ({"options": {"x": 1}}, "b: the format alpaca has no options"),
    ):
        (tmp_path / "a.json").write_text("[broken")
        with pytest.raises(UserError, match=message):
            prepare({"a": good, "b": good.model_copy(update=change)}, tmp_path / "out", seed=1)


def test_an_input_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = alpaca(tmp_path / "a.json", 3)
    read_chunks = prepare_module.read_chunks

    def and_write(paths: Any) -> Any:
        yield from read_chunks(paths)
        alpaca(tmp_path / "a.json", 4)

    monkeypatch.setattr(prepare_module, "read_chunks", and_write)
    with pytest.raises(UserError, match="changed while it was being read: .*a.json"):
        prepare({"a": source}, tmp_path / "out", seed=1)
    assert not list(tmp_path.glob("out*"))


def test_standard_input_can_be_one_source(tmp_path: Path, packtrain: CommandLine) -> None:
    row = json.dumps({"instruction": "Go.", "input": "", "output": "Gone."})
    done = packtrain("data", "prepare", "alpaca", "-", "--out", "a.jsonl", "--jobs", 2, cwd=tmp_path, stdin=row)
    assert done.returncode == 0, done.stderr
    assert ids(tmp_path / "a.jsonl") == ["stanford_alpaca_0"]
    both = {name: Source(format="alpaca", path="-") for name in "ab"}
    with pytest.raises(UserError, match="standard input is the path of several sources: a, b"):
        prepare(both, tmp_path / "out", seed=1)


@pytest.mark.parametrize("name", ["out.json", "out.jsonl.gz", "out.JSONL", "out.csv"])
def test_files_of_other_kinds_are_not_taken_for_folders(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="files are written as .jsonl"):
        prepare({"a": alpaca(tmp_path / "a.json", 3)}, tmp_path / name, seed=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json"]


def test_ids_cost_no_dictionary_entry_each() -> None:
    found = Identities()
    names = [f"{hex(n * 2654435761 % 2**32)}-0" for n in range(5000)] + [f"a{n}" for n in range(3000)]
    assert all(found.add(name) for name in names)
    assert not any(found.add(name) for name in names)
    assert len(found._next) <= 1024


def test_compat_keeps_a_second_record_of_the_same_id(tmp_path: Path) -> None:
    """As the original: Super-NaturalInstructions has such ids."""
    path = tmp_path / "m.jsonl"
    rows = [{"messages": turns(("user", "q"), ("assistant", answer)), "id": "same"} for answer in "ab"]
    path.write_text("\n".join(map(json.dumps, rows)))
    report = prepare({"m": Source(format="messages", path=str(path))}, tmp_path / "out", seed=1, compat=True)
    assert (report.train, report.sources["m"].dropped.total()) == (2, 0)
    assert ids(tmp_path / "out" / "train.jsonl") == ["same", "same"]


def test_compat_and_what_contradicts_it_are_refused(packtrain: Any, tmp_path: Path) -> None:
    alpaca(tmp_path / "a.json", 3)
    for contradiction in (["--clean", "clean"], ["--wording", "plain"], ["--duplicates", "exact"]):
        refused = packtrain(
            "data", "prepare", "alpaca", "a.json", "--out", "o", "--compat", *contradiction, cwd=tmp_path
        )
        assert refused.returncode == 2
        assert "--compat repeats the original converter" in refused.stderr
    assert not (tmp_path / "o").exists()


def test_a_pipe_is_read_once_and_not_hashed(packtrain: Any, tmp_path: Path) -> None:
    import os
    import threading

    os.mkfifo(tmp_path / "pipe")
    rows = b"".join(b'{"instruction": "Say %d.", "output": "%d"}\n' % (n, n) for n in range(50))
    feeder = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(rows))
    feeder.start()
    done = packtrain("data", "prepare", "alpaca", "pipe", "--out", "out.jsonl", "--json", cwd=tmp_path)
    feeder.join()
    assert json.loads(done.stdout)["train"] == 50, done.stderr
    for verb in (["dedup", "pipe", "--out", "x.jsonl"], ["decontaminate", "pipe", "--against", "out.jsonl"]):
        refused = packtrain("data", *verb, cwd=tmp_path)
        assert (refused.returncode, "is a pipe" in refused.stderr) == (2, True), refused.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--option", "top_k=1", "--option", "top_k=2"], "--option top_k is given twice"),
        (["--option", "top=1"], "there is no top"),
        (["--name", " "], "not a name for a data set"),
        (["--duplicates", "fuzzy"], "not one of keep, exact, near"),
    ],
)
def test_wrong_options_of_the_command(packtrain: Any, tmp_path: Path, options: list[str], message: str) -> None:
    (tmp_path / "t.jsonl").write_text("{}")
    refused = packtrain("data", "prepare", "oasst1", "t.jsonl", "--out", "o", *options, cwd=tmp_path)
    assert refused.returncode == 2
    assert message in refused.stderr
