"""The score table: whole tables, the Average of six groups, differences beyond chance, and never two profiles."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from packtrain.cli.evaluate_options import print_scores
from packtrain.cli.evaluate_show import show
from packtrain.core.errors import UserError
from packtrain.core.score import COLUMNS, Score, one_profile, write_scores
from packtrain.evaluate.comparison import AVERAGE, Beside, Line, Result, compared, lines, measured
from packtrain.evaluate.table import score_table

WHOLE = [Score(column, 30.0 + index, 1000 + index, 1.25) for index, column in enumerate(COLUMNS)]


def shown(scores: list[Score], compare: list[Result] | None = None, width: int = 120) -> str:
    """The table as a terminal of so many columns shows it."""
    console = Console(file=StringIO(), width=width, color_system=None)
    console.print(score_table(scores, "a model [bold]", compare or []))
    assert isinstance(console.file, StringIO)
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


def test_the_whole_table_of_a_model() -> None:
    noted = replace(WHOLE[1], notes=("3 shots dropped", "40 [of] 900 cut"))
    assert shown([WHOLE[10], noted, Score("world", 91.5, 200, 2.0)]) == (
        "    a model [bold], profile paper-2023\n"
        "                               std.\n"
        "column              percent   error      n\n"
        "──────────────────────────────────────────\n"
        "mmlu:5shot             31.0     1.2   1001\n"
        "alpacafarm             40.0     1.2   1010\n"
        "world                  91.5     2.0    200\n"
        "\n"
        "Average (partial)      40.0     1.2\n"
        "mmlu:5shot: 3 shots dropped; 40 [of] 900\n"
        "cut\n"
        "Average (partial): of 1 of 6 groups,\n"
        "AlpacaFarm\n"
    )


def test_what_is_to_be_known_of_every_column_is_said_once() -> None:
    noted = [replace(WHOLE[1], notes=("2 cut", "in float32")), replace(WHOLE[3], notes=("in float32",))]
    assert shown(noted).endswith("gsm:cot         33.0     1.2   1003\nall columns: in float32\nmmlu:5shot: 2 cut\n")
    assert shown(noted[:1]).endswith("mmlu:5shot: 2 cut; in float32\n")


def test_the_whole_table_beside_a_published_model() -> None:
    scores = [Score("gsm:direct", 8.0, 200, 1.9), Score("gsm:cot", 27.5, 200, 3.2)]
    assert shown(scores, compared(["tulu-7b", "oasst1-13b"])) == (
        "                        a model [bold], profile paper-2023\n"
        "                               std.\n"
        "column              percent   error     n   tulu-7b      gap   oasst1-13b       gap\n"
        "───────────────────────────────────────────────────────────────────────────────────\n"
        "gsm:direct              8.0     1.9   200       6.0     +2.0          5.0      +3.0\n"
        "gsm:cot                27.5     3.2   200      27.0     +0.5         16.0   +11.5 ▲\n"
        "\n"
        "Average (partial)      17.8     2.5            16.5     +1.2         10.5    +7.2 ▲\n"
        "Average (partial): of 1 of 6 groups, GSM\n"
        "gap: this model less the one before it, ▲ ▼ where it is more than two standard\n"
        "errors (of this model alone: published figures come without)\n"
    )


def test_the_average_is_the_mean_of_six_groups_not_of_eleven_columns() -> None:
    tulu = compared(["tulu-65b"])[0]
    scores = [Score(column, tulu.values[column], 200, 1.0) for column in COLUMNS]
    last = lines(scores, [tulu])[-1]
    assert (last.name, last.n, last.groups) == (AVERAGE, None, ())
    assert last.value == pytest.approx(46.35)  # the mean of the eleven is 44.86
    assert last.standard_error == pytest.approx(1 / 6**0.5)
    assert last.beside["tulu-65b"] == Beside(last.value, 0.0, False)


def test_a_partial_average_is_of_whole_groups_the_same_for_all() -> None:
    """TydiQA has one column only and does not count; `other` lacks a column of GSM and has no figure."""
    chosen = [score for score in WHOLE if score.column.startswith(("mmlu", "gsm", "tydiqa:gold"))]
    other = Result("other", "paper-2023", {"mmlu:0shot": 50.0, "mmlu:5shot": 52.0, "gsm:cot": 10.0})
    whole = compared(["tulu-65b"])[0]
    last = lines(chosen, [other, whole])[-1]
    assert last.groups == ("MMLU", "GSM")
    assert last.value == pytest.approx((30.5 + 32.5) / 2)
    assert list(last.beside) == ["tulu-65b"]
    assert last.beside["tulu-65b"].value == pytest.approx(((59.2 + 61.1) / 2 + (9 + 60) / 2) / 2)


def test_a_part_of_the_items_is_marked_and_in_no_average(tmp_path: Path) -> None:
    tried = [replace(score, n=5, whole_n=score.n) for score in WHOLE]
    assert [line.name for line in lines(tried)] == list(COLUMNS)
    write_scores(tmp_path / "scores.json", "trial", [WHOLE[2], tried[3]])
    scores = [WHOLE[0], WHOLE[1], WHOLE[2], tried[3]]
    assert shown(scores, compared([str(tmp_path)])) == (
        "            a model [bold], profile paper-2023\n"
        "                               std.\n"
        "column              percent   error      n   trial      gap\n"
        "───────────────────────────────────────────────────────────\n"
        "mmlu:0shot             30.0     1.2   1000\n"
        "mmlu:5shot             31.0     1.2   1001\n"
        "gsm:direct             32.0     1.2   1002    32.0     +0.0\n"
        "gsm:cot *              33.0     1.2      5   33.0*     +0.0\n"
        "\n"
        "Average (partial)      30.5     1.2\n"
        "* of a part of the items, as with --limit: no result of the\n"
        "benchmark, and in no Average\n"
        "Average (partial): of 1 of 6 groups, MMLU\n"
        "gap: this model less the one before it, ▲ ▼ where it is\n"
        "more than two standard errors\n"
    )
    assert "--limit" in shown([WHOLE[3]], compared([str(tmp_path)]))
    assert "--limit" not in shown([WHOLE[2]], compared([str(tmp_path)]))


def test_without_a_whole_group_there_is_no_average() -> None:
    assert [line.name for line in lines([WHOLE[0], WHOLE[2]])] == ["mmlu:0shot", "gsm:direct"]
    assert lines([]) == []


@pytest.mark.parametrize(
    ("theirs", "their_error", "beyond"),
    [
        (12.1, 0.0, True),
        (11.9, 0.0, False),
        (7.9, 0.0, True),
        (8.1, 0.0, False),
        (12.5, 1.0, False),
        (12.9, 1.0, True),
    ],
)
def test_a_difference_is_marked_beyond_two_standard_errors(theirs: float, their_error: float, beyond: bool) -> None:
    """Of both where both are known: two errors of 1 give one of 1.41."""
    other = Result("other", "paper-2023", {"gsm:cot": theirs}, {"gsm:cot": their_error} if their_error else {})
    line = lines([Score("gsm:cot", 10.0, 200, 1.0)], [other])[0]
    assert line == Line("gsm:cot", 10.0, 1.0, 200, (), {"other": Beside(theirs, 10.0 - theirs, beyond)})


def test_equal_grades_do_not_make_every_difference_significant() -> None:
    """0 of 200 has a standard error of 0; one item's worth, half a point, is taken."""
    other = Result("other", "paper-2023", {"gsm:direct": 0.9, "gsm:cot": 1.1})
    nothing = [Score(column, 0.0, 200, 0.0) for column in other.values]
    *columns, last = lines(nothing, [other])
    assert [line.beside["other"].beyond for line in columns] == [False, True]
    assert [line.standard_error for line in (*columns, last)] == [0.0, 0.0, 0.0]  # the measured ones are shown
    nearly = Result("other", "paper-2023", {"gsm:direct": 0.9, "gsm:cot": 1.0})
    assert [lines(nothing, [one])[-1].beside["other"].beyond for one in (other, nearly)] == [False, False]
    clear = Result("other", "paper-2023", {"gsm:direct": 1.1, "gsm:cot": 1.1})
    assert lines(nothing, [clear])[-1].beside["other"].beyond


def test_profiles_never_mix() -> None:
    fixed = [replace(score, profile="fixed") for score in WHOLE]
    with pytest.raises(UserError, match="scores of several profiles: fixed, paper-2023"):
        score_table([WHOLE[0], fixed[1]], "m")
    with pytest.raises(UserError, match="tulu-7b was measured under the profile paper-2023, this model under fixed"):
        score_table(fixed, "m", compared(["tulu-7b"]))
    with pytest.raises(UserError, match="a column twice"):
        one_profile([WHOLE[0], WHOLE[0]])


def test_other_evaluations_can_be_compared_with(tmp_path: Path) -> None:
    folder = tmp_path / "scores"
    write_scores(folder / "scores.json", "base model", WHOLE[:2])
    expected = measured("base model", WHOLE[:2])
    assert compared([str(folder), "tulu-7b"])[0] == expected
    assert compared([str(folder / "scores.json")]) == [expected]
    both = [str(folder), str(folder / "scores.json")]
    assert [one.name for one in compared([*both, "tulu-7b"])] == [
        *both,
        "tulu-7b",
    ]  # by path, for the models are named alike
    assert [one.name for one in compared([str(folder)], "base model")] == [str(folder)]
    with pytest.raises(UserError, match=f"have one name: {folder}, {folder}"):
        compared([str(folder), str(folder)])
    with pytest.raises(UserError, match="unknown published model: tulu"):
        compared(["tulu"])
    with pytest.raises(UserError, match="cannot read"):
        compared([str(tmp_path / "missing.json")])


def test_two_models_beside_fit_a_narrow_terminal() -> None:
    scores = [Score("gsm:direct", 8.0, 200, 1.9), Score("gsm:cot", 27.5, 200, 3.2)]
    text = shown(scores, compared(["tulu-7b", "oasst1-13b"]), width=80)
    assert "+11.5 ▲" in text
    assert all(part in text for part in ("percent", "tulu-7b", "oasst1-13b", "gsm:direct"))
    assert max(map(len, text.splitlines())) <= 80


class TestShow:
    """`packtrain evaluate show`, called as the command line calls it."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        write_scores(tmp_path / "scores.json", "my model", [Score("gsm:direct", 8.0, 200, 1.9), WHOLE[3]])
        return tmp_path

    def test_it_prints_what_the_table_says_as_json(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        show(folder, compare="tulu-7b,", hub=folder / "hub", figure=folder / "figure.svg", as_json=True)
        printed = json.loads(capsys.readouterr().out)
        assert printed["model"] == "my model"
        assert [row["name"] for row in printed["rows"]] == ["gsm:direct", "gsm:cot", AVERAGE]
        beside = {"value": 27.0, "difference": 6.0, "beyond": True, "partial": False}
        assert printed["rows"][1]["beside"]["tulu-7b"] == beside
        assert printed["rows"][2]["groups"] == ["GSM"]
        assert [Path(name).name for name in printed["hub"]] == ["gsm8k.yaml", "model-index.yaml"]
        assert (folder / "figure.svg").read_text(encoding="utf-8").startswith("<?xml")

    def test_it_prints_the_table(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        show(folder / "scores.json")
        assert "gsm:direct" in capsys.readouterr().out

    def test_scores_are_printed_before_they_are_drawn(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        many = [replace(measured("", WHOLE), name=str(number)) for number in range(8)]
        with pytest.raises(UserError, match="9 models in one figure"):
            print_scores(WHOLE, "m", folder, many, folder / "figure.svg", as_json=True)
        assert len(json.loads(capsys.readouterr().out)["scores"]) == len(WHOLE)

    def test_it_refuses_what_there_is_not(self, folder: Path) -> None:
        with pytest.raises(UserError, match="unknown kind of figure: pie"):
            show(folder, kind="pie")
        with pytest.raises(UserError, match="cannot read"):
            show(folder / "nothing.json")
        with pytest.raises(UserError, match="needs three groups"):
            show(folder, figure=folder / "f.png", kind="radar")
