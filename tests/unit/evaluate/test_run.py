"""Evaluation: every item asked once, answers kept, grades by the benchmark, resumable."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from packtrain.core.errors import UserError
from packtrain.core.score import read_scores
from packtrain.evaluate.benchmark import Answer, Item, Setting, benchmark_of, column_names
from packtrain.evaluate.run import Course, evaluate
from packtrain.models.base import Completion, Sampling
from packtrain.models.scripted import Scripted
from packtrain.prompts.template import load_template


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "benchmark"
    folder.mkdir()
    rows = [
        {
            "dataset": "sums",
            "id": str(n),
            "messages": [{"role": "user", "content": f"{n}+1"}, {"role": "assistant", "content": str(n + 1)}],
        }
        for n in range(200)
    ]
    (folder / "exact_match.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def adder(prompt: str) -> str:
    """Right for even numbers only."""
    number = int(prompt.split("\n")[1].split("+")[0])
    return f" {number + 1}\n" if number % 2 == 0 else "no idea"


class Breaking(Scripted):
    """Breaks after some answers; counts what it was asked."""

    def __init__(self, answers: int) -> None:
        super().__init__("adder", adder)
        self.answers = answers
        self.asked: list[str] = []

    def generate_each(
        self, prompts: Sequence[str], sampling: Sampling, seeds: Sequence[int] = ()
    ) -> Iterator[tuple[int, Completion]]:
        for index, completion in super().generate_each(prompts, sampling, seeds):
            if self.answers == 0:
                raise KeyboardInterrupt
            self.answers -= 1
            self.asked.append(prompts[index])
            yield index, completion


def run(model: Scripted, data: Path, out: Path, course: Course | None = None, *, resume: bool = False) -> float:
    [score] = evaluate(model, load_template("tulu"), ["exact_match"], data, out, course, resume=resume)
    return score.value


def test_scores_answers_and_grades(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores"
    assert run(Scripted("adder", adder), data, out) == 50.0
    [score] = read_scores(out / "scores.json")
    assert (score.column, score.n) == ("exact_match", 200)
    assert score.standard_error == pytest.approx(100 * (0.25 / 200) ** 0.5)
    grades = [json.loads(line) for line in (out / "grades.jsonl").read_text().splitlines()]
    assert grades[1] == {
        "column": "exact_match",
        "item": "sums/1",
        "value": 0.0,
        "extracted": "no idea",
        "reason": "expected '2'",
        "group": "",
        "more": {},
    }
    assert len((out / "answers.jsonl").read_text().splitlines()) == 200


def test_the_model_is_asked_in_the_exact_format(data: Path, tmp_path: Path) -> None:
    model = Breaking(999)
    run(model, data, tmp_path / "scores", Course(limit=3))
    assert sorted(model.asked) == [f"<|user|>\n{n}+1\n<|assistant|>\n" for n in range(3)]


def test_an_interrupted_evaluation_asks_only_what_is_missing(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores"
    first = Breaking(128)
    with pytest.raises(KeyboardInterrupt):
        run(first, data, out)
    assert not out.exists()
    log = out.with_name("scores.partial") / "asked.jsonl"
    log.write_text(log.read_text() + '{"column": "exact_ma')  # what a kill in mid-write leaves
    with pytest.raises(UserError, match="an interrupted run left"):
        run(Breaking(999), data, out)
    second = Breaking(999)
    assert run(second, data, out, resume=True) == 50.0
    assert len(first.asked) == 128
    assert sorted(first.asked + second.asked) == sorted(f"<|user|>\n{n}+1\n<|assistant|>\n" for n in range(200))


def test_an_answer_that_never_ended_is_wrong() -> None:
    item = Item("x", {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]})
    benchmark = benchmark_of("exact_match")
    assert benchmark.grade(item, [Answer("a", "stop")], Setting("exact_match")).value == 1.0
    grade = benchmark.grade(item, [Answer("a", "length")], Setting("exact_match"))
    assert (grade.value, grade.reason) == (0.0, "did not end by itself")


def test_columns_and_data_that_are_not_there(data: Path, tmp_path: Path) -> None:
    assert column_names()["exact_match"] == "exact_match"
    with pytest.raises(UserError, match="unknown column: exact_mach"):
        benchmark_of("exact_mach")
    with pytest.raises(UserError, match=r"exact_match\.jsonl is missing"):
        run(Scripted("adder", adder), tmp_path, tmp_path / "scores")
    (data / "exact_match.jsonl").write_text("")
    with pytest.raises(UserError, match="has no items"):
        run(Scripted("adder", adder), data, tmp_path / "scores")
    (data / "exact_match.jsonl").write_text(
        '{"dataset": "d", "id": "1", "messages": [{"role": "user", "content": "q"}]}\n'
    )
    with pytest.raises(UserError, match="does not end with an answer"):
        run(Scripted("adder", adder), data, tmp_path / "scores")
    assert not (tmp_path / "scores").exists()


@pytest.mark.parametrize(("limit", "whole_n"), [(3, 200), (200, None), (999, None), (None, None)])
def test_a_score_of_a_part_of_the_items_says_of_how_many(
    data: Path, tmp_path: Path, limit: int | None, whole_n: int | None
) -> None:
    run(Scripted("adder", adder), data, tmp_path / "scores", Course(limit=limit))
    [score] = read_scores(tmp_path / "scores" / "scores.json")
    assert (score.n, score.whole_n) == (min(limit or 200, 200), whole_n)
