"""Wordings, reading of answers, prices: the parts of judging, each by itself."""

from pathlib import Path

import pytest

from packtrain.core.errors import UserError
from packtrain.evaluate.judging import wording
from packtrain.evaluate.judging.agreement import agreement
from packtrain.evaluate.judging.budget import Budget
from packtrain.evaluate.judging.reading import UnreadError, read_batch, read_ranking
from packtrain.evaluate.judging.wording import Comparison, Form, form_of, load_wordings
from packtrain.models.prices import Price, estimated_tokens, most_tokens, price_of

RANKING = "[{{'model': 'model_1', 'rank': {}}}, {{'model': 'model_2', 'rank': {}}}]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Output (a)\nOutput (b)\nOutput (a)", [1.0, 0.0, 1.0]),
        ("## Example 1\n Output (b), because\nOutput (a) is worse\n\nOutput (a)", [0.0, 1.0, 1.0]),
        ("Output (a)\r\nOutput (a)\r\nOutput (b)\r\n", [1.0, 1.0, 0.0]),
    ],
)
def test_lines_that_begin_with_an_output_are_verdicts(text: str, expected: list[float]) -> None:
    assert read_batch(text, 3) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Output (a)\nOutput (b)",
        "Output (a)\n" * 4,
        "I think Output (a)\nOutput (a)\nOutput (b)",
        "output (a)\noutput (a)\noutput (b)",
        "Output (a) Output (b) Output (a)",
        "Output (a\nOutput (a\nOutput (a",
        "  Output (a)\n  Output (a)\n  Output (a)",
    ],
)
def test_another_number_of_verdicts_is_unread(text: str) -> None:
    with pytest.raises(UnreadError, match=r"^\d verdicts on 3 comparisons$"):
        read_batch(text, 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (RANKING.format(1, 2), 1.0),
        (RANKING.format(2, 1), 0.0),
        (f"\n{RANKING.format(2, 1)}\n", 0.0),
        ('[{"model": "model_2", "rank": 2}, {"model": "model_1", "rank": 1}]', 1.0),
        (f"```python\n{RANKING.format(1, 2)}\n```", 1.0),
        (f"```\n{RANKING.format(2, 1)}```", 0.0),
        (RANKING.format(1, 1), 0.5),
        (RANKING.format(2, 2), 0.5),
        ("[{'model': 'model_1', 'rank': 2}]", 0.0),
        ("({'model': 'model_1', 'rank': 1},)", 1.0),
    ],
)
def test_a_ranking_says_which_is_first(text: str, expected: float) -> None:
    assert read_ranking(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "model_1",
        RANKING.format(3, 1),
        RANKING.format("'1'", 2),
        RANKING.format("[]", 2),
        "[{'model': 'model_2', 'rank': 1}]",
        "[{'name': 'model_1', 'rank': 1}]",
        "[{'model': [], 'rank': 1}]",
        "{'model': 'model_1', 'rank': 1}",
        "[1, 2]",
        "7",
        "Here it is: " + RANKING.format(1, 2),
        "[" * 5000,
        "__import__('os').getcwd()",
        "\x00",
    ],
)
def test_anything_else_is_unread_and_nothing_is_run(text: str) -> None:
    with pytest.raises(UnreadError):
        read_ranking(text)


def test_a_wording_of_the_original_s_form_is_filled_whole(tmp_path: Path) -> None:
    path = tmp_path / "w.txt"
    path.write_text(
        "<|im_start|>system\nYou rank.\n<|im_end|>\n<|im_start|>user\n"
        '{\n    "instruction": """{instruction}""",\n}\n[{output_1}] [{output_2}] {\'model\': <model-name>}\n<|im_end|>'
    )
    wordings = load_wordings("pair", path)
    assert wordings.with_input == wordings.without_input
    comparison = Comparison("Add {output_1}.", "1 and 2", "{instruction}", r"\1 three")
    assert wordings.with_input.prompt([comparison]) == (
        'You rank.\n\n{\n    "instruction": """Add {output_1}.\n\n1 and 2""",\n}\n'
        "[{instruction}] [\\1 three] {'model': <model-name>}"
    )


def test_a_folder_holds_the_two_wordings_of_the_batch_form(tmp_path: Path) -> None:
    two = "{instruction}|{output_1}|{output_2}\n" * 2
    (tmp_path / "b.txt").write_text(two)
    (tmp_path / "a.txt").write_text(
        two.replace("|", "|{input}|", 1).replace("\n{instruction}|", "\n{instruction}|{input}|")
    )
    wordings = load_wordings("batch", tmp_path)
    assert (wordings.with_input.with_input, wordings.without_input.with_input) == (True, False)
    assert wordings.with_input.prompt([Comparison("i", "g", "1", "2")]) == "i|g|1|2\n2+2=||4|5\n"
    assert wordings.without_input.prompt([Comparison("i", "g", "1", "2")]) == "i\n\ng|1|2\n2+2=|4|5\n"


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("{instruction}|{output_1}|{output_2}\nRank model_1 and model_2.", "pair"),
        ("{instruction}|{output_1}|{output_2}\n" * 5, "batch"),
        ("{instruction}|{output_1}|{output_2}\nSay Output (a) or Output (b).", "batch"),
    ],
)
def test_a_wording_says_how_it_is_answered(tmp_path: Path, text: str, form: Form) -> None:
    (tmp_path / "w.txt").write_text(text)
    assert (form_of(tmp_path / "w.txt"), form_of(tmp_path)) == (form, form)
    assert form_of(Path(wording.__file__).with_name(f"{form}.txt")) == form


def test_own_wordings_have_the_places_of_their_forms() -> None:
    pair, batch = load_wordings("pair"), load_wordings("batch")
    assert (pair.with_input, pair.without_input.size, pair.without_input.with_input) == (pair.without_input, 1, False)
    assert (batch.with_input.size, batch.without_input.size) == (5, 5)
    assert (batch.with_input.with_input, batch.without_input.with_input) == (True, False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Which is better?", "no place for instruction, output_1, output_2"),
        ("{instruction} {output_1}", "no place for output_2"),
        (
            "{instruction} {output_1} {output_1} {output_2} {output_2}",
            r"places differ in number \(instruction 1, output_1 2",
        ),
        ("{instruction} {output_1} {output_2} " * 2, "has places for several pairs"),
        (b"\xff{instruction}", "not valid UTF-8"),
    ],
)
def test_what_is_no_wording(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = tmp_path / "w.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=message) as caught:
        load_wordings("pair", path)
    assert str(path) in caught.value.message


def test_missing_and_doubled_wordings(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        load_wordings("pair", tmp_path / "none.txt")
    with pytest.raises(UserError, match="holds 0 wordings"):
        load_wordings("pair", tmp_path)
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("{instruction} {output_1} {output_2}")
    with pytest.raises(UserError, match="holds 2 wordings"):
        load_wordings("pair", tmp_path)


def test_prices() -> None:
    assert price_of("openai:gpt-4-0314") == Price(30.0, 60.0)
    assert price_of("openai:gpt-4o-2024-08-06") == price_of("openai:gpt-4o") == Price(2.5, 10.0)
    assert price_of("openai:gpt-4o-2024-08-06", 1.0, 2.0) == Price(1.0, 2.0)
    assert price_of("openai:unheard-of") is None
    assert price_of("scripted:gpt-4o") is None
    assert price_of("local", 0.0, 0.0) == Price(0.0, 0.0)
    assert Price(30.0, 60.0).cost_usd(1000, 500) == pytest.approx(0.06, abs=1e-12)
    for pair in ((1.0, None), (None, 1.0)):
        with pytest.raises(UserError, match="two parts"):
            price_of("openai:gpt-4o", *pair)
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UserError, match="at least 0"):
            price_of("openai:gpt-4o", wrong, 1.0)


def test_tokens_and_what_a_budget_affords() -> None:
    assert (estimated_tokens(""), estimated_tokens("12345")) == (0, 2)
    assert most_tokens("ü\ud800") == 2 + 3 + 16
    prompts = ["x" * 84] * 4  # 100 tokens at most, and 10 of the answer: 110 dollars each at a million per million
    budget = Budget(Price(1e6, 1e6), 330.0)
    assert budget.affordable(prompts, 10) == 3
    budget.pay(100, 9.5)
    assert budget.paid_usd == 109.5
    assert budget.affordable(prompts, 10) == 2
    assert Budget(None).affordable(prompts, 10) == 4
    with pytest.raises(UserError, match="needs a price"):
        Budget(None, 1.0)
    with pytest.raises(UserError, match="at least 0"):
        Budget(Price(1, 1), float("nan"))


def test_agreement_with_people() -> None:
    assert agreement() == {
        "alpaca_eval_gpt4": 69.2,
        "alpaca_farm_greedy_gpt4": 66.4,
        "humans": 65.7,
        "longest answer wins": 62.2,
    }
