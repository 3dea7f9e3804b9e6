"""Codex-Eval on problems of our own: what is asked, the programs, grades and totals, broken files."""

import gzip
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from packtrain.core.errors import UserError
from packtrain.evaluate.benchmark import Answer, Grade, Item, Profile, Request, Setting, benchmark_of
from packtrain.evaluate.benchmarks.codex import INSTRUCTION, benchmark
from packtrain.evaluate.sandbox.program import Program

PROBLEMS: list[dict[str, str]] = [
    {
        "task_id": "Own/0",
        "prompt": '\n\ndef double(x):\n    """ Twice x. """\n',
        "entry_point": "double",
        "canonical_solution": "    return 2 * x\n",
        "test": "def check(candidate):\n    assert candidate(2) == 4\n",
    },
    {
        "task_id": "Own/1",
        "prompt": "def half(x):\n    ''' Half of x. '''\n",
        "entry_point": "half",
        "canonical_solution": "    return x / 2\n",
        "test": "def check(candidate):\n    assert candidate(2) == 1\n",
    },
]
P1, P10 = Setting("codex:pass@1"), Setting("codex:pass@10")
COLUMNS = [P1.column, P10.column]


def write(folder: Path, content: bytes) -> Path:
    (folder / "humaneval").mkdir(parents=True)
    (folder / "humaneval/HumanEval.jsonl.gz").write_bytes(content)
    return folder


def lines(records: list[Any]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path, gzip.compress(lines(PROBLEMS)))


def answers(**counts: int) -> list[Answer]:
    kinds = {kind.replace("_", "-"): count for kind, count in counts.items()}
    return [Answer("code", verdict=kind) for kind, count in kinds.items() for _ in range(count)]


def test_both_columns_are_filled_here() -> None:
    assert [benchmark_of(column) for column in COLUMNS] == [benchmark, benchmark]
    assert benchmark.outcome == "executed"


@pytest.mark.parametrize(("column", "temperature"), zip(COLUMNS, (0.1, 0.8), strict=True))
@pytest.mark.parametrize(("profile", "first_token"), [("paper-2023", False), ("fixed", True)])
@pytest.mark.parametrize("chat", [True, False])
def test_the_bare_stub_is_asked(
    data: Path, column: str, temperature: float, profile: Profile, first_token: bool, chat: bool
) -> None:
    setting = Setting(column, profile, chat=chat)
    items = benchmark.items(data, setting)
    assert [item.id for item in items] == ["Own/0", "Own/1"]
    assert benchmark.request(items[0], setting) == Request(
        messages=(),
        text='\n\ndef double(x):\n    """ Twice x. """\n',
        max_new_tokens=512,
        stop=("\nclass", "\ndef", "\n#", "\nif", "\nprint"),
        temperature=temperature,
        top_p=0.95,
        samples=20,
        first_token=first_token,
    )


def test_a_program_is_stub_and_answer_and_apart_from_it_the_test(data: Path) -> None:
    item = benchmark.items(data, P1)[0]
    prompt, test = PROBLEMS[0]["prompt"], PROBLEMS[0]["test"]
    assert benchmark.program(item, "    return x", 7) == Program(
        item="Own/0", sample=7, source=prompt + "    return x\n", test=test, entry_point="double", known=prompt
    )


WHOLE = "def double(x):\n    return 2 * x\n"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (WHOLE, WHOLE),
        ("    return 2 * x", "    return 2 * x"),
        (f"```python\n{WHOLE}```", WHOLE),
        (f"Here it is:\n\n```\n{WHOLE}```\n\nTry it:\n```python\ndouble(2)\n```", WHOLE),
        (f"```python\n{WHOLE}", WHOLE),
        ("    return x  # not ```x```", "    return x  # not ```x```"),
        ("", ""),
    ],
    ids=["a function", "its body", "fenced", "explained", "cut off", "no fence", "nothing"],
)
def test_an_endpoint_is_told_what_to_do_and_its_code_taken_from_the_message(data: Path, answer: str, code: str) -> None:
    setting = replace(P1, chat=False, endpoint=True)
    item = benchmark.items(data, setting)[0]
    prompt = PROBLEMS[0]["prompt"]
    bare = benchmark.request(item, P1)
    assert benchmark.request(item, setting) == replace(bare, text=INSTRUCTION + prompt, stop=())
    assert benchmark.program(item, answer).source == ("\n\n" if code == WHOLE else prompt) + code + "\n"
    assert benchmark.program(benchmark.items(data, P1)[0], answer).source == prompt + answer + "\n"


def test_a_grade_is_pass_at_k_of_the_samples() -> None:
    item = Item("Own/0", {})
    given = answers(passed=2, assertion=15, timeout=3)
    assert benchmark.grade(item, given, P1) == Grade(
        "Own/0",
        pytest.approx(0.1),
        "2 of 20",
        "15 assertion, 2 passed, 3 timeout",
        more={
            "pass@1": pytest.approx(2 / 20),
            "pass@5": pytest.approx(1 - math.comb(18, 5) / math.comb(20, 5)),
            "pass@10": pytest.approx(1 - math.comb(18, 10) / math.comb(20, 10)),
            "pass@20": 1.0,
            "verdict/assertion": 0.75,
            "verdict/passed": 0.1,
            "verdict/timeout": 0.15,
        },
    )
    assert benchmark.grade(item, given, P10).value == pytest.approx(0.7631578947368421)
    assert benchmark.grade(item, answers(passed=1), P1).more == {"pass@1": 1.0, "verdict/passed": 1.0}


def test_answers_that_have_not_been_run_or_are_too_few_have_no_grade() -> None:
    with pytest.raises(UserError) as refused:
        benchmark.grade(Item("Own/0", {}), [*answers(passed=19), Answer("code")], P1)
    assert refused.value.message == "1 answers to Own/0 have not been run"
    with pytest.raises(UserError) as refused:
        benchmark.grade(Item("Own/0", {}), answers(passed=9), P10)
    assert refused.value.message == "Own/0 has 9 answers, and codex:pass@10 needs 10"


def test_the_total_is_the_mean_over_problems() -> None:
    grades = [
        benchmark.grade(Item(str(number), {}), answers(passed=passed, memory=20 - passed), P1)
        for number, passed in enumerate((20, 5, 0))
    ]
    score = benchmark.total(grades, P1)
    assert (score.column, score.n, score.profile, score.version) == ("codex:pass@1", 3, "paper-2023", 1)
    assert score.value == pytest.approx(100 * (1 + 0.25 + 0) / 3)
    values, mean = (1, 0.25, 0), 1.25 / 3
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / 2)
    assert score.standard_error == pytest.approx(100 * deviation / math.sqrt(3))
    assert list(score.details) == ["pass@1", "pass@10", "pass@20", "pass@5", "verdict/memory", "verdict/passed"]
    assert score.details["verdict/passed"] == pytest.approx(score.details["pass@1"])
    assert score.details["verdict/memory"] == pytest.approx(100 * 35 / 60)
    assert score.details["pass@20"] == pytest.approx(100 * 2 / 3)


def test_without_items_the_total_is_nothing() -> None:
    assert benchmark.total([], P1).n == 0


NO_PROBLEM = (
    'a problem looks like {"task_id": "ID", "prompt": "def ...", "entry_point": "NAME", "test": "def check ..."}'
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lines([PROBLEMS[0], PROBLEMS[0]]), "{path}:2: 'Own/0' is there twice"),
        (lines([PROBLEMS[0], {"task_id": "x"}]), "{path}:2: no text under `prompt`"),
        (lines([{**PROBLEMS[0], "test": None}]), "{path}:1: no text under `test`"),
        (lines([3]), "{path}:1: no text under `task_id`"),
        (b"\n{\n", "{path}:2: not valid JSON (Expecting property name enclosed in double quotes at column 2)"),
        (b"\n", "{path} holds no problem"),
        (b"\xff", "cannot read {path}: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (
            gzip.compress(lines(PROBLEMS), mtime=0)[:40],
            "cannot read {path}: Compressed file ended before the end-of-stream marker was reached",
        ),
    ],
    ids=["twice", "no prompt", "no test", "a number", "no JSON", "empty", "not UTF-8", "cut short"],
)
def test_broken_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    data = write(tmp_path, content)
    with pytest.raises(UserError) as refused:
        benchmark.items(data, P1)
    assert refused.value.message == message.format(path=data / "humaneval/HumanEval.jsonl.gz")


def test_a_missing_file_is_named_with_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        benchmark.items(tmp_path, P1)
    assert refused.value.message == f"{tmp_path}/humaneval/HumanEval.jsonl.gz is missing (problems of HumanEval)"
