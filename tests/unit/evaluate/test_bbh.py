"""BIG-Bench Hard on tasks of our own: prompts, draw, reading, totals, bad input."""

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from packtrain.core.conversation import Message
from packtrain.core.errors import UserError
from packtrain.evaluate.benchmark import Answer, Grade, Item, Profile, Request, Setting, benchmark_of
from packtrain.evaluate.benchmarks.bbh import TASKS, benchmark, conclusion, equal_answers
from packtrain.evaluate.numbers import equal_text
from packtrain.models.base import cut_at_stop

HEADER = "OUR OWN TEST DATA. canary GUID 00000000-0000-0000-0000-000000000000\n-----\n"
REASONED = """Say which lamp is lit.

Lamps are red or blue.

Q: The red one.
A: Let's think step by step.
Red is lit. So the answer is (R).

Q: The blue one.
A: Let's think step by step.
It follows. So the answer is (B)."""
DIRECT, COT = Setting("bbh:direct"), Setting("bbh:cot")
FIXED = Setting("bbh:direct", "fixed")


def write_tasks(folder: Path, items: int = 3) -> Path:
    """The 27 tasks in `folder`, each of `items` questions `TASK 0`, `TASK 1`, ... with the answer `(R)`."""
    for name in ("bbh/bbh", "bbh/cot-prompts"):
        (folder / name).mkdir(parents=True)
    for task in TASKS:
        examples = [{"input": f"{task} {index}", "target": "(R)"} for index in range(items)]
        write_examples(folder, task, examples)
        (folder / f"bbh/cot-prompts/{task}.txt").write_text(HEADER + REASONED, encoding="utf-8")
    return folder


def write_examples(folder: Path, task: str, examples: Any) -> Path:
    path = folder / f"bbh/bbh/{task}.json"
    path.write_text(json.dumps({"canary": "ours", "examples": examples}), encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_tasks(tmp_path)


def item(data: Path, setting: Setting) -> Item:
    return benchmark.items(data, setting)[0]


def graded(text: str, target: str, profile: Profile = "paper-2023") -> Grade:
    asked = Item("snarks/0", {"demonstrations": "", "input": "", "target": target}, "snarks")
    return benchmark.grade(asked, [Answer(text)], Setting("bbh:cot", profile))


def test_it_fills_its_two_columns() -> None:
    assert [benchmark_of(column) for column in ("bbh:direct", "bbh:cot")] == [benchmark, benchmark]
    assert len(set(TASKS)) == 27
    assert list(TASKS) == sorted(TASKS)


def test_prompt_with_reasoning(data: Path) -> None:
    prompt = f"{REASONED}\n\nQ: boolean_expressions 0"
    assert benchmark.request(item(data, COT), COT) == Request(
        (Message("user", prompt),), "A:", max_new_tokens=512, first_token=False
    )
    bare = Setting("bbh:cot", chat=False)
    assert benchmark.request(item(data, bare), bare) == Request(
        (), prompt + "\nA:", max_new_tokens=512, first_token=False
    )


def test_prompt_without_reasoning_keeps_the_final_period_unless_mended(data: Path) -> None:
    prompt = (
        "Say which lamp is lit.\n\nLamps are red or blue.\n\n"
        "Q: The red one.\nA: (R).\n\nQ: The blue one.\nA: (B).\n\nQ: boolean_expressions 0"
    )
    assert benchmark.request(item(data, DIRECT), DIRECT) == Request(
        (Message("user", prompt),), "A:", max_new_tokens=512, first_token=False
    )
    mended = prompt.replace("(R).", "(R)").replace("(B).", "(B)")
    assert benchmark.request(item(data, FIXED), FIXED) == Request(
        (Message("user", mended),), "A:", max_new_tokens=512, stop=("\n\nQ:",), first_token=True
    )


def test_the_draw_is_one_generator_over_files_in_order_of_name(tmp_path: Path) -> None:
    data = write_tasks(tmp_path, items=50)
    random = Random(42)
    expected = [f"{task}/{index}" for task in TASKS for index in random.sample(list(range(50)), 40)]
    assert [asked.id for asked in benchmark.items(data, DIRECT)] == expected
    assert [asked.id for asked in benchmark.items(data, COT)] == expected
    everything = [f"{task}/{index}" for task in TASKS for index in range(50)]
    for setting in (Setting("bbh:direct", full=True), FIXED):
        assert [asked.id for asked in benchmark.items(data, setting)] == everything


def test_a_small_task_is_asked_whole(data: Path) -> None:
    items = benchmark.items(data, DIRECT)
    assert [asked.id for asked in items] == [f"{task}/{index}" for task in TASKS for index in range(3)]
    assert {asked.group for asked in items} == set(TASKS)
    assert all(asked.content["input"] == asked.id.replace("/", " ") for asked in items)


@pytest.mark.parametrize(
    ("text", "in_paragraph", "anywhere"),
    [
        (" So the answer is (B).", "(B)", "(B)"),
        ("\n\n So the answer is (B). So the answer is (C).", "(B)", "(B)"),
        ("Step.\n\nSo the answer is (B).", "Step.", "(B)"),
        ("(B).\n\nBecause.", "(B).", "(B)."),
        ("So the answer is (B)\nQ.", "So the answer is (B)\nQ.", "So the answer is (B)\nQ."),
        ("", "", ""),
        (" \n\n ", "", ""),
    ],
)
def test_conclusion(text: str, in_paragraph: str, anywhere: str) -> None:
    assert conclusion(text) == in_paragraph
    assert conclusion(text, everywhere=True) == anywhere


@pytest.mark.parametrize("first", ["(R)", "So the answer is (R).", "Step.\nSo the answer is (R)"])
def test_what_follows_a_blank_line_is_never_read_but_a_stop_there_would_blank_answers(first: str) -> None:
    """Why `paper-2023` gives no stop: leading blank lines are not read either, and a stop would act on them."""
    for lead in ("", " ", "\n\n", " \n\n\n"):
        whole = f"{lead}{first}\n\nQ: another\nA: So the answer is (B)."
        assert graded(whole, "(R)") == graded(first, "(R)")
        stopped, found = cut_at_stop(whole, ["\n\n"])
        assert found
        assert (conclusion(stopped) == conclusion(whole)) == ("\n\n" not in lead)
    assert benchmark.request(Item("", {"demonstrations": "", "input": "", "target": ""}), COT).stop == ()


def test_the_next_question_would_be_no_exact_stop_either() -> None:
    """An answer that begins with a question of its own is read by the original."""
    text = "\n\nQ: mine\nA: So the answer is (R)."
    assert graded(text, "(R)").value == 1.0
    assert graded(cut_at_stop(text, ["\n\nQ:"])[0], "(R)").value == 0.0


@pytest.mark.parametrize(
    ("found", "target", "letters", "mended"),
    [
        ("(r)", "(R)", True, True),
        ("R", "(R)", True, True),
        ("valid.", "valid", True, True),
        ("] ) }.", "] ) }", True, True),
        ("])}", "] ) }", False, True),
        ("> > >", "] ) }", True, False),
        ("well ] )", "] )", False, False),
        ("-24", "24", True, False),
        ("-24.", "-24", True, True),
        ("(-24)", "-24", True, True),
        ("24", "-24", True, False),
        ("7-24", "724", True, True),
        ("red  blue", "red blue", False, True),
        ("red, blue", "red blue", True, True),
        ("", "(R)", False, False),
        ("yes", "no", False, False),
    ],
)
def test_how_answers_are_compared(found: str, target: str, letters: bool, mended: bool) -> None:
    assert (equal_text(found, target), equal_answers(found, target)) == (letters, mended)


def test_grades() -> None:
    assert graded(" So the answer is ] ).", "> >") == Grade("snarks/0", 1.0, "] )", "equal", "snarks")
    assert graded("So the answer is ] ).", "> >", "fixed") == Grade("snarks/0", 0.0, "] )", "expected '> >'", "snarks")


@pytest.mark.parametrize(
    ("text", "local", "endpoint"),
    [
        ("Step by step.\n\nRed is lit.\n\nSo the answer is (R).", "Step by step.", "(R)"),
        ("(R)\n\nRed is lit.", "(R)", "(R)\n\nRed is lit."),
        (" (R).\n", "(R).", "(R)."),
    ],
)
def test_all_that_an_endpoint_says_is_read(data: Path, text: str, local: str, endpoint: str) -> None:
    """As the script of 2023 read OpenAI's models, without a cut at the first blank line; they were asked alike."""
    settings = [Setting("bbh:cot", chat=False, endpoint=whether) for whether in (False, True)]
    asked = item(data, COT)
    assert [benchmark.grade(asked, [Answer(text)], setting).extracted for setting in settings] == [local, endpoint]
    assert len({benchmark.request(asked, setting) for setting in settings}) == 1
    mended = [replace(setting, profile="fixed") for setting in settings]
    assert len({benchmark.grade(asked, [Answer(text)], setting).extracted for setting in mended}) == 1


def test_total_counts_every_task_alike() -> None:
    grades = [Grade(f"snarks/{index}", value, "", "", "snarks") for index, value in enumerate((1.0, 0.0, 1.0, 0.0))]
    grades.append(Grade("navigate/0", 1.0, "", "", "navigate"))
    score = benchmark.total(grades, COT)
    assert (score.column, score.value, score.n, score.profile) == ("bbh:cot", 75.0, 5, "paper-2023")
    assert score.standard_error == pytest.approx(100 * (0.25 / 4) ** 0.5 / 2)
    assert score.details == {"task/navigate": 100.0, "task/snarks": 50.0}
    assert list(score.notes) == [
        "40 items of each task, drawn in order of names: the authors' draw is lost",
        "mean of 2 tasks, not 27",
    ]


def test_a_whole_total_has_nothing_to_note() -> None:
    grades = [Grade(f"{task}/0", 1.0, "", "", task) for task in TASKS]
    score = benchmark.total(grades, FIXED)
    assert (score.value, score.n, score.standard_error, list(score.notes)) == (100.0, 27, 0.0, [])


def refused(data: Path, setting: Setting = DIRECT) -> str:
    with pytest.raises(UserError) as caught:
        benchmark.items(data, setting)
    assert caught.value.hint
    return caught.value.message


def test_missing_task_files_are_named(data: Path) -> None:
    (data / "bbh/bbh/snarks.json").unlink()
    (data / "bbh/bbh/navigate.json").unlink()
    assert refused(data) == f"{data}/bbh/bbh lacks 2 of the 27 tasks: navigate.json, snarks.json"


def test_missing_prompt_files_are_named(data: Path) -> None:
    (data / "bbh/cot-prompts/word_sorting.txt").unlink()
    assert refused(data) == f"{data}/bbh/cot-prompts lacks 1 of the 27 tasks: word_sorting.txt"


def test_no_data_at_all(tmp_path: Path) -> None:
    assert refused(tmp_path).startswith(f"{tmp_path}/bbh/bbh lacks 27 of the 27 tasks: boolean_expressions.json, ")


def test_a_task_that_is_none_is_not_averaged_in(data: Path) -> None:
    write_examples(data, "ours", [{"input": "q", "target": "a"}])
    assert refused(data) == f"{data}/bbh/bbh/ours.json is none of the 27 tasks"


@pytest.mark.parametrize("text", [REASONED, "canary\nDescription.\n\nQ: a", "canary", "-----\ncanary\n" + REASONED, ""])
def test_a_prompt_file_without_canary_header(data: Path, text: str) -> None:
    path = data / "bbh/cot-prompts/snarks.txt"
    path.write_text(text, encoding="utf-8")
    assert refused(data, COT) == f"{path} does not begin with the canary line and a line of dashes"


@pytest.mark.parametrize("block", ["Q: No answer", "Q: None\nA: It is lit.", "Q: No label. So the answer is (R)."])
def test_a_demonstration_without_conclusion(data: Path, block: str) -> None:
    path = data / "bbh/cot-prompts/snarks.txt"
    path.write_text(f"{HEADER}{REASONED}\n\n{block}", encoding="utf-8")
    question = block.partition("\nA:")[0]
    assert refused(data) == f"{path}: the demonstration {question!r} has no `A:` or no `So the answer is`"
    assert benchmark.items(data, COT)


@pytest.mark.parametrize(
    "bad", [{"input": "q"}, {"input": "q", "target": ""}, {"target": "a"}, {"input": 1, "target": "a"}, "q"]
)
def test_an_item_without_target(data: Path, bad: Any) -> None:
    path = write_examples(data, "snarks", [{"input": "q", "target": "a"}, bad])
    assert refused(data) == f"{path}, examples[1] has no text as `input` or as `target`"


@pytest.mark.parametrize("examples", [[], None, {}, "q"])
def test_a_task_without_examples(data: Path, examples: Any) -> None:
    path = write_examples(data, "snarks", examples)
    assert refused(data) == f"{path} has no list of `examples`"


def test_files_that_are_not_what_they_should_be(data: Path) -> None:
    path = data / "bbh/bbh/snarks.json"
    path.write_text('{"examples": [', encoding="utf-8")
    assert refused(data).startswith(f"{path} is not JSON (")
    path.write_bytes(b"\xff\xfe\x00")
    assert refused(data).startswith(f"cannot read {path}: ")
    path.write_text("[]", encoding="utf-8")
    assert refused(data) == f"{path} has no list of `examples`"
