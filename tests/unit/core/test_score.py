"""The Average is the published one, and scores survive their file."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from packtrain.core.errors import UserError
from packtrain.core.score import (
    COLUMNS,
    Score,
    average,
    average_of,
    notes_by_column,
    read_scores,
    whole_scores,
    write_scores,
)

PUBLISHED = {
    "Code-Alpaca 7B": ([34.7, 34.5, 6.5, 7.5, 29.6, 30.5, 36.7, 10.5, 16.5, 29.2, 17.5], 22.6),
    "Open Assistant 13B": ([43.1, 34.0, 5.0, 16.0, 34.8, 38.5, 38.3, 9.2, 14.1, 31.8, 53.5], 31.1),
    "Tulu 65B": ([59.2, 61.1, 9.0, 60.0, 48.1, 53.5, 51.8, 13.3, 28.9, 45.9, 62.7], 46.3),
}


@pytest.mark.parametrize("model", PUBLISHED)
def test_average_of_the_published_rows(model: str) -> None:
    values, published = PUBLISHED[model]
    computed = average(dict(zip(COLUMNS, values, strict=True)))
    assert computed is not None
    assert round(computed, 1) == pytest.approx(published, abs=0.1001)


def test_no_average_without_all_columns() -> None:
    assert average(dict.fromkeys(COLUMNS[1:], 50.0)) is None


def test_scores_survive_their_file(tmp_path: Path) -> None:
    scores = [Score("gsm:cot", 12.5, 200, 2.3), Score("exact_match", 99.0, 300, 0.6, version=2)]
    write_scores(tmp_path / "scores.json", "m", scores)
    assert read_scores(tmp_path / "scores.json") == scores


def test_a_part_of_the_items_is_told_in_the_file_and_a_whole_column_has_no_such_key(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    scores = [Score("gsm:cot", 12.5, 4, 2.3, whole_n=1319), Score("gsm:direct", 12.5, 1319, 2.3)]
    write_scores(path, "m", scores)
    assert [score.get("whole_n") for score in json.loads(path.read_text())["scores"]] == [1319, None]
    assert "whole_n" not in json.loads(path.read_text())["scores"][1]
    assert read_scores(path) == scores
    assert [score.partial for score in scores] == [True, False]
    assert whole_scores(scores) == scores[1:]


def test_a_part_of_the_items_makes_no_average(tmp_path: Path) -> None:
    path, whole = tmp_path / "scores.json", [Score(column, 50.0, 200, 1.0) for column in COLUMNS]
    write_scores(path, "m", whole)
    assert json.loads(path.read_text())["average"] == average_of(whole) == 50.0
    tried = [*whole[1:], replace(whole[0], n=5, whole_n=200)]
    write_scores(path, "m", tried)
    assert json.loads(path.read_text())["average"] is average_of(tried) is None


SCORE = '{"scores": [{"column": "x", "value": %s, "n": %s, "standard_error": 0.5}]}'


def test_notes_that_all_scores_have_are_told_once() -> None:
    one, other = (Score(column, 1.0, 2, 0.5, notes=("in float32",)) for column in COLUMNS[:2])
    noted = replace(other, notes=("2 cut", "in float32"))
    assert notes_by_column([one, noted]) == [(None, ["in float32"]), (COLUMNS[1], ["2 cut"])]
    assert notes_by_column([noted]) == [(COLUMNS[1], ["2 cut", "in float32"])]
    assert notes_by_column([]) == notes_by_column([replace(one, notes=())]) == []


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"scores": [[]]}',
        '{"scores": [{"column": "x"}]}',
        SCORE % ("null", "2"),
        SCORE % ('"12"', "2"),
        SCORE % ("12", "2.5"),
    ],
)
def test_a_file_that_is_no_score_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "scores.json"
    path.write_text(content)
    with pytest.raises(UserError, match="is not a scores.json"):
        read_scores(path)
