"""`format: auto`: people's own files are taken for what they are, or it is said why not."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from packtrain.core.conversation import Conversation, read_conversations
from packtrain.core.errors import UserError
from packtrain.core.manifest import read_manifest
from packtrain.core.recipe import Data, Mixture, Source
from packtrain.data.format import open_format
from packtrain.data.mix import mix
from packtrain.data.prepare import prepare
from packtrain.data.recognition import with_formats

SHAPES: dict[str, dict[str, Any]] = {
    "messages": {"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Ho."}]},
    "sharegpt": {"id": "7", "conversations": [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Ho."}]},
    "alpaca": {"instruction": "Hi?", "input": "", "output": "Ho."},
    "dolly": {"instruction": "Hi?", "context": "", "response": "Ho.", "category": "talk"},
    "prompt_completion": {"prompt": "Hi?", "completion": "Ho."},
    "cot": {"inputs": "Hi?\n", "targets": "Ho."},
}


def written(folder: Path, records: list[dict[str, Any]], kind: str = "jsonl") -> Path:
    """The records as a file of that kind."""
    path = folder / f"my.{kind}"
    if kind == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(records), path)
    elif kind == "csv":
        cells = (
            [json.dumps(value) if not isinstance(value, str) else value for value in each.values()] for each in records
        )
        lines = [list(records[0]), *cells]
        path.write_text(
            "".join(",".join('"' + cell.replace('"', '""') + '"' for cell in line) + "\n" for line in lines)
        )
    else:
        lines_of_json = [json.dumps(record) for record in records]
        path.write_text("[" + ",\n".join(lines_of_json) + "]" if kind == "json" else "\n".join(lines_of_json))
    return path


def auto(path: Path | str, **settings: Any) -> Data:
    return Data(sources={"mine": Source(format="auto", path=str(path), **settings)})


def prepared(data: Data, out: Path) -> list[Conversation]:
    prepare(data, out, seed=1, jobs=1)
    return list(read_conversations(out / "train.jsonl"))


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet", "csv"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_file_of_ones_own_is_recognised(
    shape: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = {**SHAPES[shape]} | ({"id": "8"} if "id" in SHAPES[shape] else {})
    path = written(tmp_path, [SHAPES[shape], again], kind)
    first, second = prepared(auto(path), tmp_path / "out")
    assert [(message.role, message.content.strip()) for message in first.messages] == [
        ("user", "Hi?"),
        ("assistant", "Ho."),
    ]
    assert (first.dataset, second.dataset) == ("mine", "mine")
    assert f"mine: {path} is read as {shape} (its records have " in capsys.readouterr().err
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert manifest.settings["data"]["sources"]["mine"]["format"] == f"auto:{shape}"


def test_it_reads_as_the_named_format_does(tmp_path: Path) -> None:
    records = [{"instruction": f"Count to {number}.", "input": "one", "output": str(number)} for number in range(50)]
    path = written(tmp_path, records)
    named = Data(sources={"mine": Source(format="alpaca", path=str(path))})
    assert prepared(auto(path), tmp_path / "a") == prepared(named, tmp_path / "b")


def test_data_of_ones_own_are_not_the_published_set(tmp_path: Path) -> None:
    path = written(tmp_path, [SHAPES["alpaca"]])
    prepare(auto(path), tmp_path / "out", seed=1, provenance=True)
    [conversation] = read_conversations(tmp_path / "out" / "train.jsonl")
    assert conversation.provenance == {"file": "my.jsonl", "record": 0}
    mixture = Mixture(name="m", sources={"mine": Source(format="auto", path=str(path))})
    mix(mixture, tmp_path / "mixed")
    account = json.loads((tmp_path / "mixed" / "mixture.json").read_text())["sources"]["mine"]
    assert (account["title"], account["license"], account["expected"]) == ("Your own data", "", None)
    assert open_format("auto:alpaca").about.rows is None


def test_further_fields_and_records_do_not_mislead(tmp_path: Path) -> None:
    """Alpaca's own fields are also those of a transcript of Baize, which reads only text with its marks."""
    records = [{**SHAPES["alpaca"], "topic": "talk", "text": "all of it"}, {**SHAPES["alpaca"], "extra": None}]
    assert with_formats(auto(written(tmp_path, records))).sources["mine"].format == "auto:alpaca"
    both = [{**SHAPES["messages"], "prompt": "Hi?", "prompt_id": "x"}]
    assert with_formats(auto(written(tmp_path, both))).sources["mine"].format == "auto:messages"


def cases() -> Iterator[tuple[list[dict[str, Any]], str, str]]:
    """Records, and what error and hint say of them."""
    yield (
        [{"question": "Hi?", "answer": "Ho."}],
        r"no data format is known .*\(found: question, answer\)",
        "messages \\(",
    )
    yield [{}], r"\(found: none\)", "alpaca \\(instruction, output\\)"
    yield [SHAPES["alpaca"], SHAPES["messages"]], "no data format is known", "rename the fields"
    both = {**SHAPES["messages"], **SHAPES["alpaca"]}
    yield [both], "fields of several formats, alpaca and messages", "alpaca, messages"
    turns = {"messages": SHAPES["sharegpt"]["conversations"]}
    yield [turns], "without role and content .*taken for messages by its fields", "rename `messages`"


@pytest.mark.parametrize(("records", "error", "hint"), cases())
def test_what_is_not_recognised_is_told_with_its_fields(
    records: list[dict[str, Any]], error: str, hint: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=f"mine: .*my.jsonl.*{error}") as caught:
        prepare(auto(written(tmp_path, records)), tmp_path / "out", seed=1)
    assert re.search(hint, caught.value.hint)
    assert not (tmp_path / "out").exists()


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty, table = tmp_path / "empty.jsonl", tmp_path / "table.csv"
    empty.touch()
    table.write_text("name,age\nx,3\n")
    several = tmp_path / "folder"
    several.mkdir()
    for name in ("a.jsonl", "b.jsonl"):
        (several / name).write_text("{}")
    for path, error in (
        (tmp_path / "gone.jsonl", r"there is no file or folder .*gone\.jsonl \(beside it: .*empty\.jsonl"),
        (empty, "holds no records"),
        (table, r"\(found: name, age\)"),
        ("-", "can be read once"),
        (several, "must hold one data file; it holds a.jsonl, b.jsonl"),
    ):
        with pytest.raises(UserError, match=error) as caught:
            with_formats(auto(path))
        assert caught.value.hint
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path, [SHAPES["alpaca"]])
    assert with_formats(auto("~/my.jsonl")).sources["mine"].format == "auto:alpaca"
    monkeypatch.chdir(tmp_path)
    assert with_formats(auto("my.jsonl")).sources["mine"].format == "auto:alpaca"


def test_a_later_record_of_another_shape_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, [SHAPES["alpaca"]] * 40 + [SHAPES["messages"]])
    with pytest.raises(UserError, match=r"my\.jsonl:41: missing instruction, output") as caught:
        prepare(auto(path), tmp_path / "out", seed=1)
    assert "messages" in caught.value.hint


def test_data_prepare_takes_the_word(tmp_path: Path, packtrain: Any) -> None:
    path = written(tmp_path, [SHAPES["sharegpt"]])
    finished = packtrain("data", "prepare", "auto", path, "--out", tmp_path / "out", "--json")
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout)["train"] == 1
    assert "is read as sharegpt" in finished.stderr
    assert "there are: auto, alpaca" in packtrain("data", "prepare", "other", path, "--out", tmp_path / "x").stderr
