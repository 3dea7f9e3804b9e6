"""Mixtures: shares, repetitions, duplicates within and across sources, and the account of it all."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import CommandLine

from packtrain.core.conversation import Conversation, read_conversations
from packtrain.core.errors import UserError
from packtrain.core.manifest import sha256_of_file
from packtrain.core.recipe import Data, Mixture, Source
from packtrain.core.recipe_file import load_mixture, load_recipe, mixture_names
from packtrain.data.cleaning import load_rules
from packtrain.data.mix import mix
from packtrain.data.prepare import prepare


def messages(path: Path, *pairs: tuple[str, str]) -> Source:
    rows = [
        {"id": f"{path.stem}{n}", "messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
        for n, (q, a) in enumerate(pairs)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return Source(format="messages", path=str(path), license="mit")


def numbered(path: Path, count: int) -> Source:
    return messages(path, *((f"{path.stem} question {n}", str(n)) for n in range(count)))


def read(path: Path) -> list[Conversation]:
    return list(read_conversations(path))


def dropped(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_fraction_and_max_examples_take_the_smaller_and_repeat_copies(tmp_path: Path) -> None:
    source = numbered(tmp_path / "a.jsonl", 40)
    cases = [
        ({"fraction": 0.25}, 10),
        ({"fraction": 0.25, "max_examples": 30}, 10),
        ({"fraction": 0.5, "max_examples": 7}, 7),
        ({"fraction": 0.001}, 1),
        ({"fraction": 1.0}, 40),
        ({"max_examples": 7, "repeat": 3}, 21),
    ]
    for number, (settings, expected) in enumerate(cases):
        out = tmp_path / f"out{number}"
        report = prepare({"a": source.model_copy(update=settings)}, out, seed=1)
        found = read(out / "train.jsonl")
        assert len(found) == report.train == expected
        assert len({conversation.id for conversation in found}) == expected
    originals = [conversation.id for conversation in found if "#" not in conversation.id]
    assert [conversation.id for conversation in found] == [
        name for first in originals for name in (first, f"{first}#2", f"{first}#3")
    ]
    assert (report.sources["a"].repeated, report.sources["a"].not_drawn) == (14, 33)


def test_copies_never_share_an_id_with_another_record(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    said = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    path.write_text("".join(json.dumps({"id": name, "messages": said}) + "\n" for name in ("x", "x#2", "x##2", "y#")))
    prepare({"a": Source(format="messages", path=str(path), repeat=3)}, tmp_path / "out", seed=1)
    found = [conversation.id for conversation in read(tmp_path / "out/train.jsonl")]
    assert len(set(found)) == len(found) == 12
    assert found[:4] == ["x", "x###2", "x###3", "x#2"]


def test_a_smaller_draw_is_part_of_a_larger_one(tmp_path: Path) -> None:
    source = numbered(tmp_path / "a.jsonl", 60)
    drawn = []
    for size in (10, 30):
        prepare({"a": source.model_copy(update={"max_examples": size})}, tmp_path / str(size), seed=5)
        drawn.append({conversation.id for conversation in read(tmp_path / str(size) / "train.jsonl")})
    assert drawn[0] < drawn[1]


def test_equal_conversations_are_found_within_and_across_sources(tmp_path: Path) -> None:
    first = messages(tmp_path / "one.jsonl", ("Say hi.", "Hi!"), ("Say  hi.", "Hi! "), ("Say hi.", "Hello!"))
    second = messages(tmp_path / "two.jsonl", ("Say hi.", "Hi!"), ("Say bye.", "Bye!"))
    data = Data(sources={"one": first, "two": second}, duplicates="exact")
    report = prepare(data, tmp_path / "out", seed=1)
    assert dict(report.sources["one"].dropped) == {"repeats a record of the same set": 1}
    assert dict(report.sources["two"].dropped) == {"repeats a record of another set": 1}
    assert [c.id for c in read(tmp_path / "out/train.jsonl")] == ["one0", "one2", "two1"]
    beside = dropped(tmp_path / "out/dropped.jsonl")
    assert [(row["id"], row["duplicate_of"]) for row in beside] == [
        ("one1", {"dataset": "one", "id": "one0"}),
        ("two0", {"dataset": "one", "id": "one0"}),
    ]
    assert beside[1]["messages"][0]["content"] == "Say hi."


def test_nearly_equal_questions_are_found_and_the_first_stays(tmp_path: Path) -> None:
    long = "Write a short story about a small grey dog who finds a golden key in the garden of an old house"
    again = f"{long}, please."
    first = messages(tmp_path / "one.jsonl", (long, "Once."), ("Name a colour.", "Red."), (again, "Twice."))
    second = messages(tmp_path / "two.jsonl", (long.upper(), "Thrice."), ("Name a number.", "Ten."))
    for duplicates, kept in (("near", ["one0", "one1", "two1"]), ("near:1", ["one0", "one1", "one2", "two1"])):
        data = Data(sources={"one": first, "two": second}, duplicates=duplicates)
        out = tmp_path / duplicates.replace(":", "_")
        prepare(data, out, seed=1)
        assert [c.id for c in read(out / "train.jsonl")] == kept
    near = dropped(tmp_path / "near/dropped.jsonl")
    assert [row["reason"] for row in near] == [
        "nearly repeats a record of the same set",
        "nearly repeats a record of another set",
    ]
    assert {row["duplicate_of"]["id"] for row in near} == {"one0"}


@pytest.mark.parametrize("jobs", [1, 2])
def test_any_number_of_processes_gives_the_same_bytes(tmp_path: Path, jobs: int) -> None:
    """Enough for several chunks: order, ids, draws, duplicates and reports do not depend on who converts."""
    rows = [{"instruction": f"Say {n % 4000} once more.", "input": "x" * 300, "output": str(n)} for n in range(9000)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(rows))
    source = Source(format="alpaca", path=str(path), max_examples=3000, wording="random", clean=("clean",))
    data = Data(sources={"a": source, "b": numbered(tmp_path / "b.jsonl", 50)}, duplicates="near", held_out=20)
    report = prepare(data, tmp_path / "out", seed=3, jobs=jobs, provenance=True)
    names = ("train.jsonl", "held_out.jsonl", "dropped.jsonl")
    files = {name: sha256_of_file(tmp_path / "out" / name) for name in names}
    alone = prepare(data, tmp_path / "alone", seed=3, jobs=1, provenance=True)
    assert report.figures() == alone.figures()
    assert files == {name: sha256_of_file(tmp_path / "alone" / name) for name in files}
    assert report.sources["a"].dropped.total() == 5000


def test_the_account_of_a_mixture(tmp_path: Path) -> None:
    mixture = Mixture(
        name="mine",
        title="Mine",
        seed=4,
        sources={
            "a": numbered(tmp_path / "a.jsonl", 30).model_copy(update={"max_examples": 20}),
            "b": numbered(tmp_path / "b.jsonl", 10).model_copy(update={"repeat": 2, "license": "cc-by-sa-3.0"}),
        },
    )
    mix(mixture, tmp_path / "mine.jsonl")
    account = json.loads((tmp_path / "mine.mixture.json").read_text())
    assert (account["train"], account["licenses"], account["seed"]) == (40, ["cc-by-sa-3.0", "mit"], 4)
    assert account["sha256"] == sha256_of_file(tmp_path / "mine.jsonl")
    a, b = account["sources"]["a"], account["sources"]["b"]
    assert (a["train"], a["share"], a["not_drawn"], b["train"], b["repeated"]) == (20, 0.5, 10, 20, 10)
    assert a["files"] == {"a.jsonl": sha256_of_file(tmp_path / "a.jsonl")}
    found = read(tmp_path / "mine.jsonl")
    assert found[0].provenance == {"file": "a.jsonl", "record": int(found[0].id[1:]), "license": "mit"}
    assert found[-1].provenance["license"] == "cc-by-sa-3.0"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.jsonl", "b.jsonl", "mine.jsonl", "mine.mixture.json", "mine.run.json"
    ]  # fmt: skip


def test_a_common_shape_gives_ones_own_data_no_licence_of_a_published_set(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"instruction": "q", "input": "", "output": "a"}]))
    alpaca = Source(format="alpaca", path=str(path))
    mix(Mixture(name="m", sources={"own": alpaca, "stanford_alpaca": alpaca}), tmp_path / "out")
    account = json.loads((tmp_path / "out" / "mixture.json").read_text())
    told = {name: (each["title"], each["license"], each["expected"]) for name, each in account["sources"].items()}
    assert told == {
        "own": ("Your own data", "", None),
        "stanford_alpaca": ("Stanford Alpaca", "cc-by-nc-4.0", 52_002),
    }
    assert account["licenses"] == ["cc-by-nc-4.0"]
    found = read(tmp_path / "out" / "train.jsonl")
    assert [row.provenance.get("license") for row in found] == [None, "cc-by-nc-4.0"]


def test_provenance_of_the_record_itself_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    said = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    path.write_text(json.dumps({"id": "x", "messages": said, "provenance": {"generator": "model", "prompt": "ab12"}}))
    mix(Mixture(name="m", sources={"p": Source(format="messages", path=str(path))}), tmp_path / "out")
    [found] = read(tmp_path / "out/train.jsonl")
    assert found.provenance == {"generator": "model", "prompt": "ab12", "file": "p.jsonl", "record": 0}


@pytest.mark.parametrize("name", mixture_names())
def test_shipped_mixtures_are_whole_and_agree_with_the_recipes(name: str) -> None:
    mixture = load_mixture(name)
    assert mixture.name == name
    if name == "tulu":
        assert load_recipe("tulu-7b").data.sources == mixture.sources
    text = (Path(__file__).parents[3] / "src/packtrain/mixtures" / f"{name}.yaml").read_text()
    totals = {"human": "249,806", "tulu": "490,694"}
    assert totals[name] in text


def test_what_is_wrong_with_a_mixture_is_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("name: m\nsources:\n  a: {format: alpaca, path: x, fracton: 0.5}\nduplicates: fuzzy\n")
    with pytest.raises(UserError) as raised:
        load_mixture(str(path), ["sources.a.repeat=0"])
    for part in ("fracton", "did you mean sources.a.fraction", "duplicates", "sources.a.repeat"):
        assert part in raised.value.message
    with pytest.raises(UserError, match="unknown mixture: tuluu"):
        load_mixture("tuluu")
    for fraction in ("0", "1.5", "nan"):
        with pytest.raises(UserError, match="fraction"):
            load_mixture("tulu", [f"sources.dolly.fraction={fraction}"])


def test_one_cleaning_rule_needs_no_brackets() -> None:
    for given in ("clean,-identity", "[clean, -identity]", "clean"):
        mixture = load_mixture("tulu", [f"sources.dolly.clean={given}"])
        assert len(load_rules(mixture.sources["dolly"].clean)) > 5
    with pytest.raises(UserError, match=r"sources.dolly.clean: should be a list \(found 5\)"):
        load_mixture("tulu", ["sources.dolly.clean=5"])


def test_the_command(packtrain: CommandLine, tmp_path: Path) -> None:
    numbered(tmp_path / "a.jsonl", 30)
    (tmp_path / "m.yaml").write_text(
        "name: m\nsources:\n  a: {format: messages, path: a.jsonl}\n"
        "  c: {format: cot, path: none.jsonl, max_examples: 9}\n"
    )
    refused = packtrain("data", "mix", "m.yaml", "--out", "m.jsonl", cwd=tmp_path)
    assert refused.returncode == 2
    assert "no such data file: c (none.jsonl)" in refused.stderr
    (tmp_path / "none.jsonl").write_text('{"inputs": "Why?", "targets": "So."}\n')
    done = packtrain("data", "mix", "m.yaml", "--out", "m.jsonl", "sources.a.fraction=0.5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"a\s*│\s*30\s*│\s*0\s*│\s*15\s*│\s*0\s*│\s*15\s*│\s*93\.8 %", done.stdout), done.stdout
    again = packtrain("data", "mix", "m.yaml", "--out", "m.jsonl", cwd=tmp_path)
    assert again.returncode == 2
    assert "exists already" in again.stderr
    as_json = packtrain("data", "mix", "m.yaml", "--out", "m.jsonl", "--overwrite", "--json", cwd=tmp_path)
    assert json.loads(as_json.stdout)["train"] == 31
    assert "human" in packtrain("ls").stdout
    assert "Human+GPT" in packtrain("show", "tulu").stdout
