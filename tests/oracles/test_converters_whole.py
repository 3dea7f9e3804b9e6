"""Raw files in, conversation files out, through the command's own engine: equal to Open-Instruct's converter."""

import json
from pathlib import Path
from typing import Any

import pytest

from packtrain.core.recipe import Source
from packtrain.data.format import open_format
from packtrain.data.prepare import prepare

pytestmark = pytest.mark.real_data

EXACT = ("alpaca", "code_alpaca", "gpt4_alpaca", "dolly", "self_instruct", "cot", "flan_v2", "baize", "oasst1")
DRAWN = ("unnatural_instructions", "super_ni")


def raw_files(name: str, oracle: dict[str, Any], folder: Path) -> Path:
    """The raw records under the names that their publishers gave the files; the folder."""
    raw = oracle["raw"]
    if not isinstance(raw, dict):
        raw = {open_format(name).about.files[0]: raw}
    for file, content in raw.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        elif path.suffix == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
        else:
            path.write_text(json.dumps(content), encoding="utf-8")
    return folder


def run(
    shared: Path, name: str, out: Path, *, jobs: int, **options: Any
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    about = open_format(name).about
    oracle = json.loads((shared / "data/oracles/converters" / f"{about.dataset}.json").read_text("utf-8"))
    folder = raw_files(name, oracle, out.parent / "raw")
    source = Source(format=name, path=str(folder), options=options)
    report = prepare({about.dataset: source}, out, seed=42, compat=True, jobs=jobs)
    assert set(report.sources[about.dataset].dropped) <= {"path ends in a question"}  # of trees: no row of its own
    return oracle, [json.loads(line) for line in out.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("name", EXACT)
def test_compat_gives_the_very_file(shared: Path, tmp_path: Path, name: str, jobs: int) -> None:
    oracle, found = run(shared, name, tmp_path / "out.jsonl", jobs=jobs)
    assert found == oracle["output"]


@pytest.mark.parametrize("name", DRAWN)
def test_compat_gives_the_same_rows_where_the_wording_is_drawn_otherwise(
    shared: Path, tmp_path: Path, name: str
) -> None:
    given = {"zero_shot_per_task": 3, "few_shot_per_task": 2, "examples": 2} if name == "super_ni" else {}
    oracle = json.loads((shared / "data/oracles/converters" / f"{name}.json").read_text("utf-8"))
    folder = raw_files(name, oracle, tmp_path / "raw")
    source = Source(format=name, path=str(folder), options=given)
    report = prepare({name: source}, tmp_path / "out.jsonl", seed=42, compat=True)
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    left_out = {"holds test questions of MMLU": 1} if name == "super_ni" else {}
    assert dict(report.sources[name].dropped) == left_out
    assert [row["id"] for row in found] == [row["id"] for row in oracle["output"]]
    answers = [[row["messages"][1]["content"].strip() for row in rows] for rows in (found, oracle["output"])]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("limit", ["2048", "512"])
def test_sharegpt_split_and_converted_gives_the_very_file(shared: Path, tmp_path: Path, limit: str) -> None:
    oracle = json.loads((shared / "data/oracles/converters/sharegpt.json").read_text("utf-8"))
    folder = raw_files("sharegpt", oracle, tmp_path / "raw")
    options = {"tokenizer": str(shared / "data/tokenizers/llama"), "max_length_tokens": limit}
    source = Source(format="sharegpt", path=str(folder), options=options)
    prepare({"sharegpt": source}, tmp_path / "out.jsonl", seed=42, compat=True)
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert found == oracle["by_max_length"][limit]["output"]
