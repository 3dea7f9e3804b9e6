"""Answers made elsewhere, and the difference of two evaluations."""

import json
from pathlib import Path

import pytest

from packtrain.core.errors import UserError
from packtrain.core.score import read_scores
from packtrain.evaluate.benchmark import Setting, benchmark_of
from packtrain.evaluate.difference import compare
from packtrain.evaluate.elsewhere import read_answers, score_answers
from packtrain.evaluate.outcomes import Outcomes
from packtrain.evaluate.questions import Question, questions_of, whole_n_of
from packtrain.evaluate.run import Course, evaluate
from packtrain.models.scripted import Scripted
from packtrain.prompts.template import load_template


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "benchmark"
    folder.mkdir()
    turns = [({"role": "user", "content": f"{n}+1"}, {"role": "assistant", "content": str(n + 1)}) for n in range(4)]
    rows = [{"dataset": "sums", "id": str(n), "messages": messages} for n, messages in enumerate(turns)]
    (folder / "exact_match.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def questions(data: Path, template: str = "tulu") -> list[Question]:
    return questions_of(benchmark_of("exact_match"), Setting("exact_match"), data, load_template(template), "</s>")


def written(path: Path, records: list[object]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def answers(path: Path, texts: list[str]) -> Path:
    return written(path, [{"item": f"sums/{n}", "text": text} for n, text in enumerate(texts)])


def test_answers_of_another_tool_are_graded_as_ones_own(data: Path, tmp_path: Path) -> None:
    given = answers(tmp_path / "given.jsonl", ["1", "2", "five", "4"])
    out = tmp_path / "graded"
    score = score_answers(Setting("exact_match"), questions(data), given, out, Outcomes())
    assert (score.value, score.n) == (75.0, 4)
    asked = Scripted("same", lambda prompt: {"2+1": "five"}.get(sum_in(prompt), str(int(sum_in(prompt)[0]) + 1)))
    [own] = evaluate(asked, load_template("tulu"), ["exact_match"], data, tmp_path / "own")
    assert own == score
    assert (tmp_path / "own/grades.jsonl").read_bytes() == (out / "grades.jsonl").read_bytes()
    names = sorted(file.name for file in out.iterdir())
    assert names == ["answers.jsonl", "grades.jsonl", "questions.jsonl.zst", "run.json", "scores.json"]


def test_answers_to_a_part_of_the_items_make_a_partial_score(data: Path, tmp_path: Path) -> None:
    benchmark, setting, tulu = benchmark_of("exact_match"), Setting("exact_match"), load_template("tulu")
    asked = questions_of(benchmark, setting, data, tulu, "</s>", limit=2)
    whole_n = whole_n_of(benchmark, setting, data, asked, 2)
    given = answers(tmp_path / "given.jsonl", ["1", "2"])
    score_answers(setting, asked, given, tmp_path / "out", Outcomes(), whole_n=whole_n)
    [score] = read_scores(tmp_path / "out" / "scores.json")
    assert (score.n, score.whole_n, score.partial) == (2, 4, True)
    assert whole_n_of(benchmark, setting, data, questions(data), 4) is None


def sum_in(prompt: str) -> str:
    return prompt.split("\n")[1]


def test_ids_and_texts_go_by_several_names(data: Path, tmp_path: Path) -> None:
    records: list[object] = [
        {"id": "sums/0", "output": "1"},
        {"task_id": "sums/1", "completion": "2"},
        {"item": "sums/2", "answer": 3, "column": "exact_match"},
        {"item": "sums/2", "text": "of another", "column": "gsm:cot"},
        {"item": "sums/3", "text": "4", "finish_reason": "length"},
    ]
    given = read_answers(written(tmp_path / "a.jsonl", records), "exact_match", questions(data))
    assert [[(one.text, one.finish_reason) for one in own] for own in given] == [
        [("1", "stop")],
        [("2", "stop")],
        [("3", "stop")],
        [("4", "length")],
    ]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([{"item": "sums/0", "text": "1"}], r"3 of 4 items of exact_match lack answers, 'sums/1' first"),
        ([{"item": f"sums/{n % 4}", "text": "1"} for n in range(5)], r"'sums/0' of exact_match is answered 2 times"),
        ([{"item": "sums/9", "text": "1"}], "1 answers are to no item of exact_match, 'sums/9' first"),
        ([{"item": "sums/0"}], "line 1 has no text under text or answer"),
        ([{"text": "1"}], "line 1 has no text under item or id"),
        (["1"], "line 1 is not an object"),
    ],
)
def test_answers_that_are_none(data: Path, tmp_path: Path, records: list[object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_answers(written(tmp_path / "a.jsonl", records), "exact_match", questions(data))


def test_the_first_cause_of_each_difference(data: Path, tmp_path: Path) -> None:
    def model(answer: str) -> Scripted:
        return Scripted("m", lambda prompt: answer if sum_in(prompt) == "1+1" else "no")

    tulu, oasst = load_template("tulu"), load_template("alpaca")
    evaluate(model("2"), tulu, ["exact_match"], data, tmp_path / "a")
    evaluate(model("two"), tulu, ["exact_match"], data, tmp_path / "b", Course(limit=3))
    found = compare(tmp_path / "a", tmp_path / "b")
    [column] = found.columns
    assert (column.a, column.b, column.items) == (25.0, 0.0, 3)
    assert column.causes == {"answer": 1, "only in A": 1}
    assert column.gained == {"answer": -1.0, "only in A": 0.0}
    [example, _] = found.examples
    assert (example.item, example.what, example.a, example.b) == ("sums/1", "character 0", "'2'", "'two'")
    assert found.settings == {"limit": (None, 3)}
    evaluate(Scripted("m", lambda _: "no"), oasst, ["exact_match"], data, tmp_path / "c")
    assert compare(tmp_path / "a", tmp_path / "c").columns[0].causes == {"prompt": 4}
    assert compare(tmp_path / "a", tmp_path / "a").columns[0].causes == {}


def test_a_folder_that_is_no_evaluation(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a finished evaluation: questions\.jsonl\.zst is missing"):
        compare(tmp_path, tmp_path)
