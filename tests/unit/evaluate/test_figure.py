"""Figures of scores: whole, the same bytes for the same scores, and refused when they could not be read."""

import re
from pathlib import Path

import pytest

from packtrain.core.errors import UserError
from packtrain.core.score import COLUMNS, Score
from packtrain.evaluate.comparison import Result, compared, measured
from packtrain.evaluate.figure import MOST_MODELS, Kind, check_figure, draw_bars, draw_radar, write_figure

OURS = measured("my <model> $x$", [Score(column, 30.0 + index, 200, 1.5) for index, column in enumerate(COLUMNS)])
MODELS = [OURS, *compared(["tulu-65b", "oasst1-13b"])]


@pytest.mark.parametrize("kind", ["bars", "radar"])
@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_same_scores_give_the_same_bytes(tmp_path: Path, kind: Kind, suffix: str) -> None:
    for name in ("a", "b"):
        write_figure(MODELS, tmp_path / f"{name}{suffix}", kind)
    first, second = ((tmp_path / f"{name}{suffix}").read_bytes() for name in ("a", "b"))
    assert first == second
    assert first.startswith(b"\x89PNG" if suffix == ".png" else b"<?xml")


def test_bars_show_every_figure_and_every_whisker() -> None:
    axes = draw_bars(MODELS).axes[0]
    assert [text.get_text() for text in axes.texts] == [
        f"{model.values[column]:.1f}" for model in MODELS for column in COLUMNS
    ]
    assert len(axes.patches) == 3 * len(COLUMNS)
    assert len(axes.containers) == 3 * len(COLUMNS) + len(COLUMNS)  # bars, and the whiskers of the measured model
    assert axes.get_yticklabels()[0].get_text() == "MMLU 0-shot"
    assert axes.get_xlim() == (0, 70)


def test_equal_grades_have_no_whisker_as_in_the_table() -> None:
    axes = draw_bars([measured("all wrong", [Score("gsm:cot", 0.0, 1, 0.0)])]).axes[0]
    assert (len(axes.containers), axes.get_xlabel()) == (1, "percent")


def test_the_legend_names_the_models_in_order_and_long_names_are_cut() -> None:
    long = Result("a" * 60, "paper-2023", {"gsm:cot": 99.0}, {"gsm:cot": 4.0})
    for figure in (draw_bars([*MODELS, long]), draw_radar(MODELS)):
        names = [text.get_text() for text in figure.legends[0].get_texts()]
        assert names[:3] == ["my <model> $x$", "tulu-65b", "oasst1-13b"]
        assert names[3:] in ([], ["a" * 47 + "…"])


def test_models_differ_in_more_than_colour() -> None:
    many = [Result(str(number), "paper-2023", OURS.values) for number in range(MOST_MODELS)]
    handles = draw_bars(many).legends[0].get_patches()
    assert len({handle.get_hatch() for handle in handles}) == MOST_MODELS
    assert len({handle.get_facecolor() for handle in handles}) == MOST_MODELS
    drawn = draw_radar(many).legends[0].get_lines()
    assert len({line.get_marker() for line in drawn}) == MOST_MODELS


def test_a_radar_has_an_axis_for_each_group_that_all_models_have() -> None:
    axes = draw_radar([OURS, *compared(["tulu-13b"])]).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["MMLU", "GSM", "BBH"]
    assert [round(value, 6) for value in axes.lines[0].get_ydata()] == [30.5, 32.5, 34.5, 30.5]


def test_figures_that_cannot_be_are_refused(tmp_path: Path) -> None:
    refusals: list[tuple[list[Result], str, Kind, str]] = [
        (MODELS, "figure.pdf", "bars", "cannot tell what to draw"),
        ([], "figure.png", "bars", "no score to draw"),
        ([Result("m", "fixed", {})], "figure.png", "bars", "no score to draw"),
        ([OURS, Result("m", "fixed", {"gsm:cot": 1.0})], "figure.png", "bars", "several profiles: fixed, paper-2023"),
        ([Result("m", "fixed", {"gsm:cot": 1.0})], "figure.png", "radar", "needs three groups"),
        ([OURS] * (MOST_MODELS + 1), "figure.png", "bars", "9 models in one figure"),
    ]
    for results, name, kind, message in refusals:
        with pytest.raises(UserError, match=re.escape(message)):
            write_figure(results, tmp_path / name, kind)
    check_figure(tmp_path / "figure.png", [], "bars")  # before anything is measured
    write_figure(MODELS, tmp_path / "figure.png")
    with pytest.raises(UserError, match="exists already"):
        write_figure(MODELS, tmp_path / "figure.png")
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]
