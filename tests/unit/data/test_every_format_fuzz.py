"""Every format from file to file: any JSON is either told as the user's error, or each record is kept or dropped.

Records are arbitrary, or valid ones with something changed. What is kept can be read again and passes the checks; what
is dropped is in the other file, with its reason.
"""

import copy
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from packtrain.core.conversation import parse_conversation, read_json_lines
from packtrain.core.errors import UserError
from packtrain.core.recipe import Data
from packtrain.data.checks import reason_to_drop
from packtrain.data.prepare import PrepareReport, prepare

ALPACA = {"instruction": "Count to the number two.", "input": "from one", "output": "1 2"}
FLAN = {"inputs": "Q: Is it so? Explain why.", "targets": "It is so."}
REPLY = {
    "text": "hi, how are you",
    "role": "assistant",
    "lang": "en",
    "deleted": False,
    "labels": {"quality": {"value": 0.5}},
}
TREE = {"text": "hello", "role": "prompter", "lang": "en", "replies": [{**REPLY, "replies": []}, REPLY]}
VALID: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("alpaca", "code_alpaca", "gpt4_alpaca", "self_instruct"), ALPACA),
    "cot": FLAN,
    "flan_v2": FLAN,
    "dolly": {
        "instruction": "Count as far as the text says.",
        "context": "to two",
        "response": "1 2",
        "category": "open_qa",
    },
    "oasst1": {"message_tree_id": "t", "prompt": TREE},
    "unnatural_instructions": {
        "instruction": "Add the numbers, please.",
        "instances": [{"input": "1 and 1", "constraints": "None.", "output": "2"}, {"input": "", "output": "0"}],
    },
    "baize": {"input": "They talk.\n[|Human|] hi\n[|AI|] hello\n[|Human|] bye\n[|AI|] bye", "topic": "talk"},
    "sharegpt": {
        "id": "x",
        "conversations": [{"from": "human", "value": "hi, you"}, {"from": "gpt", "value": "hello, how are you"}],
    },
    "messages": {
        "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello, how are you"}]
    },
    "prompt_completion": {"prompt": "How much is 1 + 1?", "completion": [{"role": "assistant", "content": "2"}]},
    "super_ni": {
        "Definition": ["Add the numbers that are given."],
        "Positive Examples": [{"input": "1 1", "output": "2", "explanation": "two"}],
        "Instances": [{"id": "task001-1", "input": "1 2", "output": ["3"]}, {"input": "2 2", "output": ["4"]}],
    },
}
TEXT = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(
    [
        "",
        " ",
        "\n",
        "\0",
        "\ud800",
        "</s>",
        "{instruction}",
        "[|Human|]a[|AI|]b",
        "[|AI|]",
        "None",
        "<noinput>",
        "system",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=4,
)
SETTINGS = st.fixed_dictionaries(
    {
        "wording": st.sampled_from(["apart", "plain", "random"]),
        "clean": st.sampled_from([[], ["clean"]]),
        "duplicates": st.sampled_from(["keep", "exact", "near"]),
        "repeat": st.sampled_from([1, 1, 2]),
        "max_examples": st.sampled_from([None, None, 2]),
        "held_out": st.sampled_from([0, 0, 0, 0, 1]),
    }
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in `value` with every key or index in it."""
    here = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for key, inner in list(here):
        found += [(value, key), *places(inner)]
    return found


@st.composite
def changed(draw: st.DrawFn, record: dict[str, Any]) -> dict[str, Any]:
    """The record with one to three places replaced, taken out, doubled or given a name that nobody knows."""
    record = copy.deepcopy(record)
    for _ in range(draw(st.integers(1, 3))):
        found = places(record)
        if not found:
            break
        inside, key = draw(st.sampled_from(found))
        change = draw(st.sampled_from(["text", "text", "text", "replace", "double", "double", "take out", "rename"]))
        if change in ("text", "replace"):
            inside[key] = draw(TEXT if change == "text" else JSON)
        elif change == "double" and isinstance(inside, list):
            inside.append(copy.deepcopy(inside[key]))
        else:
            value = inside.pop(key)
            if change == "rename" and isinstance(inside, dict):
                inside[draw(TEXT)] = value
    return record


@st.composite
def records(draw: st.DrawFn, name: str) -> list[Any]:
    """A few records of a format, at least one as it should be."""
    valid = VALID[name]
    odd = changed(valid) if draw(st.integers(0, 7)) else JSON
    return [valid, *draw(st.lists(st.just(valid) | odd, max_size=3))]


def written(folder: Path, name: str, found: list[Any], *, as_list: bool) -> Path:
    """The raw data in the folder: a file, or the folder of tasks that super_ni reads."""
    if name == "super_ni":
        (folder / "raw" / "splits" / "xlingual").mkdir(parents=True)
        (folder / "raw" / "tasks").mkdir()
        for number, task in enumerate(found):
            (folder / "raw" / "tasks" / f"task{number:03}_a.json").write_text(json.dumps(task))
        tasks = "\n".join(f"task{number:03}_a" for number in range(len(found)))
        (folder / "raw" / "splits" / "xlingual" / "train_tasks.txt").write_text(tasks)
        return folder / "raw"
    path = folder / "raw.json"
    path.write_text(json.dumps(found, indent=1) if as_list else "".join(json.dumps(one) + "\n" for one in found))
    return path


@pytest.mark.parametrize("name", VALID)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_record_is_kept_or_dropped_with_a_reason_or_all_is_refused(name: str, data: st.DataObject) -> None:
    found, chosen = data.draw(records(name)), data.draw(SETTINGS)
    compat = data.draw(st.booleans()) and not chosen["clean"]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        path = written(folder, name, found, as_list=data.draw(st.booleans()))
        section = {
            "sources": {
                "d": {
                    "format": name,
                    "path": str(path),
                    **{key: chosen[key] for key in ("wording", "clean", "repeat", "max_examples")},
                }
            },
            "held_out": chosen["held_out"],
            "duplicates": chosen["duplicates"],
        }
        check(Data.model_validate(section), folder, compat=compat, provenance=data.draw(st.booleans()))


def check(data: Data, folder: Path, *, compat: bool, provenance: bool) -> None:
    """Prepare the data, and compare the report with the files."""
    before = sorted(folder.iterdir())
    out = folder / "out"
    refused, report = None, PrepareReport({})
    try:
        report = prepare(data, out, seed=1, compat=compat, provenance=provenance, jobs=1)
    except UserError as error:
        refused = error
    if refused is not None:
        assert refused.message
        assert refused.hint
        assert sorted(folder.iterdir()) == before
        return
    counts = report.sources["d"]
    dropped = lines(out / "dropped.jsonl")
    kept = [line for name in ("train", "held_out") for line in lines(out / f"{name}.jsonl")]
    assert counts.read == len(kept) - counts.repeated + counts.not_drawn + counts.dropped.total()
    assert counts.train + counts.held_out == len(kept)
    assert Counter(line["reason"] for line in dropped) == counts.dropped
    assert {line["dataset"] for line in kept} == {"d"}
    if compat:  # the original leaves ids twice and conversations empty
        return
    assert len({line["id"] for line in kept}) == len(kept)
    for number, line in enumerate(kept):
        assert reason_to_drop(parse_conversation(line, f"line {number}")) is None


def lines(path: Path) -> list[Any]:
    """The values of a file's lines; none when it is not there."""
    return [line for _, line in read_json_lines(path)] if path.exists() else []
