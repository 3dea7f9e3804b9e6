"""Any JSON in the right fields: every format gives conversations, drops with a reason, or stops with a user's error."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from packtrain.core.conversation import ROLES, Conversation
from packtrain.core.errors import UserError
from packtrain.data.conversion import Conversion
from packtrain.data.format import converted, open_format
from packtrain.data.records import Dropped, Record

TEXT = st.text(st.characters(), max_size=8) | st.sampled_from(["", " ", "{instruction}", "\ud800", "None.", "a:"])
MARKS = st.lists(st.sampled_from(["[|Human|]", "[|AI|]", "a", " ", "\n"]), max_size=8).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
TURN = st.fixed_dictionaries(
    {"role": st.sampled_from(ROLES) | JSON, "content": TEXT | JSON}, optional={"context": JSON}
)
TURNS = st.lists(TURN | JSON, max_size=4)
INSTANCE = st.fixed_dictionaries({"output": TEXT | JSON}, optional={"input": JSON, "constraints": TEXT | JSON})
SOLVED = st.fixed_dictionaries({"input": TEXT, "output": TEXT})
DRAWN = st.fixed_dictionaries({}, optional={"id": TEXT | JSON, "input": TEXT | JSON, "output": st.lists(TEXT) | JSON})

FIELDS = {
    **{
        name: {"instruction": TEXT, "input": TEXT, "output": TEXT}
        for name in ("alpaca", "code_alpaca", "gpt4_alpaca", "self_instruct")
    },
    "dolly": {"instruction": TEXT, "context": TEXT, "response": TEXT},
    "cot": {"inputs": TEXT, "targets": TEXT},
    "flan_v2": {"inputs": TEXT, "targets": TEXT},
    "unnatural_instructions": {"instruction": TEXT, "instances": st.lists(INSTANCE | JSON, max_size=4)},
    "baize": {"input": MARKS},
    "messages": {"messages": TURNS, "id": JSON, "dataset": JSON, "provenance": JSON},
    "prompt_completion": {"prompt": TEXT | TURNS, "completion": TEXT | TURNS},
}
CONVERSIONS = st.builds(
    Conversion,
    st.just("d"),
    seed=st.integers(0, 3),
    wording=st.sampled_from(["apart", "plain", "random"]),
    compat=st.booleans(),
)


def check(name: str, records: list[Record], conversion: Conversion) -> None:
    try:
        found = list(converted(records, open_format(name), conversion))
    except UserError:
        return
    assert len(found) >= len(records)
    for item in found:
        assert item.id
        if isinstance(item, Dropped):
            assert item.reason
            continue
        assert isinstance(item, Conversation)
        for message in item.messages:
            assert message.role in ROLES
            assert isinstance(message.content, str)
            assert message.context is None or isinstance(message.context, str)


@pytest.mark.parametrize("name", FIELDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data(), conversion=CONVERSIONS)
def test_any_value_in_any_field(name: str, data: st.DataObject, conversion: Conversion) -> None:
    fields = {field: usual | JSON for field, usual in FIELDS[name].items()}
    row = data.draw(st.fixed_dictionaries(fields) | st.fixed_dictionaries({}, optional={**fields, "extra": JSON}))
    check(name, [Record(0, "raw:1", row)], conversion)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    task=st.fixed_dictionaries(
        {
            "Definition": st.lists(TEXT, min_size=1, max_size=2) | JSON,
            "Positive Examples": st.lists(SOLVED, max_size=4) | JSON,
            "Instances": st.lists(DRAWN | JSON, max_size=6) | JSON,
        }
    ),
    taken=st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)),
    conversion=CONVERSIONS,
)
def test_any_task_file(tmp_path: Path, task: dict[str, Any], taken: tuple[int, ...], conversion: Conversion) -> None:
    path = tmp_path / "task001_a.json"
    path.write_text(json.dumps(task), encoding="utf-8")
    options = dict(zip(("zero_shot_per_task", "few_shot_per_task", "examples"), taken, strict=True))
    conversion = Conversion("d", conversion.seed, conversion.wording, conversion.compat, options)
    check("super_ni", [Record(0, str(path), {"task": "task001_a", "path": str(path)})], conversion)
