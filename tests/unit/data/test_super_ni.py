"""SuperNI: what is taken from a folder of tasks, and that every instance taken keeps an id of its own."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from packtrain.core.conversation import Conversation, Message
from packtrain.core.errors import UserError
from packtrain.data.conversion import Conversion
from packtrain.data.format import converted, open_format
from packtrain.data.records import Dropped, Record

FORM = open_format("super_ni")


def instances(task: str, count: int) -> list[dict[str, Any]]:
    number = task.partition("_")[0]
    return [{"id": f"{number}-{n}", "input": f"in {n}", "output": [f"out {n}", "other"]} for n in range(count)]


def task(name: str, count: int, **fields: Any) -> dict[str, Any]:
    solved = [{"input": f" q{n}\n", "output": f"a{n} ", "explanation": "e"} for n in range(3)]
    made = {"Definition": [f"Do {name}. ", "x"], "Positive Examples": solved, "Instances": instances(name, count)}
    return made | fields


def folder(path: Path, tasks: dict[str, Any], split: str = "xlingual") -> Path:
    (path / "splits" / split).mkdir(parents=True)
    (path / "splits" / split / "train_tasks.txt").write_text("".join(f"{name}\n" for name in tasks))
    (path / "tasks").mkdir()
    for name, content in tasks.items():
        (path / "tasks" / f"{name}.json").write_text(json.dumps(content, indent=4), encoding="utf-8")
    return path


def own(path: Path, conversion: Conversion) -> Iterator[Record]:
    records = FORM.own_records(path, conversion)
    assert records is not None
    return records


def read(path: Path, seed: int = 42, compat: bool = False, **options: Any) -> list[Conversation | Dropped]:
    conversion = Conversion("ni", seed=seed, compat=compat, options=FORM.options(options))
    return list(converted(own(path, conversion), FORM, conversion))


def test_sixty_instances_are_zero_shot_and_twenty_few_shot(tmp_path: Path) -> None:
    found = read(folder(tmp_path, {"task001_a": task("task001_a", 200)}))
    whole = [item for item in found if isinstance(item, Conversation)]
    assert len(whole) == len(found) == len({item.id for item in whole}) == 80
    raw = {f"ni_{row['id']}": row for row in instances("task001_a", 200)}
    for item in whole[:60]:
        row = raw[item.id]
        assert item.messages == (
            Message("user", "Do task001_a. ", row["input"]),
            Message("assistant", row["output"][0]),
        )
    blocks = [f"Input:\nq{n}\nOutput:\na{n}\n\n" for n in range(3)]
    prompts = {(a + b): (a, b) for a in blocks for b in blocks if a != b}
    shown = set()
    for item in whole[60:]:
        row, question = raw[item.id], item.messages[0].content
        middle = question.removeprefix("Do task001_a.\n\n").removesuffix(f"Input:\n{row['input']}\nOutput:\n")
        assert middle in prompts
        shown.add(middle)
        assert item.messages[1] == Message("assistant", row["output"][0])
    assert len(shown) > 1


def test_a_small_task_is_taken_whole_and_in_order(tmp_path: Path) -> None:
    path = folder(tmp_path, {"task001_a": task("task001_a", 5)})
    assert [item.id for item in read(path)] == [f"ni_task001-{n}" for n in range(5)]
    few = read(path, zero_shot_per_task="0", few_shot_per_task="2", examples="0")
    assert [item.messages[0].content.count("Input:") for item in few] == [1, 1]
    all_examples = read(path, zero_shot_per_task=0, examples=9)
    assert {item.messages[0].content.count("Input:") for item in all_examples} == {4}


def test_the_draw_of_a_task_depends_on_seed_and_name_alone(tmp_path: Path) -> None:
    a, b = task("task001_a", 300), task("task002_b", 300)
    together = read(folder(tmp_path / "both", {"task002_b": b, "task001_a": a}))
    alone = read(folder(tmp_path / "one", {"task001_a": a}))
    assert together[80:] == alone
    assert [item.id for item in read(tmp_path / "one", seed=7)] != [item.id for item in alone]
    assert [item.id.removeprefix("ni_task002") for item in together[:80]] != [
        item.id.removeprefix("ni_task001") for item in alone
    ]


def test_every_instance_has_an_id_of_its_own_but_in_compat(tmp_path: Path) -> None:
    rows = [{"id": identity, "input": "i", "output": ["o"]} for identity in ("task001-x", "task001-x", "x", 7)]
    rows.append({"input": "i", "output": "o"})
    path = folder(tmp_path, {"task001_a": task("task001_a", 0, Instances=rows)})
    assert [item.id for item in read(path)] == [
        "ni_task001-x",
        "ni_task001-x-2",
        "ni_task001_a-x",
        "ni_task001_a-7",
        "ni_task001_a-4",
    ]
    assert [item.id for item in read(path, compat=True)][:4] == ["ni_task001-x", "ni_task001-x", "ni_x", "ni_7"]


def test_what_cannot_be_learnt_from_is_counted(tmp_path: Path) -> None:
    rows = [{"id": "task001-0", "input": "i", "output": []}, {"id": "task001-1", "output": ["o"]}, "text"]
    tasks = {"task001_a": task("task001_a", 0, Instances=rows), "task002_b": task("task002_b", 0)}
    found = read(folder(tmp_path, {**tasks, "task003_mmmlu_x": task("task003_mmmlu_x", 3)}))
    assert found == [
        Dropped("ni_task001-0", "instance without input and output"),
        Dropped("ni_task001-1", "instance without input and output"),
        Dropped("ni_task001_a-2", "instance without input and output"),
        Dropped("task002_b", "no instances drawn"),
        Dropped("task003_mmmlu_x", "holds test questions of MMLU"),
    ]


def test_the_split_is_an_option(tmp_path: Path) -> None:
    path = folder(tmp_path, {"task001_a": task("task001_a", 2)}, split="default")
    assert len(read(path, split="default")) == 2
    with pytest.raises(UserError, match=r"cannot read .*xlingual.*: No such file") as caught:
        read(path)
    assert "natural-instructions" in caught.value.hint
    with pytest.raises(UserError, match="options of super_ni: split"):
        read(path, split="mine")


def test_wrong_folders_and_files_are_named(tmp_path: Path) -> None:
    path = folder(tmp_path, {name: task(name, 1) for name in ("task001_a", "task002_b", "task003_c")})
    for name in ("task001_a", "task003_c"):
        (path / "tasks" / f"{name}.json").unlink()
    with pytest.raises(UserError, match=r"2 tasks of .* are not in .*: task001_a.json, task003_c.json"):
        read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as a task"),
        ("[1]", "is not a task"),
        (json.dumps({"Definition": ["x"]}), "is not a task"),
        (json.dumps(task("t", 1, Definition=[])), "is not a task"),
        (json.dumps(task("t", 1, Instances={})), "is not a task"),
        (json.dumps(task("t", 1, **{"Positive Examples": [{"input": 1, "output": "x"}]})), "positive example without"),
    ],
)
def test_a_file_that_is_no_task_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = folder(tmp_path, {"task001_a": {}})
    (path / "tasks" / "task001_a.json").write_text(content)
    with pytest.raises(UserError, match=f"task001_a.json.*{message}"):
        read(path)
