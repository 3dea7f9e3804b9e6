"""Win rates of annotation files, and the command that prints them."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from packtrain.cli.evaluate_winrate import winrate
from packtrain.core.errors import UserError
from packtrain.evaluate.judging.agreement import agreement
from packtrain.evaluate.winrate import WinRate, read_annotations, shares, win_rate, write_annotations


def annotation(preference: Any, output: str = "abcd") -> dict[str, Any]:
    return {"instruction": "i", "output_1": "ab", "output_2": output, "preference": preference}


def test_wins_losses_and_both_kinds_of_tie() -> None:
    found = win_rate([annotation(value) for value in (2, 2.0, 1, 0, 1.5, None, float("nan"))] + [annotation(1, "a")])
    values = [1, 1, 0, 0.5, 0.5, 0]
    error = math.sqrt(sum((value - 0.5) ** 2 for value in values) / 5 / 6) * 100
    assert found.standard_error == pytest.approx(error, abs=1e-12)
    assert found == WinRate(
        win_rate=50.0,
        standard_error=found.standard_error,
        n_wins=2,
        n_wins_base=2,
        n_draws=2,
        n_total=6,
        n_unread=2,
        avg_length=3,
        discrete_win_rate=50.0,
    )


def test_a_judge_that_weighs_is_averaged_and_rounded_for_the_discrete_rate() -> None:
    found = win_rate([annotation(value) for value in (1.9, 1.2, 1.5, 1.51)])
    assert found.win_rate == pytest.approx(52.75, abs=1e-12)
    assert (found.n_wins, found.n_wins_base, found.n_draws, found.discrete_win_rate) == (2, 1, 1, 62.5)
    assert shares([annotation(1.25), annotation(None), annotation(0)]) == [0.25, None, 0.5]


def test_one_annotation_has_no_error_and_none_is_refused() -> None:
    assert (win_rate([annotation(2)]).win_rate, win_rate([annotation(2)]).standard_error) == (100.0, 0.0)
    with pytest.raises(UserError, match="no annotation has a preference"):
        win_rate([annotation(None)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("{}", "annotation 1 has no preference"),
        ("{\n}", r"annotations\.json:1: not valid JSON"),
        ("1", "is not a list of annotations"),
        ("[]", "is not a list of annotations"),
        ('[{"output_1": "a", "output_2": "b"}]', "annotation 1 has no preference"),
        ('[{"output_1": "a", "preference": 1}]', "annotation 1 has no text output_2"),
        (json.dumps([annotation(1), annotation(3)]), "annotation 2: preference is 3"),
        (json.dumps([annotation(0.7)]), r"annotation 1: preference is 0\.7"),
        (json.dumps([annotation("2")]), "annotation 1: preference is '2'"),
        (json.dumps([annotation(True)]), "annotation 1: preference is True"),
        (json.dumps([annotation([])]), r"annotation 1: preference is \[\]"),
        ("[Infinity]", "annotation 1 has no preference"),
        (json.dumps([annotation(float("inf"))]), "annotation 1: preference is inf"),
    ],
)
def test_what_is_no_annotation_file(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "annotations.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        read_annotations(path)


def test_a_missing_file_and_a_broken_line_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        read_annotations(tmp_path / "none.json")
    lines = tmp_path / "annotations.jsonl"
    lines.write_text(json.dumps(annotation(1)) + "\n{\n")
    with pytest.raises(UserError, match=r"annotations\.jsonl:2: not valid JSON"):
        read_annotations(lines)
    for path in (lines, tmp_path / "annotations.json"):
        path.write_text(f"{json.dumps(annotation(1))}\n{json.dumps(annotation(2))}\n")
        assert read_annotations(path) == [annotation(1), annotation(2)]
        path.write_text(json.dumps([annotation(1)], indent=2))
        assert read_annotations(path) == [annotation(1)]


def test_verdicts_are_written_in_alpaca_eval_s_form(tmp_path: Path) -> None:
    pairs = [
        {"instruction": "Add.", "input": "1", "reference": "r", "answer": "half \ud800"},
        {"instruction": "Say.", "input": "", "reference": "s", "answer": "b"},
    ]
    path = tmp_path / "annotations.json"
    write_annotations(path, pairs, [1.0, None], "openai:x", ("text_davinci_003", "mine"))
    common = {"generator_1": "text_davinci_003", "generator_2": "mine", "annotator": "openai:x"}
    assert read_annotations(path) == [
        {"instruction": "Add.\n\n1", "output_1": "r", "output_2": "half \ud800", "preference": 2.0, **common},
        {"instruction": "Say.", "output_1": "s", "output_2": "b", "preference": None, **common},
    ]
    assert win_rate(read_annotations(path)).win_rate == 100.0


@pytest.fixture
def command() -> typer.Typer:
    app = typer.Typer()
    app.command()(winrate)
    return app


def test_the_command_prints_everything_as_json(tmp_path: Path, command: typer.Typer) -> None:
    path = tmp_path / "annotations.json"
    records = [annotation(1 + number % 2, "x" * (1 + number % 7)) for number in range(30)]
    path.write_text(json.dumps(records))
    result = CliRunner().invoke(command, [str(path), "--json"])
    printed = json.loads(result.stdout)
    controlled = printed.pop("length_controlled")
    assert printed == {"annotations": str(path), **asdict(win_rate(records)), "agreement_with_people": agreement()}
    assert controlled["notes"] == ["without difficulties of instructions: not the published figure"]
    assert 30 < controlled["rate"] < 70


def test_the_command_prints_a_table_and_does_without_a_length_controlled_rate_where_pairs_are_few(
    tmp_path: Path, command: typer.Typer
) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([annotation(2), annotation(1)]))
    result = CliRunner().invoke(command, [str(path)])
    shown = {
        line.split("│")[1].strip(): line.split("│")[2].strip() for line in result.stdout.splitlines() if "│" in line
    }
    assert shown == {
        "win rate": "50.00 % ± 50.00",
        "wins, losses, ties": "1, 1, 0",
        "pairs that count": "2",
        "verdicts not read": "0",
        "discrete win rate": "50.00 %",
        "average length, characters": "4",
        "agreement with people: alpaca_eval_gpt4": "69.2 %",
        "agreement with people: alpaca_farm_greedy_gpt4": "66.4 %",
        "agreement with people: humans": "65.7 %",
        "agreement with people: longest answer wins": "62.2 %",
    }
    table = tmp_path / "d.csv"
    table.write_text("index,instruction_difficulty\n0,1.5\n1,2\n")
    asked = CliRunner().invoke(command, [str(path), "--difficulties", str(table)])
    assert isinstance(asked.exception, UserError)
    assert asked.exception.message == "2 preferences are too few to control for length"
