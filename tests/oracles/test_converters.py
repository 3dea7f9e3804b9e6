"""Converters against the outputs of Open-Instruct's own (commit cd06c6fb0), whole, and against real files.

OASST1 and ShareGPT have a file of their own beside this one.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from packtrain.core.conversation import Conversation
from packtrain.data.checks import reason_to_drop
from packtrain.data.conversion import Conversion
from packtrain.data.format import converted, open_format
from packtrain.data.reading.containers import read_records
from packtrain.data.records import Dropped, Record

pytestmark = pytest.mark.real_data


def oracle(shared: Path, name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((shared / "data/oracles/converters" / f"{name}.json").read_text("utf-8"))
    return loaded


def templates(shared: Path) -> list[dict[str, Any]]:
    path = shared / "data/prompt_assets/encode_templates.json"
    loaded: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["templates"]
    return loaded


def records(rows: list[Any]) -> list[Record]:
    return [Record(number, f"row {number}", row) for number, row in enumerate(rows)]


def lines(name: str, rows: list[Record] | Iterator[Record], **settings: Any) -> list[dict[str, Any]]:
    """What a format makes of records, as it would stand in a file; nothing may be dropped."""
    form = open_format(name)
    found = list(converted(rows, form, Conversion(form.about.dataset, **settings)))
    assert not [item for item in found if isinstance(item, Dropped)]
    return [item.as_json() for item in found if isinstance(item, Conversation)]


def possible(shared: Path, instruction: str, given: str | None, answer: str) -> list[tuple[str, str]]:
    """Question and answer in every wording of the right kind, by plain replacement."""
    kind = "with_input" if (given or "").strip() else "without_input"
    rounds = []
    for template in templates(shared):
        if template["kind"] == kind:
            head, _, tail = template["prompt"].partition("{instruction}")
            before, _, after = tail.partition("{input}")
            question = head + instruction.strip() + (before + (given or "").strip() + after if kind[4] == "_" else tail)
            rounds.append((question, template["completion"].replace("{output}", "") + answer.strip()))
    assert len(rounds) == 14
    return rounds


def sides(line: dict[str, Any]) -> tuple[str, str]:
    question, answer = line["messages"]
    assert (question["role"], answer["role"]) == ("user", "assistant")
    return question["content"], answer["content"]


@pytest.mark.parametrize("compat", [True, False])
@pytest.mark.parametrize("name", ["flan_v2", "cot"])
def test_sets_without_wordings_equal_the_reference(shared: Path, name: str, compat: bool) -> None:
    """All rows of all files, ids and order included; for CoT, of which the reference draws no more than 50,000."""
    expected = oracle(shared, name)
    raw = expected["raw"] if name == "flan_v2" else [row for rows in expected["raw"].values() for row in rows]
    assert lines(name, records(raw), compat=compat) == expected["output"]


INSTRUCTION_SETS = [
    ("alpaca", "stanford_alpaca", ("instruction", "input", "output")),
    ("code_alpaca", "code_alpaca", ("instruction", "input", "output")),
    ("gpt4_alpaca", "gpt4_alpaca", ("instruction", "input", "output")),
    ("self_instruct", "self_instruct", ("instruction", "input", "output")),
    ("dolly", "dolly", ("instruction", "context", "response")),
]


@pytest.mark.parametrize(("name", "dataset", "fields"), INSTRUCTION_SETS)
def test_compat_draws_the_very_wordings_of_the_reference(
    shared: Path, name: str, dataset: str, fields: tuple[str, str, str]
) -> None:
    expected = oracle(shared, dataset)
    assert len(expected["output"]) >= 20
    assert lines(name, records(expected["raw"]), compat=True, seed=expected["seed"]) == expected["output"]


@pytest.mark.parametrize(("name", "dataset", "fields"), INSTRUCTION_SETS)
def test_random_wordings_are_among_those_of_the_reference(
    shared: Path, name: str, dataset: str, fields: tuple[str, str, str]
) -> None:
    expected = oracle(shared, dataset)
    found = lines(name, records(expected["raw"]), wording="random")
    assert [line["id"] for line in found] == [line["id"] for line in expected["output"]]
    for line, row in zip(found, expected["raw"], strict=True):
        assert sides(line) in possible(shared, *(row[field] for field in fields))
    assert len({tuple(sides(line)) for line in found}) == len(found)


@pytest.mark.parametrize(("name", "dataset", "fields"), INSTRUCTION_SETS)
def test_instruction_sets_keep_ids_and_fields(
    shared: Path, name: str, dataset: str, fields: tuple[str, str, str]
) -> None:
    expected = oracle(shared, dataset)
    found = lines(name, records(expected["raw"]))
    assert [(line["dataset"], line["id"]) for line in found] == [(e["dataset"], e["id"]) for e in expected["output"]]
    for line, row in zip(found, expected["raw"], strict=True):
        question, answer = line["messages"]
        given = (question["content"], question.get("context", ""), answer["content"])
        assert given == tuple(row[field] for field in fields)


@pytest.mark.parametrize("settings", [{"compat": True}, {"wording": "random"}], ids=["compat", "random"])
def test_unnatural_instructions_equal_the_reference_but_for_the_draw(shared: Path, settings: dict[str, Any]) -> None:
    """Rows, ids, constraints and answers; the reference's draws count output rows, which no single record knows."""
    expected = oracle(shared, "unnatural_instructions")
    found = lines("unnatural_instructions", records(expected["raw"]), **settings)
    assert [(line["dataset"], line["id"]) for line in found] == [(e["dataset"], e["id"]) for e in expected["output"]]
    apart = lines("unnatural_instructions", records(expected["raw"]))
    for line, plain, reference in zip(found, apart, expected["output"], strict=True):
        question, answer = plain["messages"]
        wordings = possible(shared, question["content"], question.get("context"), answer["content"])
        assert sides(line) in wordings
        assert sides(reference) in wordings


def baize_records(expected: dict[str, Any]) -> list[Record]:
    return records([row for rows in expected["raw"].values() for row in rows])


def test_baize_in_compat_equals_the_reference(shared: Path) -> None:
    expected = oracle(shared, "baize")
    assert tuple(expected["raw"]) == open_format("baize").about.files
    assert lines("baize", baize_records(expected), compat=True) == expected["output"]


def test_baize_differs_from_the_reference_in_blank_rounds_alone(shared: Path) -> None:
    expected = oracle(shared, "baize")
    found = list(converted(baize_records(expected), open_format("baize"), Conversion("baize")))
    whole = []
    for line in expected["output"]:
        messages = line["messages"]
        kept = [message for a, b in zip(messages[::2], messages[1::2], strict=True) if a["content"] and b["content"]
                for message in (a, b)]  # fmt: skip
        whole.append(line | {"messages": kept})
    assert [item.as_json() for item in found if isinstance(item, Conversation)] == [w for w in whole if w["messages"]]
    dropped = [Dropped(line["id"], "no whole round") for line in whole if not line["messages"]]
    assert [item for item in found if isinstance(item, Dropped)] == dropped
    assert len(dropped) == 1


def super_ni(folder: Path, raw: dict[str, Any], expected: dict[str, Any], **settings: Any) -> list[dict[str, Any]]:
    for name, content in raw.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    zero, few, examples = expected["parameters"].values()
    options = {"zero_shot_per_task": zero, "few_shot_per_task": few, "examples": examples}
    form = open_format("super_ni")
    conversion = Conversion("super_ni", options=form.options(options), **settings)
    own = form.own_records(folder, conversion)
    assert own is not None
    found = list(converted(own, form, conversion))
    left_out = [Path(name).stem for name in raw if "_mmmlu_" in name]
    assert [item for item in found if isinstance(item, Dropped)] == [
        Dropped(name, "holds test questions of MMLU") for name in left_out
    ]
    return [item.as_json() for item in found if isinstance(item, Conversation)]


@pytest.mark.parametrize("settings", [{"compat": True}, {"wording": "random"}], ids=["compat", "random"])
def test_super_ni_equals_the_reference_but_for_the_draw_of_wordings(
    shared: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    """Where no task has more instances than are taken: rows, ids, order, few-shot prompts and answers."""
    expected = oracle(shared, "super_ni")
    found = super_ni(tmp_path, expected["raw"], expected, **settings)
    assert [(line["dataset"], line["id"]) for line in found] == [(e["dataset"], e["id"]) for e in expected["output"]]
    few_shot = 0
    for line, reference in zip(found, expected["output"], strict=True):
        if "in0\nOutput:" in sides(reference)[0]:
            assert line == reference
            few_shot += 1
            continue
        task, number = reference["id"].removeprefix("super_ni_").split("-")
        [content] = [content for name, content in expected["raw"].items() if f"{task}_" in name]
        instance = content["Instances"][int(number)]
        assert sides(line) in possible(shared, content["Definition"][0], instance["input"], instance["output"][0])
    assert (few_shot, len(expected["template_index"])) == (2, len(found) - 2)


@pytest.mark.parametrize("settings", [{"compat": True}, {"wording": "random"}], ids=["compat", "random"])
def test_super_ni_draws_as_many_as_the_reference_and_from_the_same(
    shared: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    expected = oracle(shared, "super_ni")
    sampled = expected["sampled"]
    found = super_ni(tmp_path, sampled["raw"], expected, **settings)
    content = sampled["raw"]["tasks/task010_c.json"]
    instances = {f"super_ni_{instance['id']}": instance for instance in content["Instances"]}
    solved = [(row["input"].strip(), row["output"].strip()) for row in content["Positive Examples"]]

    def check(rows: list[dict[str, Any]]) -> None:
        assert len({row["id"] for row in rows}) == len(rows) == 5
        for place, row in enumerate(rows):
            instance = instances[row["id"]]
            question, answer = instance["input"].strip(), instance["output"][0].strip()
            if place < 3:
                assert sides(row) in possible(shared, content["Definition"][0], question, answer)
                continue
            blocks = [f"Input:\n{asked}\nOutput:\n{answered}" for asked, answered in solved]
            last = f"Input:\n{question}\nOutput:\n"
            pairs = [["Sampled task", one, other, last] for one in blocks for other in blocks if one != other]
            assert sides(row)[0] in ["\n\n".join(parts) for parts in pairs]
            assert sides(row)[1] == answer

    check(found)
    check(sampled["output"])


@pytest.mark.parametrize(
    ("name", "file", "read", "dropped"),
    [
        ("alpaca", "alpaca/random_9k.json", 9229, {"empty answer": 4}),
        ("alpaca", "alpaca/union_18k.json", 18242, {"empty answer": 9}),
        ("code_alpaca", "code_alpaca/code_alpaca_2k.json", 2017, {"empty answer": 2}),
        ("gpt4_alpaca", "gpt4_alpaca/llamafactory_alpaca_en_demo.json", 999, {}),
        ("dolly", "dolly/dolly_3k_original_fields.jsonl", 2996, {}),
        ("prompt_completion", "p3_t0/xsum_DOC_tldr.jsonl", 200, {}),
    ],
)
def test_real_files_are_read_and_counted_whole(
    shared: Path, name: str, file: str, read: int, dropped: dict[str, int]
) -> None:
    found = list(converted(read_records(shared / "data" / file), open_format(name), Conversion("set")))
    reasons = Counter(item.reason if isinstance(item, Dropped) else reason_to_drop(item) for item in found)
    assert len(found) == read
    assert dict(reasons) == {None: read - sum(dropped.values()), **dropped}


@pytest.mark.parametrize(
    ("name", "file", "context", "answer"),
    [
        ("alpaca", "alpaca/random_9k.json", "input", "output"),
        ("code_alpaca", "code_alpaca/code_alpaca_2k.json", "input", "output"),
        ("dolly", "dolly/dolly_3k_original_fields.jsonl", "context", "response"),
    ],
)
def test_real_rows_keep_every_field(shared: Path, name: str, file: str, context: str, answer: str) -> None:
    text = (shared / "data" / file).read_text("utf-8")
    raw = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
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
    ]
    found = converted(read_records(shared / "data" / file), open_format(name), Conversion("set"))
    assert [item.as_json() for item in found if isinstance(item, Conversation)] == expected
