"""Evaluation: every item asked once, answers kept, grades by the benchmark, resumable."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.benchmark_files import write_benchmark_files

from packtrain.core.errors import UserError
from packtrain.core.score import read_scores
from packtrain.evaluate.benchmark import Answer, Item, Setting, benchmark_of, column_names, column_of
from packtrain.evaluate.execute import TIMEOUT_S
from packtrain.evaluate.outcomes import Outcomes
from packtrain.evaluate.run import Course, evaluate
from packtrain.evaluate.sandbox.program import Program, Verdict
from packtrain.evaluate.sandbox.verdict_log import VerdictLog
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
    first_line, *lines = log.read_text().splitlines(keepends=True)
    edited = json.dumps(json.loads(first_line) | {"text": None}) + "\n"
    log.write_text(edited + "".join(lines) + '{"column": "exact_ma')  # what a kill in mid-write leaves
    with pytest.raises(UserError, match="an interrupted run left"):
        run(Breaking(999), data, out)
    second = Breaking(999)
    assert run(second, data, out, resume=True) == 50.0
    assert len(first.asked) == 128
    assert sorted(first.asked[1:] + second.asked) == sorted(f"<|user|>\n{n}+1\n<|assistant|>\n" for n in range(200))


def earlier(folder: Path, limit: int | None = None) -> Course:
    """What takes the answers of another evaluation."""
    return Course(limit=limit, outcomes=Outcomes(earlier=folder))


def test_what_an_earlier_evaluation_asked_is_not_asked_again(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scores"
    assert run(Scripted("adder", adder), data, out, Course(limit=120)) == 50.0
    model = Breaking(999)
    assert evaluate(model, load_template("tulu"), ["exact_match"], data, out, earlier(out), overwrite=True)[0].n == 200
    assert sorted(model.asked) == sorted(f"<|user|>\n{n}+1\n<|assistant|>\n" for n in range(120, 200))
    straight = tmp_path / "straight"
    run(Scripted("adder", adder), data, straight)
    for name in ("answers.jsonl", "grades.jsonl", "questions.jsonl.zst", "scores.json"):
        assert (out / name).read_bytes() == (straight / name).read_bytes(), name

    other = Breaking(999)
    run(other, data, tmp_path / "raw", Course(profile="fixed", limit=2, outcomes=Outcomes(earlier=out)))
    assert len(other.asked) == 2  # of another profile: another question
    (out / "answers.jsonl").write_text('{"column": "exact_match"}\n')
    again = Breaking(999)
    run(again, data, tmp_path / "again", earlier(out, limit=3))
    assert len(again.asked) == 3
    assert f"note: the answers in {out} cannot be used again (KeyError: 'item')" in capsys.readouterr().err
    run(Breaking(999), data, tmp_path / "none", earlier(tmp_path / "nothing", limit=3))


def test_half_a_character_is_kept_in_an_answer_and_refused_in_the_data(data: Path, tmp_path: Path) -> None:
    """JSON can name half of a surrogate pair, and UTF-8 cannot write it."""
    out = tmp_path / "scores"
    assert run(Scripted("m", lambda _: "caf\ud83d"), data, out, Course(limit=1)) == 0.0
    for file, name in (("answers.jsonl", "text"), ("grades.jsonl", "extracted")):
        assert json.loads((out / file).read_text())[name] == "caf\ud83d", file
    path = data / "exact_match.jsonl"
    path.write_text(path.read_text().replace("0+1", "0+1\\ud83d"))
    with pytest.raises(UserError, match="exact_match: the prompt of sums/0: text is not valid Unicode"):
        run(Scripted("m", adder), data, tmp_path / "other")


class Short(Scripted):
    """An endpoint that refuses prompts about numbers of two digits as too long."""

    def generate_each(
        self, prompts: Sequence[str], sampling: Sampling, seeds: Sequence[int] = ()
    ) -> Iterator[tuple[int, Completion]]:
        assert sampling.too_long == "cut"
        for index, completion in super().generate_each(prompts, sampling, seeds):
            refused = len(prompts[index].split("\n")[1]) > len("9+1")
            yield index, Completion("", "length", too_long=True) if refused else completion


def test_prompts_that_an_endpoint_refuses_as_too_long_are_counted(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores"
    assert run(Short("adder", adder), data, out, Course(limit=20)) == 25.0
    [score] = read_scores(out / "scores.json")
    assert list(score.notes) == ["prompts longer than the endpoint's context, taken as answered by nothing: 10 of 20"]
    reasons = [json.loads(line)["finish_reason"] for line in (out / "answers.jsonl").read_text().splitlines()]
    assert reasons == ["stop"] * 10 + ["too long"] * 10


def test_what_an_earlier_evaluation_judged_and_ran_is_not_judged_and_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmarks, out = write_benchmark_files(tmp_path / "benchmarks"), tmp_path / "scores"
    asked: list[str] = []
    run_now: list[Program] = []

    def prefers_the_first(prompt: str) -> str:
        asked.append(prompt)
        return "Output (a)\n" * 5

    def runs(programs: Sequence[Program], log: Path, **how: object) -> dict[tuple[str, int], Verdict]:
        """Stands for the sandbox: every program passes."""
        with VerdictLog(log) as verdicts:
            for program in programs:
                if program.digest(TIMEOUT_S) not in verdicts.known:
                    run_now.append(program)
                    verdicts.add(program.digest(TIMEOUT_S), program.item, Verdict("passed"))
        return {(program.item, program.sample): Verdict("passed") for program in programs}

    monkeypatch.setattr("packtrain.evaluate.execute.execute", runs)
    monkeypatch.setattr("packtrain.evaluate.outcomes._sandbox", lambda accept_unsandboxed: "none")
    model, template = Scripted("coder", lambda prompt: "    return 2 * n"), load_template("tulu")
    judge = Outcomes(judge=Scripted("judge", prefers_the_first))
    columns = ["codex:pass@1", "alpacafarm"]
    before = evaluate(model, template, columns, benchmarks, out, Course(outcomes=judge))
    assert (len(asked), len(run_now)) == (1, 1)
    again = Course(outcomes=replace(judge, earlier=out))
    assert evaluate(model, template, columns, benchmarks, out, again, overwrite=True) == before
    assert (len(asked), len(run_now)) == (1, 1)
    assert len((out / "verdicts.jsonl").read_text().splitlines()) == 1


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
    assert column_of("exact_match") == "exact_match"
    with pytest.raises(UserError, match="mmlu means 2 columns: mmlu:0shot, mmlu:5shot"):
        column_of("mmlu")
    with pytest.raises(UserError, match="exact_match needs a prompt format, and an endpoint is sent bare text"):
        evaluate(Scripted("adder", adder), None, ["exact_match"], data, tmp_path / "scores")
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
