"""Wordings: what is drawn, how often, and that text with braces goes through them unharmed."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import pytest

from packtrain.core.conversation import Conversation, Message
from packtrain.core.recipe import Wording
from packtrain.data.conversion import Conversion
from packtrain.data.format import converted, open_format
from packtrain.data.records import Record
from packtrain.data.wording import Layout, single_round, wordings

CHI_SQUARE_13_AT_0_001 = 34.53
"""A fair draw from 14 weights exceeds this once in a thousand tests (upper 0.1 % point, 13 degrees of freedom)."""


def random_round(instruction: str, given: str | None, answer: str, seed: int = 42) -> tuple[str, str]:
    question, reply = single_round(instruction, given, answer, Conversion("d", seed, "random"))
    assert question.context is None
    return question.content, reply.content


def rendered(layout: Layout, instruction: str, given: str, answer: str) -> tuple[str, str]:
    """By replacement, which finds braces in the text put in: good for texts without any."""
    question = layout.prompt.replace("{instruction}", instruction).replace("{input}", given)
    return question, layout.completion.replace("{output}", answer)


@pytest.mark.real_data
def test_the_wordings_are_those_of_the_reference_in_its_order(shared: Path) -> None:
    path = shared / "data/prompt_assets/encode_templates.json"
    entries = [
        ("with_input" if kind else "without_input", layout.prompt, layout.completion, layout.weight)
        for kind in (True, False)
        for layout in wordings(kind).layouts
    ]
    expected = json.loads(path.read_text("utf-8"))["templates"]
    assert entries == [(e["kind"], e["prompt"], e["completion"], e["weight"]) for e in expected]


def test_fourteen_wordings_of_each_kind_share_all_the_weight() -> None:
    for kind in (True, False):
        layouts = wordings(kind).layouts
        assert len(layouts) == 14
        assert sum(layout.weight for layout in layouts) == pytest.approx(1)
        assert all("{instruction}" in layout.prompt and ("{input}" in layout.prompt) is kind for layout in layouts)
        assert all(layout.completion.endswith("{output}") for layout in layouts)


def test_apart_changes_nothing() -> None:
    conversion = Conversion("d")
    for given, context in (("X ", "X "), (" ", " "), ("", None), (None, None)):
        assert single_round(" I{x}\n", given, " o ", conversion) == (
            Message("user", " I{x}\n", context),
            Message("assistant", " o "),
        )


def test_plain_strips_and_puts_blank_lines_between() -> None:
    conversion = Conversion("d", wording="plain")
    answer = Message("assistant", "o {}")
    assert single_round(" I{x}\n", " {X} ", " o {}\n", conversion) == (Message("user", "I{x}\n\n{X}\n\n"), answer)
    for blank in ("", " \n", None):
        assert single_round(" I{x}\n", blank, "o {}", conversion) == (Message("user", "I{x}\n\n"), answer)


@pytest.mark.parametrize("given", [" the input ", None])
def test_every_wording_is_drawn_about_as_often_as_its_weight_says(given: str | None) -> None:
    kind, draws = wordings(given is not None), 4000
    counts: Counter[int] = Counter()
    for number in range(draws):
        found = random_round(f"Do {number}.", given, f"out {number}")
        options = [rendered(layout, f"Do {number}.", "the input", f"out {number}") for layout in kind.layouts]
        counts[options.index(found)] += 1
    expected = [layout.weight * draws for layout in kind.layouts]
    statistic = sum((counts[index] - mean) ** 2 / mean for index, mean in enumerate(expected))
    assert statistic < CHI_SQUARE_13_AT_0_001


def test_an_answer_may_start_on_a_new_line() -> None:
    """One wording without an input ends at the instruction; its completion begins with the line feed."""
    rounds = [random_round(f"I{number}", None, " out ") for number in range(200)]
    plain = [(question, answer) for question, answer in rounds if answer == "\nout"]
    assert 5 <= len(plain) <= 50
    assert all(question == question.strip() and question[1:].isdigit() for question, _ in plain)
    assert {answer for _, answer in rounds} == {"\nout", "out"}


@pytest.mark.parametrize("blank", ["", " ", "\n\t", None])
def test_a_blank_input_counts_as_none(blank: str | None) -> None:
    options = [rendered(layout, "I", "", "o") for layout in wordings(False).layouts]
    for seed in range(30):
        assert random_round("I", blank, "o", seed) == random_round("I", None, "o", seed)
        assert random_round("I", blank, "o", seed) in options


@pytest.mark.parametrize("wording", get_args(Wording))
def test_braces_and_half_characters_in_the_data_survive(wording: Wording) -> None:
    parts = "{input} {0} {", "{instruction} }{", "{output} %s {{}}", "\ud800 \\"
    for number in range(60):
        instruction, given, answer = (f"{number} {part}{parts[3]}" for part in parts[:3])
        question, reply = single_round(instruction, given, answer, Conversion("d", wording=wording))
        text = question.content + (question.context or "")
        assert text.count(instruction) == text.count(given) == reply.content.count(answer) == 1


def alpaca(rows: list[dict[str, Any]], **settings: Any) -> list[tuple[Message, ...]]:
    records = [Record(number, f"row {number}", row) for number, row in enumerate(rows)]
    found = list(converted(records, open_format("alpaca"), Conversion("d", **settings)))
    return [item.messages for item in found if isinstance(item, Conversation)]


def test_a_record_gets_the_same_wording_wherever_it_stands() -> None:
    rows = [{"instruction": f"Do {n}.", "input": "x" * (n % 3), "output": "o"} for n in range(100)]
    shuffled = random.Random(1).sample(range(100), 100)
    whole = alpaca(rows, wording="random")
    assert alpaca([rows[place] for place in shuffled], wording="random") == [whole[place] for place in shuffled]
    assert alpaca(rows[90:], wording="random") == whole[90:]
    assert alpaca(rows, wording="random", seed=1) != whole


def test_compat_repeats_the_original_stream_of_draws() -> None:
    """One draw of `random.choices` per row from one generator, whatever part of the file a process converts."""
    rows = [{"instruction": f"Do {n}.", "input": "x" * (n % 3), "output": "o"} for n in range(500)]
    generator, expected = random.Random(3), []
    for row in rows:
        layouts = wordings(bool(row["input"])).layouts
        [layout] = generator.choices(layouts, weights=[layout.weight for layout in layouts])
        expected.append(rendered(layout, row["instruction"], row["input"], "o"))
    records = [Record(number, f"row {number}", row) for number, row in enumerate(rows)]
    form, conversion = open_format("alpaca"), Conversion("d", seed=3, compat=True)
    for part in (records[400:], records[:400]):
        found = [item for item in converted(part, form, conversion) if isinstance(item, Conversation)]
        assert [tuple(message.content for message in item.messages) for item in found] == [
            expected[record.number] for record in part
        ]
