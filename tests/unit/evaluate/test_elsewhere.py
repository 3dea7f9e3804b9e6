"""Answers made elsewhere, and the difference of two evaluations."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.benchmark_files import write_benchmark_files

from packtrain.core.errors import UserError
from packtrain.core.score import read_scores
from packtrain.evaluate.answers import Given
from packtrain.evaluate.benchmark import Item, Request, Setting, benchmark_of
from packtrain.evaluate.difference import compare
from packtrain.evaluate.elsewhere import read_answers, score_answers
from packtrain.evaluate.outcomes import Outcomes
from packtrain.evaluate.questions import Question, prompts_digest, questions_of, whole_n_of
from packtrain.evaluate.run import ENDPOINT, Course, evaluate, notes_of
from packtrain.models.base import Options
from packtrain.models.named_option import named_option
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


def test_they_are_read_as_a_model_s_own_answers_are(tmp_path: Path) -> None:
    """Of a choice the option that is named, of a text what stands before the stop; what names none is noted."""
    prompt = "Which?\nA. one\nB. two\nAnswer:"
    choosing = Request(text=prompt, options=Options((" A", " B")))
    texts = ["A", "A.", "(A) one", "Answer: B", " B", "Neither", "A good question"]
    asked = [Question(Item(f"sums/{n}", {}), choosing, prompt) for n in range(len(texts))]
    given = read_answers(answers(tmp_path / "a.jsonl", texts), "tiny", asked)
    assert [own[0].text for own in given] == [" A", " A", " A", " B", " B", "", ""]
    assert notes_of(asked, given) == ["answers that name none of the options: 2 of 7"]

    records: list[object] = [{"item": "sums/0", "text": "2\n\nQ: 9", "finish_reason": "length"}]
    written_out = [Question(Item("sums/0", {}), Request(text="Q: 1+1", stop=("\n\nQ:", "\n#")), "Q: 1+1")]
    assert read_answers(written(tmp_path / "b.jsonl", records), "tiny", written_out) == [[Given("2", "stop")]]
    assert notes_of(written_out, [[Given("", "stop")]]) == []


SAID = "The correct answer is A.\nLet me think.\n\nSo the answer is 4."


def test_what_an_endpoint_said_is_scored_as_it_was_when_it_was_asked(tmp_path: Path) -> None:
    """Whole answers are read, and the score says so; a local model's stop at the line or the blank one."""
    files, columns = write_benchmark_files(tmp_path / "files"), ["mmlu:0shot", "gsm:cot", "bbh:cot"]
    endpoint = Scripted("endpoint", lambda prompt: SAID, lambda prompt, choices: named_option(SAID, choices, prompt))
    asked = evaluate(endpoint, None, columns, files, tmp_path / "asked", Course(limit=27))
    for score in asked:
        benchmark, setting = benchmark_of(score.column), Setting(score.column, chat=False, endpoint=True)
        own = questions_of(benchmark, setting, files, None, "</s>", limit=27)
        assert prompts_digest(own) == score.prompts
        given = written(tmp_path / "said.jsonl", [{"item": one.item.id, "text": SAID} for one in own])
        out = tmp_path / score.column.replace(":", "-")
        assert replace(score_answers(setting, own, given, out, Outcomes()), whole_n=score.whole_n) == score
        assert list(score.notes).count(ENDPOINT) == 1
    values = {score.column: score.value for score in asked}
    assert values["mmlu:0shot"] > 0
    assert values["bbh:cot"] > 0


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


def test_another_reading_of_the_same_answer_is_a_difference(data: Path, tmp_path: Path) -> None:
    """A verdict that could not be read is no wrong one, and what was read counts even where the grade stays."""
    for name in ("a", "b"):
        evaluate(Scripted("m", lambda _: "no"), load_template("tulu"), ["exact_match"], data, tmp_path / name)
    path = tmp_path / "b" / "grades.jsonl"
    grades = [json.loads(line) for line in path.read_text().splitlines()]
    grades[0] |= {"value": None, "extracted": "", "reason": "not read"}
    grades[1] |= {"extracted": "No"}
    grades[2] |= {"value": 1.0}
    grades[3] |= {"reason": "said otherwise"}
    written(path, list(grades))
    found = compare(tmp_path / "a", tmp_path / "b")
    assert found.columns[0].causes == {"grading": 3}
    assert found.columns[0].gained == {"grading": 1.0}
    assert [(one.a, one.b, one.change) for one in found.examples] == [
        ("'no': expected '1'", "'': not read", 0.0),
        ("'no': expected '2'", "'No': expected '2'", 0.0),
        ("'no': expected '3'", "'no': expected '3'", 1.0),
    ]


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("questions.jsonl.zst", b"garbage", "is damaged (ZstdError: "),
        ("questions.jsonl.zst", b"", "its files are not of the same items (0 asked, 4 answered, 4 graded)"),
        ("answers.jsonl", b'{"column": "exact_match", "item": "sums/0"}', "is damaged (KeyError: 'text')"),
        ("answers.jsonl", b'{"column": "c", "item": "1", "text": 2}', "is damaged (TypeError: text is no text: 2)"),
        ("grades.jsonl", b"{}\n", "is damaged (KeyError: 'column')"),
        ("grades.jsonl", b"[]\n", "is damaged (TypeError: "),
        (
            "grades.jsonl",
            b'{"column": "c", "item": "1", "value": "1", "extracted": "", "reason": ""}',
            "is damaged (TypeError: value is no number: '1')",
        ),
    ],
)
def test_a_damaged_evaluation_is_refused(data: Path, tmp_path: Path, file: str, content: bytes, said: str) -> None:
    evaluate(Scripted("m", lambda _: "no"), load_template("tulu"), ["exact_match"], data, tmp_path / "a")
    (tmp_path / "a" / file).write_bytes(content)
    with pytest.raises(UserError, match=re.escape(said)):
        compare(tmp_path / "a", tmp_path / "a")


def test_a_folder_that_is_no_evaluation(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a finished evaluation: questions\.jsonl\.zst is missing"):
        compare(tmp_path, tmp_path)
