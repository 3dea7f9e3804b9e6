"""What columns and judges ask, and how long that takes."""

from dataclasses import replace

import pytest

from packtrain.core.score import COLUMNS
from packtrain.evaluate.benchmark import benchmark_of
from packtrain.evaluate.benchmarks import alpacafarm, bbh, codex, gsm, tydiqa
from packtrain.evaluate.workload import (
    READ_SHARE,
    ColumnWork,
    Machine,
    ModelWork,
    batch_rows,
    column_work,
    evaluation_seconds,
    judge_work,
    program_seconds,
)
from packtrain.models.memory import MOST_ROWS
from packtrain.models.prices import Price

MODEL = ModelWork(
    body_weights=1e9, head_weights=1e8, attention=1000, weight_bytes=2_200_000_000, cache_bytes=1000, layers=10
)
MACHINE = Machine("cuda", 80_000_000_000, flops=1e14, bytes_per_s=1e12, start_s=1e-4)


def test_the_counted_questions_are_those_of_the_protocol() -> None:
    found = {column: column_work(column) for column in COLUMNS}
    assert {column: work and (work.questions, work.answers) for column, work in found.items()} == {
        "mmlu:0shot": (14_042, 14_042),
        "mmlu:5shot": (14_042, 14_042),
        "gsm:direct": (gsm.DRAWN, gsm.DRAWN),
        "gsm:cot": (gsm.DRAWN, gsm.DRAWN),
        "bbh:direct": (len(bbh.TASKS) * bbh.DRAWN,) * 2,
        "bbh:cot": (len(bbh.TASKS) * bbh.DRAWN,) * 2,
        "tydiqa:gold": (len(tydiqa.LANGUAGES) * tydiqa.DRAWN,) * 2,
        "tydiqa:closed": (len(tydiqa.LANGUAGES) * tydiqa.DRAWN,) * 2,
        "codex:pass@1": (164, 164 * codex.SAMPLES),
        "codex:pass@10": (164, 164 * codex.SAMPLES),
        "alpacafarm": (805, 805),
    }


@pytest.mark.parametrize("column", COLUMNS)
def test_the_table_agrees_with_the_benchmarks(column: str) -> None:
    work, module = column_work(column), {"gsm": gsm, "bbh": bbh, "tydiqa": tydiqa, "codex": codex}
    assert work is not None
    assert 0 < work.computed_tokens <= work.prompt_tokens < 2048
    assert work.new_tokens <= work.longest <= work.max_new_tokens
    limit = {"mmlu": 0, "alpacafarm": alpacafarm.MAX_NEW_TOKENS}
    family = column.partition(":")[0]
    assert work.max_new_tokens == (limit[family] if family in limit else module[family].MAX_NEW_TOKENS)
    assert benchmark_of(column).columns.count(column) == 1


def test_ones_own_questions_are_not_known() -> None:
    assert column_work("exact_match") is None


def test_a_choice_costs_its_prompt_alone() -> None:
    work = ColumnWork(100, 100, prompt_tokens=500, computed_tokens=120)
    operations = 100 * (120 * (2e9 + 1000 * 500) + 2e8)
    assert evaluation_seconds(work, MODEL, MACHINE) == pytest.approx(operations / 1e14)


def test_an_answer_costs_a_step_for_each_token() -> None:
    choice = ColumnWork(100, 100, prompt_tokens=500, computed_tokens=120)
    work = replace(choice, new_tokens=50.0, longest=80, max_new_tokens=100)
    read = (2.2e9 + (100 * (120 + 25) + 380) * 1000) / (READ_SHARE * 1e12) + 10 * 1e-4
    last = (2.2e9 + 540 * 1000) / (READ_SHARE * 1e12) + 10 * 1e-4
    took = evaluation_seconds(work, MODEL, MACHINE) - evaluation_seconds(choice, MODEL, MACHINE)
    assert took == pytest.approx(50 * read + 80 * last)
    slow = replace(MACHINE, flops=1e10)
    step = 100 * (2.2e9 + 1000 * 525) / 1e10 + 10 * 1e-4
    last = (2.2e9 + 1000 * 540) / 1e10 + 10 * 1e-4
    took = evaluation_seconds(work, MODEL, slow) - evaluation_seconds(choice, MODEL, slow)
    assert took == pytest.approx(50 * step + 80 * last)


def test_answers_that_run_on_cost_most() -> None:
    for column in COLUMNS:
        work = column_work(column)
        assert work is not None
        usual, most = (evaluation_seconds(each, MODEL, MACHINE) for each in (work, work.at_most()))
        assert (most > usual) == bool(work.new_tokens)


@pytest.mark.parametrize(
    ("answers", "memory", "rows"),
    [(30, 80_000_000_000, 30), (9000, 80_000_000_000, MOST_ROWS["cuda"]), (9000, 2_244_760_000, 100), (9, 1, 1)],
)
def test_as_many_answers_at_once_as_the_memory_holds(answers: int, memory: int, rows: int) -> None:
    work = ColumnWork(
        answers, answers, prompt_tokens=500, computed_tokens=120, new_tokens=50, longest=80, max_new_tokens=100
    )
    assert batch_rows(work, MODEL, "cuda", memory) == rows


def test_programs_take_their_time() -> None:
    work = column_work("codex:pass@1")
    assert work is not None
    assert 80 < program_seconds(work) < 120


def test_what_a_judge_is_asked() -> None:
    batch, pair = judge_work("batch"), judge_work("pair")
    assert (batch.prompts, pair.prompts) == (120 + 42, 805)
    assert (batch.completion_tokens, pair.completion_tokens) == (162 * 250, 805 * 100)
    assert batch.cost_usd(Price(2.0, 8.0)) == pytest.approx((2 * batch.prompt_tokens + 8 * 40_500) / 1e6)
    assert 0.7 < pair.cost_usd(Price(30.0, 60.0)) / (805 * 0.01479) < 2  # what AlpacaEval paid for Vicuna 13B
