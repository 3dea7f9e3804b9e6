"""The judged column: where its data are found, what is asked, what a judge is shown, how preferences become a score."""

import json
import math
import shutil
from pathlib import Path
from typing import Any, Literal

import pytest

from packtrain.core.conversation import Message
from packtrain.core.errors import UserError
from packtrain.core.score import Score
from packtrain.evaluate.benchmark import Answer, Grade, Item, Request, Setting, benchmark_of
from packtrain.evaluate.benchmarks.alpacafarm import benchmark
from packtrain.evaluate.elsewhere import score_answers
from packtrain.evaluate.outcomes import Outcomes, available, judged_by
from packtrain.evaluate.questions import questions_of
from packtrain.evaluate.run import Course, evaluate
from packtrain.evaluate.winrate import read_annotations, win_rate
from packtrain.models.scripted import Scripted

SETTING = Setting("alpacafarm")
RECORDS = [
    {"instruction": " Name a colour. ", "input": "", "output": "Red.", "dataset": "koala"},
    {"instruction": "Translate.\n", "input": " chat ", "output": "cat", "dataset": "oasst"},
    {"instruction": "Add.", "input": "1, 2", "output": "3", "dataset": "koala"},
]


def put(path: Path, records: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records), encoding="utf-8")
    return path


def test_the_whole_file_of_the_hub_is_enough(tmp_path: Path) -> None:
    records = [{**record, "generator": "text_davinci_003", "datasplit": "eval"} for record in RECORDS]
    put(tmp_path / "alpaca_farm/alpaca_farm_evaluation.json", records)
    items = benchmark.items(tmp_path, SETTING)
    assert items == [Item(f"eval/{number}", record, record["dataset"]) for number, record in enumerate(RECORDS)]


@pytest.mark.parametrize("place", ["alpaca_farm", "oracles/alpaca_eval"])
def test_else_instructions_and_reference_come_from_two_files(tmp_path: Path, place: str) -> None:
    put(
        tmp_path / "alpaca_farm/eval_other.json",
        [{**record, "output": "other", "generator": "x"} for record in RECORDS],
    )
    joined = [" Name a colour. ", "Translate.\n\n\n chat ", "Add.\n\n1, 2"]
    references = [
        {"instruction": text, "output": record["output"], "generator": "text_davinci_003", "dataset": "elsewhere"}
        for text, record in zip(joined, RECORDS, strict=True)
    ]
    reference = put(tmp_path / place / "reference_text_davinci_003.json", references[::-1])
    items = benchmark.items(tmp_path, SETTING)
    assert items == [Item(f"eval/{number}", record, record["dataset"]) for number, record in enumerate(RECORDS)]
    put(reference, references[1:])
    with pytest.raises(UserError, match=r"has no output for 1 of 3 instructions of .*eval_other\.json"):
        benchmark.items(tmp_path, SETTING)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"alpaca_farm_evaluation\.json is missing, and so are the instructions"
    ) as caught:
        benchmark.items(tmp_path, SETTING)
    assert "packtrain evaluate fetch" in caught.value.hint
    put(tmp_path / "alpaca_farm/eval_other.json", RECORDS)
    with pytest.raises(UserError, match=r"the outputs of text-davinci-003, reference_text_davinci_003\.json"):
        benchmark.items(tmp_path, SETTING)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": 1}, "is not a list of records"),
        ([RECORDS[0], {"instruction": "x"}], "record 2 lacks instruction or output"),
        ([{**RECORDS[0], "output": None}], "record 1 lacks instruction or output, or one is no text"),
        (["x"], "record 1 lacks"),
        ([{**RECORDS[0], "generator": "alpaca-7b"}], "record 1 is by alpaca-7b, not by text-davinci-003"),
        ([RECORDS[0], RECORDS[0]], "an instruction stands there twice: ' Name a colour. '"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, content: Any, message: str) -> None:
    put(tmp_path / "alpaca_farm/alpaca_farm_evaluation.json", content)
    with pytest.raises(UserError, match=message) as caught:
        benchmark.items(tmp_path, SETTING)
    assert str(tmp_path / "alpaca_farm") in caught.value.message


def test_an_instruction_alone_is_asked_as_it_is_and_with_an_input_without_white_space() -> None:
    def asked(chat: bool, number: int) -> Request:
        return benchmark.request(Item("eval/0", RECORDS[number]), Setting("alpacafarm", chat=chat))

    assert asked(True, 0) == Request((Message("user", " Name a colour. "),), max_new_tokens=2048)
    assert asked(True, 1) == Request((Message("user", "Translate.\n\nchat"),), max_new_tokens=2048)
    assert asked(False, 1) == Request(text="Translate.\n\nchat", max_new_tokens=2048)
    assert asked(True, 0).first_token
    fixed = benchmark.request(Item("eval/0", RECORDS[1]), Setting("alpacafarm", "fixed"))
    assert fixed == asked(True, 1)


def test_a_judge_is_shown_both_outputs() -> None:
    pair = benchmark.pair(Item("eval/1", RECORDS[1], "oasst"), "The cat.")
    assert pair == {"instruction": "Translate.\n", "input": " chat ", "reference": "cat", "answer": "The cat."}


def graded(preference: float | None, group: str = "koala") -> Grade:
    return benchmark.grade(Item("eval/0", RECORDS[0], group), [Answer("text", preference=preference)], SETTING)


def test_preferences_become_grades() -> None:
    assert graded(1.0) == Grade("eval/0", 1.0, "text", "better", "koala")
    assert graded(0.0) == Grade("eval/0", 0.0, "text", "worse", "koala")
    assert graded(0.5) == Grade("eval/0", 0.5, "text", "tie", "koala")
    assert graded(None) == Grade("eval/0", None, "text", "not read", "koala")


def test_the_score_is_the_share_of_what_was_read_with_ties_as_halves() -> None:
    grades = [graded(1.0), graded(1.0, "oasst"), graded(0.5), graded(0.0), graded(None), graded(None, "vicuna")]
    mean = 0.625
    variance = sum((value - mean) ** 2 for value in (1, 1, 0.5, 0)) / 3
    score = benchmark.total(grades, SETTING)
    assert score.standard_error == pytest.approx(100 * math.sqrt(variance / 4), abs=1e-12)
    assert score == Score(
        "alpacafarm",
        62.5,
        4,
        score.standard_error,
        details={"set/koala": 50.0, "set/oasst": 100.0},
        notes=["2 better, 1 worse, 1 tie, 2 not read"],
    )
    assert benchmark.total([graded(1.0)], Setting("alpacafarm", "fixed")) == Score(
        "alpacafarm", 100.0, 1, 0.0, "fixed", details={"set/koala": 100.0}, notes=["1 better"]
    )
    assert benchmark.total([graded(None)], SETTING) == Score("alpacafarm", 0.0, 0, 0.0, notes=["1 not read"])


def test_the_verdicts_are_written_as_annotations_that_winrate_reads(tmp_path: Path) -> None:
    """And what an earlier version of the judge's log holds is not paid again."""
    put(tmp_path / "data/alpaca_farm/alpaca_farm_evaluation.json", RECORDS)
    asked: list[str] = []

    def second_is_better(prompt: str) -> str:
        asked.append(prompt)
        return "I refuse." if "Add." in prompt else "[{'model': 'model_1', 'rank': 2}, {'model': 'model_2', 'rank': 1}]"

    def score_in(out: Path, judge: Scripted | Literal["longest"], *, resume: bool = False) -> Score:
        course = Course("fixed", outcomes=Outcomes(judge=judge))
        model = Scripted("writer", lambda prompt: "Blue.")
        [score] = evaluate(model, None, ["alpacafarm"], tmp_path / "data", out, course, resume=resume)
        return score

    judge, file = Scripted("judge", second_is_better), "annotations-alpacafarm.json"
    score = score_in(tmp_path / "out", judge)
    annotations = read_annotations(tmp_path / "out" / file)
    assert [record["output_1"] for record in annotations] == [record["output"] for record in RECORDS]
    assert {record["output_2"] for record in annotations} == {"Blue."}
    assert {record["annotator"] for record in annotations} == {"judge"}
    found = win_rate(annotations)
    assert (found.win_rate, found.n_total, found.n_unread) == (score.value, score.n, 1) == (score.value, 2, 1)

    former = tmp_path / "again.partial"
    former.mkdir()
    shutil.copy(tmp_path / "out/judged.jsonl", former / "annotations.jsonl")
    (former / ".stage").write_text("evaluate")
    assert (len(asked), score_in(tmp_path / "again", judge, resume=True), len(asked)) == (3, score, 3)
    names = {path.name for path in (tmp_path / "again").iterdir()}
    assert "judged.jsonl" in names
    assert "annotations.jsonl" not in names

    score_in(tmp_path / "long", "longest")
    assert [record["preference"] for record in read_annotations(tmp_path / "long" / file)] == [2.0, 2.0, 2.0]


def test_a_judge_that_nobody_can_read_makes_no_figure_and_another_wording_says_how_it_is_answered(
    tmp_path: Path,
) -> None:
    """Not even that of the equal outputs alone; the profile's form is for the wordings that it comes with."""
    put(tmp_path / "data/alpaca_farm/alpaca_farm_evaluation.json", [*RECORDS, {**RECORDS[0], "instruction": "Sky?"}])
    wording = tmp_path / "one.txt"
    wording.write_text("{instruction}\n{output_1}\n{output_2}\nRank model_1 and model_2.")
    asked: list[str] = []

    def ranks(prompt: str) -> str:
        asked.append(prompt)
        return "[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}]"

    def score_with(*, resume: bool = False, **how: Any) -> Score:
        course = Course(outcomes=Outcomes(judge=Scripted("judge", ranks), **how))
        model = Scripted("writer", lambda prompt: "Red." if "Sky?" in prompt else "Blue.")
        [score] = evaluate(model, None, ["alpacafarm"], tmp_path / "data", tmp_path / "out", course, resume=resume)
        return score

    said = r"alpacafarm: none of the 3 verdicts of judge could be read \(0 verdicts on 5 comparisons\)"
    with pytest.raises(UserError, match=said) as caught:
        score_with()
    assert "see what it said in out.partial/judged.jsonl" in caught.value.hint
    assert len((tmp_path / "out.partial/judged.jsonl").read_text().splitlines()) == len(asked) == 2
    assert not (tmp_path / "out").exists()
    score = score_with(resume=True, prompt=wording)
    assert (score.n, len(asked)) == (4, 2 + 3)
    assert "judge: judge, form pair, one order, drawn" in score.notes


def test_a_judge_that_cannot_be_asked_is_refused_before_anything_is(tmp_path: Path, tiny_base: Path) -> None:
    """No column is left out silently for a wording that is none; the evaluated model's format is not the judge's."""
    put(tmp_path / "alpaca_farm/alpaca_farm_evaluation.json", RECORDS)
    batch = tmp_path / "five.txt"
    batch.write_text("{instruction} {output_1} {output_2} " * 5)
    judge = Scripted("judge", str)
    assert available(tmp_path, Outcomes(judge=judge, prompt=batch), chat=False) == ["alpacafarm"]
    for form, prompt, said in ((None, tmp_path / "none.txt", "cannot read"), ("pair", batch, "for several pairs")):
        with pytest.raises(UserError, match=said):
            available(tmp_path, Outcomes(judge=judge, form=form, prompt=prompt), chat=False)
    with pytest.raises(UserError, match="the judge .* stores no prompt format") as caught:
        judged_by(f"local:{tiny_base}", Outcomes())
    assert "--template" not in caught.value.hint


def test_what_a_judge_has_said_is_taken_from_beside_the_answers(tmp_path: Path) -> None:
    put(tmp_path / "alpaca_farm/alpaca_farm_evaluation.json", RECORDS)
    asked: list[str] = []

    def first(prompt: str) -> str:
        asked.append(prompt)
        return "Output (a)\n" * 5

    course = Course(outcomes=Outcomes(judge=Scripted("judge", first)))
    model = Scripted("writer", lambda prompt: "Blue.")
    [score] = evaluate(model, None, ["alpacafarm"], tmp_path, tmp_path / "out", course)
    setting = Setting("alpacafarm", chat=False)
    questions = questions_of(benchmark_of("alpacafarm"), setting, tmp_path, None, "</s>")
    given, before = tmp_path / "out/answers.jsonl", len(asked)
    again = score_answers(setting, questions, given, tmp_path / "again", course.outcomes)
    assert (again.value, again.n, len(asked)) == (score.value, score.n, before) == (score.value, 3, 2)
    shutil.copy(given, tmp_path / "given.jsonl")
    score_answers(setting, questions, tmp_path / "given.jsonl", tmp_path / "alone", course.outcomes)
    assert len(asked) == 2 * before
