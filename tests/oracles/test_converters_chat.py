"""Open Assistant and ShareGPT against the outputs of Open-Instruct's own code (commit cd06c6fb0), and real files."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from packtrain.core.conversation import Conversation
from packtrain.data.checks import reason_to_drop
from packtrain.data.conversion import Conversion
from packtrain.data.format import converted, open_format
from packtrain.data.formats.oasst1 import count_paths
from packtrain.data.formats.sharegpt import TOO_LONG
from packtrain.data.records import Dropped, Record
from packtrain.data.split import load_ruler
from packtrain.data.split_compat import message_lengths, windows
from packtrain.prompts.tokenizer import load_tokenizer

pytestmark = pytest.mark.real_data


def oracle(shared: Path, name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((shared / "data/oracles/converters" / f"{name}.json").read_text("utf-8"))
    return loaded


def records(rows: Iterable[Any]) -> list[Record]:
    return [Record(number, f"record {number}", row) for number, row in enumerate(rows)]


def lines(items: Iterable[Conversation | Dropped]) -> list[dict[str, Any]]:
    return [item.as_json() for item in items if isinstance(item, Conversation)]


def run(name: str, rows: Iterable[Any], *, compat: bool = False, **options: Any) -> list[Conversation | Dropped]:
    form = open_format(name)
    conversion = Conversion(form.about.dataset, compat=compat, options=form.options(options))
    return list(converted(records(rows), form, conversion))


@pytest.fixture(scope="module")
def llama(shared: Path) -> str:
    return str(shared / "data/tokenizers/llama")


@pytest.mark.parametrize(
    ("key", "compat", "options"),
    [
        ("output", True, {}),
        ("output", False, {"paths": "all_assistant", "skip_deleted": False}),
        ("leaf_only_strict", False, {"skip_deleted": False}),
        ("leaf_only_last_assistant", False, {"paths": "leaf_last_assistant", "skip_deleted": False}),
    ],
)
def test_oasst1_equals_every_rule_of_the_oracle(shared: Path, key: str, compat: bool, options: dict[str, Any]) -> None:
    """Ids, texts and order of all rows; the oracle filters no deleted messages and learns every answer."""
    expected = oracle(shared, "oasst1")
    found = lines(run("oasst1", expected["raw"], compat=compat, **options))
    shown = sum(not message.pop("learnt", True) for line in found for message in line["messages"])
    assert found == expected[key]
    again = sum(len(line["messages"]) // 2 - 1 for line in found)
    assert shown == (again if options.get("paths") == "all_assistant" else 0)


def test_real_trees_by_every_rule(shared: Path) -> None:
    """687 answers in 100 trees, as the data's description counts them."""
    with open(shared / "data/oasst1/en_100_tree.jsonl", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    assert count_paths(records(rows)) == {
        "paths=all_assistant skip_deleted=false": 687,
        "paths=all_assistant": 687,
        "paths=leaf": 400,
        "paths=leaf skip_deleted=false": 400,
        "paths=leaf_last_assistant": 546,
        "paths=leaf top_k=1": 61,
    }
    items = run("oasst1", rows)
    assert Counter(item.reason for item in items if isinstance(item, Dropped)) == {"path ends in a question": 226}
    assert not any(reason_to_drop(item) for item in items if isinstance(item, Conversation))


def test_message_lengths_equal_those_of_the_slow_tokenizer(shared: Path, llama: str) -> None:
    expected = oracle(shared, "sharegpt")
    tokenizer = load_tokenizer(Path(llama))
    found = [message_lengths([turn["value"] for turn in row["conversations"]], tokenizer) for row in expected["raw"]]
    assert found == expected["token_lengths_plus_6"]


@pytest.mark.parametrize("limit", [2048, 512])
def test_compat_splits_as_the_splitter_of_2023(shared: Path, llama: str, limit: int) -> None:
    """Ids and sizes of all pieces, the empty ones too; then whole rows behind the filter of roles and the converter."""
    expected = oracle(shared, "sharegpt")
    stages = expected["by_max_length"][str(limit)]
    pieces = [
        {"id": f"{row['id']}_{2 * start}", "turns": 2 * (stop - start)}
        for row, lengths in zip(expected["raw"], expected["token_lengths_plus_6"], strict=True)
        for start, stop in windows(lengths, limit)
    ]
    assert pieces == stages["after_split"]
    found = lines(run("sharegpt", expected["raw"], compat=True, tokenizer=llama, max_length_tokens=limit))
    assert [line["id"] for line in found] == [f"sharegpt_{identity}" for identity in stages["after_role_filter_ids"]]
    assert found == stages["output"]


def test_compat_without_a_tokenizer_equals_the_converter_alone(shared: Path) -> None:
    expected = oracle(shared, "sharegpt")["converter_only"]
    assert lines(run("sharegpt", expected["raw"], compat=True)) == expected["output"]


def test_the_default_differs_from_the_converter_alone_by_unanswered_questions_only(shared: Path) -> None:
    expected = oracle(shared, "sharegpt")["converter_only"]
    items = run("sharegpt", expected["raw"])
    assert lines(items) == [line for line in expected["output"] if len(line["messages"]) > 1]
    assert [item for item in items if isinstance(item, Dropped)] == [
        Dropped("sharegpt_x2", "sender bing"),
        Dropped("sharegpt_x3", "sender system"),
        Dropped("sharegpt_x4", "no question with an answer"),
        Dropped("sharegpt_x5", "no question with an answer"),
    ]


@pytest.mark.parametrize("limit", [2048, 512])
def test_ours_keeps_every_row_of_the_splitter_of_2023_that_fits(shared: Path, llama: str, limit: int) -> None:
    """Each round of each of its rows is in one of ours, unless the round alone is longer than the limit."""
    raw = oracle(shared, "sharegpt")["raw"]
    theirs = run("sharegpt", raw, compat=True, tokenizer=llama, max_length_tokens=limit)
    ours = run("sharegpt", raw, tokenizer=llama, max_length_tokens=limit)
    rounds = {pair for item in ours for pair in zip(item.messages[::2], item.messages[1::2], strict=True)}
    kept = [item for item in theirs if isinstance(item, Conversation)]
    assert kept
    for item in kept:
        assert set(zip(item.messages[::2], item.messages[1::2], strict=True)) <= rounds


def test_real_conversations_are_split_within_the_limit(shared: Path, llama: str) -> None:
    """Of 3,594 rounds in conversations that can be used, only those are lost that alone are longer than the limit."""
    rows = json.loads((shared / "data/sharegpt/sharegpt_1k_from_enriched.json").read_text("utf-8"))
    items = run("sharegpt", rows, tokenizer=llama, max_length_tokens=2048)
    kept = [item for item in items if isinstance(item, Conversation)]
    reasons = Counter(item.reason for item in items if isinstance(item, Dropped))
    assert (len(kept), sum(len(item.messages) // 2 for item in kept)) == (1296, 3556)
    assert reasons == {
        TOO_LONG: 38,
        "no question with an answer": 9,
        "roles do not alternate": 1,
        "sender system": 1,
    }
    ruler = load_ruler(llama, "tulu")
    assert max(ruler.length(item.messages) for item in kept) <= 2048


@pytest.mark.parametrize(
    ("file", "read", "dropped"),
    [
        ("fastchat_dummy_conversation.json", 500, {}),
        ("fastchat_lima_1k.json", 1000, {}),
        ("dialogstudio_original_example.json", 5, {}),
        (
            "sharegpt_1k_from_enriched.json",
            1011,
            {"no question with an answer": 9, "empty question": 3, "sender system": 1, "roles do not alternate": 1},
        ),
    ],
)
def test_real_files_are_read_and_counted_whole(shared: Path, file: str, read: int, dropped: dict[str, int]) -> None:
    items = run("sharegpt", json.loads((shared / "data/sharegpt" / file).read_text("utf-8")))
    reasons = (item.reason if isinstance(item, Dropped) else reason_to_drop(item) for item in items)
    assert len(items) == read
    assert Counter(reason for reason in reasons if reason) == dropped
