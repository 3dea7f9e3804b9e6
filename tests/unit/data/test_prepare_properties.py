"""For any sources and options: every record is somewhere, ids differ, and nothing depends on order or processes."""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packtrain.core.conversation import Conversation, read_conversations
from packtrain.core.errors import UserError
from packtrain.core.recipe import Data, Source
from packtrain.data.conversion import Conversion
from packtrain.data.format import open_format
from packtrain.data.prepare import PrepareReport, prepare
from packtrain.data.records import Record
from packtrain.data.work import Work, convert

TEXTS = (
    "Say hi.",
    "Say  hi. ",
    "Name three rivers in the north of the country.",
    "name three rivers in the north of the country",
    "",
    "</s>",
    "\ud800",
    "a\u2028b\u0085c\r",
    "x#2",
)
IDS = (None, "", "a", "a#2", "a##2", "a#3", "m_0", "m_1", "m_2", "7", "0", "x\ud800", "é\n")
EXTRA = ({}, {"provenance": {"from": "\udc00", "n": 1}}, {"dataset": "other"}, {"provenance": None})

records = st.builds(
    lambda identity, question, context, answer, extra: {
        **({} if identity is None else {"id": identity}),
        "messages": [
            {"role": "user", "content": question, **({} if context is None else {"context": context})},
            {"role": "assistant", "content": answer},
        ],
        **extra,
    },
    st.sampled_from(IDS),
    st.sampled_from(TEXTS),
    st.sampled_from((None, "", "Say hi.", "\udfff")),
    st.sampled_from(TEXTS),
    st.sampled_from(EXTRA),
)
alpaca = st.builds(
    lambda question, context, answer: {"instruction": question, "input": context, "output": answer},
    st.sampled_from(TEXTS),
    st.sampled_from((None, "", " ", "Say hi.")),
    st.sampled_from((*TEXTS, None)),
)
choices = st.fixed_dictionaries(
    {},
    optional={
        "max_examples": st.integers(1, 12),
        "fraction": st.floats(0.01, 1),
        "repeat": st.integers(1, 3),
        "wording": st.sampled_from(("apart", "plain", "random")),
        "clean": st.sampled_from((("clean",), ("paper",), ("clean,-identity",))),
    },
)
sources = st.one_of(
    st.tuples(st.just("messages"), st.lists(records, max_size=12), choices),
    st.tuples(st.just("alpaca"), st.lists(alpaca, max_size=12), choices),
)
cases = st.fixed_dictionaries(
    {
        "sources": st.lists(sources, min_size=1, max_size=3),
        "held_out": st.integers(0, 4),
        "duplicates": st.sampled_from(("keep", "exact", "near", "near:0.5", "near:1")),
        "compat": st.booleans(),
        "provenance": st.booleans(),
        "seed": st.integers(0, 3),
    }
)


@contextmanager
def written(case: dict[str, Any]) -> Iterator[tuple[Path, Data]]:
    with tempfile.TemporaryDirectory() as name:
        folder, found = Path(name), {}
        for place, (form, rows, chosen) in enumerate(case["sources"]):
            path = folder / f"{place}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            found["mno"[place]] = Source(format=form, path=str(path), **chosen)
        yield folder, Data(sources=found, held_out=case["held_out"], duplicates=case["duplicates"])


def run(data: Data, out: Path, case: dict[str, Any], jobs: int = 1) -> PrepareReport | None:
    """The report; None when too little was left."""
    settings = {name: case[name] for name in ("seed", "compat", "provenance")}
    try:
        return prepare(data, out, jobs=jobs, **settings)
    except UserError as error:
        if "were kept" in error.message or "nothing left" in error.message:
            return None
        raise


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []


@settings(max_examples=100, deadline=None)
@given(cases)
def test_everything_is_somewhere_once(case: dict[str, Any]) -> None:
    with written(case) as (folder, data):
        report = run(data, folder / "out", case)
        if report is None:
            assert sorted(path.name for path in folder.iterdir()) == [f"{n}.jsonl" for n in range(len(data.sources))]
            return
        train, held_out, dropped = (
            lines(folder / "out" / f"{name}.jsonl") for name in ("train", "held_out", "dropped")
        )
        identities = [(row["dataset"], row["id"]) for row in train + held_out]
        assert case["compat"] or len(set(identities)) == len(identities)  # the original keeps ids that repeat
        assert [(c.dataset, c.id) for c in read_conversations(folder / "out" / "train.jsonl")] == identities[
            : len(train)
        ]
        assert len(held_out) == report.held_out == data.held_out
        for (name, source), (_, rows, _) in zip(data.sources.items(), case["sources"], strict=True):
            counts = report.sources[name]
            here = [sum(row["dataset"] == name for row in file) for file in (train, held_out, dropped)]
            assert here == [counts.train, counts.held_out, counts.dropped.total()]
            assert counts.read == len(rows)
            once = counts.train - counts.repeated
            assert once * source.repeat == counts.train
            assert counts.read == once + counts.held_out + counts.not_drawn + counts.dropped.total()
            good = counts.read - counts.dropped.total()
            limits = [good, source.max_examples or good]
            limits += [] if source.fraction is None else [max(1, round(source.fraction * good))]
            assert once + counts.held_out == min(limits)
            reasons = Counter(row["reason"] for row in dropped if row["dataset"] == name)
            assert reasons == counts.dropped


@settings(max_examples=15, deadline=None)
@given(cases)
def test_processes_change_nothing(case: dict[str, Any]) -> None:
    with written(case) as (folder, data):
        alone, together = run(data, folder / "one", case), run(data, folder / "two", case, jobs=2)
        assert (alone and alone.figures()) == (together and together.figures())
        for name in ("train", "held_out", "dropped"):
            assert lines(folder / "one" / f"{name}.jsonl") == lines(folder / "two" / f"{name}.jsonl")


@settings(max_examples=60, deadline=None)
@given(cases, st.randoms(use_true_random=False))
def test_order_of_sources_and_of_records_with_ids_changes_nothing_but_order(case: dict[str, Any], random: Any) -> None:
    """Of equal ids and of repetitions the first stays, so here there are none of either."""
    for _, rows, _ in case["sources"]:
        for place, row in enumerate(rows):
            row["id"] = f"own{place}"
    case = {**case, "duplicates": "keep", "sources": [s for s in case["sources"] if s[0] == "messages"]}
    if not case["sources"]:
        return
    with written(case) as (folder, data):
        first = run(data, folder / "one", case)
        backwards = Data(
            sources=dict(reversed(data.sources.items())), held_out=data.held_out, duplicates=data.duplicates
        )
        for source in data.sources.values():
            rows = source.file.read_text().splitlines()
            random.shuffle(rows)
            source.file.write_text("".join(f"{row}\n" for row in rows))
        case["provenance"] = False
        second = run(backwards, folder / "two", case)
        assert (first is None) == (second is None)
        for name in ("train", "held_out", "dropped"):
            found = [
                Counter((row["dataset"], row["id"]) for row in lines(folder / out / f"{name}.jsonl"))
                for out in ("one", "two")
            ]
            assert found[0] == found[1]


FORMATS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("alpaca", {"instruction": " Add. ", "input": " 1\n2 ", "output": " 3 "}),
    ("alpaca", {"instruction": "Add {input}.", "input": " ", "output": "{output}"}),
    ("dolly", {"instruction": "", "context": "Given.", "response": "So."}),
    ("unnatural_instructions", {
        "instruction": "Go.\n",
        "instances": [
            {"input": given, "constraints": more, "output": "a"} for given in (None, "x ") for more in ("None.", "b")
        ],
    }),
    ("cot", {"inputs": "Why?", "targets": " So."}),
    ("baize", {"input": "[|Human|] a [|AI|] b [|Human|] c", "topic": "t"}),
    ("sharegpt", {"id": "x", "conversations": [{"from": "human", "value": " q "}, {"from": "gpt", "value": "a"}]}),
    ("messages", {
        "messages": [{"role": "user", "content": "q", "context": " c "}, {"role": "assistant", "content": " a"}]
    }),
    ("prompt_completion", {"prompt": "p ", "completion": " c"}),
    ("oasst1", {"prompt": {"text": " q ", "role": "prompter", "replies": [{"text": "a", "role": "assistant"}] * 2}}),
)  # fmt: skip


@pytest.mark.parametrize("wording", ["apart", "plain", "random"])
@pytest.mark.parametrize(("name", "fields"), FORMATS)
@pytest.mark.parametrize("seed", range(5))
def test_without_cleaning_the_wording_is_what_the_format_itself_gives(
    name: str, fields: dict[str, Any], wording: Any, seed: int
) -> None:
    """Cleaning and comparing work on what is still apart, and put it together afterwards: to the same text."""
    conversion, record = Conversion("set", seed, wording), Record(7, "file:8", fields)
    rows = convert(Work(name, conversion), [record]).rows
    whole = [item for item in open_format(name).convert(record, conversion) if isinstance(item, Conversation)]
    assert [json.loads(f"{{{row.body}}}") for row in rows if not row.reason] == [
        {"messages": [message.as_json() for message in item.messages]} for item in whole
    ]
    assert whole
