"""Converters against the outputs of Open-Instruct's own (commit cd06c6fb0) and against real files.

Random wording is not part of the formats here, so for the sets that use it the raw fields are compared.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from packtrain.core.conversation import Conversation
from packtrain.core.folder import module
from packtrain.core.recipe import Source
from packtrain.data.prepare import FORMATS, prepare
from packtrain.data.records import Dropped

pytestmark = pytest.mark.real_data


def oracle(shared: Path, name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((shared / "data/oracles/converters" / f"{name}.json").read_text("utf-8"))
    return loaded


def converted(path: Path, name: str, rows: list[Any], dataset: str) -> list[Conversation | Dropped]:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return list(module(FORMATS, name, "data format").read(path, dataset))


def as_lines(found: list[Conversation | Dropped]) -> list[dict[str, Any]]:
    return [item.as_json() for item in found if isinstance(item, Conversation)]


def test_flan_v2_equals_the_reference(shared: Path, tmp_path: Path) -> None:
    expected = oracle(shared, "flan_v2")
    assert as_lines(converted(tmp_path / "f.jsonl", "flan_v2", expected["raw"], "flan_v2")) == expected["output"]


def test_cot_equals_the_reference(shared: Path, tmp_path: Path) -> None:
    """The reference draws from each file in its own order: the messages of both files are compared without order."""
    expected = oracle(shared, "cot")
    lines = []
    for name, rows in expected["raw"].items():
        lines += as_lines(converted(tmp_path / name, "cot", rows, "cot"))

    def texts(records: list[dict[str, Any]]) -> list[str]:
        return sorted(json.dumps(record["messages"]) for record in records)

    assert texts(lines) == texts(expected["output"])


def test_oasst1_equals_the_leaf_rule(shared: Path, tmp_path: Path) -> None:
    """The oracle filters no deleted nodes, so they are made good first."""
    expected = oracle(shared, "oasst1")
    raw = json.loads(json.dumps(expected["raw"]).replace('"deleted": true', '"deleted": false'))
    assert as_lines(converted(tmp_path / "o.jsonl", "oasst1", raw, "oasst1")) == expected["leaf_only_strict"]


@pytest.mark.parametrize(
    ("name", "dataset", "fields"),
    [
        ("alpaca", "stanford_alpaca", ("instruction", "input", "output")),
        ("code_alpaca", "code_alpaca", ("instruction", "input", "output")),
        ("gpt4_alpaca", "gpt4_alpaca", ("instruction", "input", "output")),
        ("dolly", "dolly", ("instruction", "context", "response")),
    ],
)
def test_instruction_sets_keep_ids_and_fields(
    shared: Path, tmp_path: Path, name: str, dataset: str, fields: tuple[str, str, str]
) -> None:
    expected = oracle(shared, dataset)
    found = as_lines(converted(tmp_path / "i.jsonl", name, expected["raw"], dataset))
    assert [(line["dataset"], line["id"]) for line in found] == [(e["dataset"], e["id"]) for e in expected["output"]]
    for line, row, reference in zip(found, expected["raw"], expected["output"], strict=True):
        question, answer = line["messages"]
        assert (question["content"], question.get("context", ""), answer["content"]) == tuple(
            row[key] for key in fields
        )
        assert reference["messages"][1]["content"].strip() == answer["content"].strip()
        assert question["content"].strip() in reference["messages"][0]["content"]
        assert question.get("context", "").strip() in reference["messages"][0]["content"]


def test_sharegpt_equals_the_reference_where_the_rules_are_the_same(shared: Path, tmp_path: Path) -> None:
    """Conversations that the reference neither split nor refused; it also keeps a last unanswered question."""
    expected = oracle(shared, "sharegpt")
    single = expected["converter_only"]
    found = converted(tmp_path / "s.jsonl", "sharegpt", single["raw"], "sharegpt")
    assert as_lines(found) == [line for line in single["output"] if len(line["messages"]) > 1]
    assert [item for item in found if isinstance(item, Dropped)] == [
        Dropped("sharegpt_x2", "sender bing"),
        Dropped("sharegpt_x3", "sender system"),
        Dropped("sharegpt_x4", "no question with an answer"),
        Dropped("sharegpt_x5", "no question with an answer"),
    ]

    whole = {
        line["id"]: line for line in as_lines(converted(tmp_path / "w.jsonl", "sharegpt", expected["raw"], "sharegpt"))
    }
    turns = {f"sharegpt_{row['id']}": len(row["conversations"]) // 2 * 2 for row in expected["raw"]}
    compared = 0
    for line in expected["by_max_length"]["2048"]["output"]:
        original = line["id"].removesuffix("_0")
        if original in whole and len(line["messages"]) == turns[original]:
            assert whole[original]["messages"] == line["messages"]
            compared += 1
    assert compared >= 5


@pytest.mark.parametrize(
    ("name", "file", "read", "dropped"),
    [
        ("alpaca", "alpaca/random_9k.json", 9229, {"empty answer": 4}),
        ("alpaca", "alpaca/union_18k.json", 18242, {"empty answer": 9}),
        ("code_alpaca", "code_alpaca/code_alpaca_2k.json", 2017, {"empty answer": 2}),
        ("gpt4_alpaca", "gpt4_alpaca/llamafactory_alpaca_en_demo.json", 999, {}),
        ("dolly", "dolly/dolly_3k_original_fields.jsonl", 2996, {}),
        ("prompt_completion", "p3_t0/xsum_DOC_tldr.jsonl", 200, {}),
        ("sharegpt", "sharegpt/fastchat_dummy_conversation.json", 500, {}),
        ("sharegpt", "sharegpt/fastchat_lima_1k.json", 1000, {}),
        ("oasst1", "oasst1/en_100_tree.jsonl", 626, {"path ends in a question": 226}),
        (
            "sharegpt",
            "sharegpt/sharegpt_1k_from_enriched.json",
            1011,
            {"no question with an answer": 9, "empty question": 3, "sender system": 1, "roles do not alternate": 1},
        ),
    ],
)
def test_real_files_are_read_and_counted_whole(
    shared: Path, tmp_path: Path, name: str, file: str, read: int, dropped: dict[str, int]
) -> None:
    source = Source(format=name, path=str(shared / "data" / file))
    report = prepare({"set": source}, tmp_path / "out", seed=42).sources["set"]
    assert (report.read, dict(report.dropped)) == (read, dropped)
    assert report.train == read - sum(dropped.values())
    assert len((tmp_path / "out/train.jsonl").read_text("utf-8").splitlines()) == report.train


@pytest.mark.parametrize(
    ("name", "file", "context", "answer"),
    [
        ("alpaca", "alpaca/random_9k.json", "input", "output"),
        ("code_alpaca", "code_alpaca/code_alpaca_2k.json", "input", "output"),
        ("dolly", "dolly/dolly_3k_original_fields.jsonl", "context", "response"),
    ],
)
def test_real_rows_keep_every_field(
    shared: Path, tmp_path: Path, name: str, file: str, context: str, answer: str
) -> None:
    text = (shared / "data" / file).read_text("utf-8")
    raw = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    source = Source(format=name, path=str(shared / "data" / file))
    prepare({"set": source}, tmp_path / "out", seed=42)
    expected = [
        {
            "dataset": "set",
            "id": f"set_{number}",
            "messages": [
                {"role": "user", "content": row["instruction"]} | ({"context": row[context]} if row[context] else {}),
                {"role": "assistant", "content": row[answer]},
            ],
        }
        for number, row in enumerate(raw)
        if row[answer].strip()
    ]
    found = [json.loads(line) for line in (tmp_path / "out/train.jsonl").read_text("utf-8").splitlines()]
    assert found == expected
