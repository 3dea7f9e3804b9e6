"""GSM on problems and demonstrations of our own: prompts whole, the draw, grading in both profiles, broken files."""

import json
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from packtrain.core.conversation import Message
from packtrain.core.errors import UserError
from packtrain.evaluate.benchmark import Answer, Item, Profile, Request, Setting
from packtrain.evaluate.benchmarks.gsm import benchmark, drawn

SHOTS = [
    {"question": "What is 1 and 1?", "cot_answer": "1 + 1 = 2. So the answer is 2.", "short_answer": "2"},
    {"question": "What is 9 less 4?", "cot_answer": "9 - 4 = 5. So the answer is 5.", "short_answer": "5"},
]
PROBLEMS = [
    {"question": " Two cups and three cups: how many? \n", "answer": "2 + 3 = <<2+3=5>>5\n#### 5"},
    {"question": "How many metres are 2 km?", "answer": "2 x 1,000 = 2,000\n#### 2,000"},
    {"question": "It is 3 degrees and gets 7 colder. How many now?", "answer": "3 - 7 = -4\n#### -4"},
]


def write(folder: Path, lines: list[str], shots: Any = SHOTS) -> Path:
    (folder / "gsm8k").mkdir(parents=True)
    (folder / "gsm8k/test.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    if shots is not None:
        (folder / "prompt_assets").mkdir()
        content = {"source": "own", "exemplars": shots}
        (folder / "prompt_assets/gsm_exemplars.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path, [json.dumps(problem) for problem in PROBLEMS])


def asked(data: Path, column: str, profile: Profile = "paper-2023", *, chat: bool = True) -> Request:
    setting = Setting(column, profile, chat=chat)
    return benchmark.request(benchmark.items(data, setting)[0], setting)


DIRECT = (
    "Answer the following questions.\n\n"
    "Quesion: What is 1 and 1?\nAnswer: 2\n\n"
    "Quesion: What is 9 less 4?\nAnswer: 5\n\n"
    "Question: Two cups and three cups: how many?"
)
COT = (
    "Answer the following questions.\n\n"
    "Question: What is 1 and 1?\nAnswer: 1 + 1 = 2. So the answer is 2.\n\n"
    "Question: What is 9 less 4?\nAnswer: 9 - 4 = 5. So the answer is 5.\n\n"
    "Question: Two cups and three cups: how many?"
)


@pytest.mark.parametrize(
    ("column", "profile", "text"),
    [
        ("gsm:direct", "paper-2023", DIRECT),
        ("gsm:direct", "fixed", DIRECT.replace("Quesion", "Question")),
        ("gsm:cot", "paper-2023", COT),
        ("gsm:cot", "fixed", COT),
    ],
)
def test_requests_whole(data: Path, column: str, profile: Profile, text: str) -> None:
    first_token = profile == "fixed"
    assert asked(data, column, profile) == Request(
        (Message("user", text),), "Answer:", stop=("\n",), max_new_tokens=512, first_token=first_token
    )
    assert asked(data, column, profile, chat=False) == Request(
        text=f"{text}\nAnswer:", stop=("\n",), max_new_tokens=512, first_token=first_token
    )


@pytest.mark.parametrize("profile", ["paper-2023", "fixed"])
def test_all_that_an_endpoint_says_is_read(data: Path, profile: Profile) -> None:
    """As the script of 2023 read OpenAI's models: no stop at the next line."""
    setting = Setting("gsm:cot", profile, chat=False, endpoint=True)
    item = benchmark.items(data, setting)[0]
    request = benchmark.request(item, setting)
    assert (request.text, request.messages, request.stop) == (f"{COT}\nAnswer:", (), ())
    assert benchmark.grade(item, [Answer("2 cups.\n\n3 cups.\nSo the answer is 5.")], setting).value == 1.0


def test_items_are_stripped_and_their_numbers_lose_commas(data: Path) -> None:
    items = benchmark.items(data, Setting("gsm:cot"))
    assert items == [
        Item(
            "test/0", {"question": "Two cups and three cups: how many?", "gold": "5", "exemplars": SHOTS, "notes": ()}
        ),
        Item("test/1", {"question": "How many metres are 2 km?", "gold": "2000", "exemplars": SHOTS, "notes": ()}),
        Item("test/2", {"question": PROBLEMS[2]["question"], "gold": "-4", "exemplars": SHOTS, "notes": ()}),
    ]


def test_a_draw_of_200_in_the_papers_profile_only() -> None:
    setting = Setting("gsm:cot")
    assert drawn(1319, setting)[:5] == [1309, 228, 51, 563, 501]
    assert len(set(drawn(1319, setting))) == len(drawn(1319, setting)) == 200
    assert drawn(200, setting) == list(range(200))
    assert drawn(1319, Setting("gsm:cot", full=True)) == list(range(1319))
    assert drawn(1319, Setting("gsm:cot", "fixed")) == list(range(1319))


@pytest.mark.parametrize(
    ("answer", "gold", "as_2023", "fixed"),
    [
        (" 5", "5", (1.0, "5"), (1.0, "5")),
        (" 4 + 1 = 5, so 5.00", "5", (0.0, "5.00"), (1.0, "5.00")),
        (" -5", "5", (1.0, "5"), (0.0, "-5")),
        (" It is -4.", "-4", (1.0, "4"), (1.0, "-4")),
        (" 1.4", "14", (1.0, "1.4"), (0.0, "1.4")),
        (" $2,000", "2000", (1.0, "2000"), (1.0, "2000")),
        (" five", "5", (0.0, " five"), (0.0, "")),
        ("", "5", (0.0, ""), (0.0, "")),
    ],
)
def test_grades(answer: str, gold: str, as_2023: tuple[float, str], fixed: tuple[float, str]) -> None:
    item = Item("test/0", {"gold": gold})
    profiles: list[tuple[Profile, tuple[float, str]]] = [("paper-2023", as_2023), ("fixed", fixed)]
    for profile, expected in profiles:
        grade = benchmark.grade(item, [Answer(answer)], Setting("gsm:cot", profile))
        assert (grade.value, grade.extracted) == expected
        assert grade.reason == ("equal" if expected[0] else f"expected {gold}")


def test_total_is_the_share_of_right_answers(data: Path) -> None:
    setting = Setting("gsm:direct")
    items = benchmark.items(data, setting)
    grades = [benchmark.grade(item, [Answer(" 5")], setting) for item in items]
    score = benchmark.total(grades, setting)
    assert (score.column, score.n, score.profile, score.version) == ("gsm:direct", 3, "paper-2023", 1)
    assert score.value == pytest.approx(100 / 3)
    assert score.standard_error == pytest.approx(100 * (1 / 3 * 2 / 3 / 3) ** 0.5)


def test_without_the_cards_demonstrations_eight_of_our_own_are_shown(tmp_path: Path) -> None:
    data = write(tmp_path, [json.dumps(PROBLEMS[0])], shots=None)
    own = json.loads((files("packtrain.evaluate.own_assets") / "gsm_exemplars.json").read_text(encoding="utf-8"))
    items = benchmark.items(data, Setting("gsm:cot"))
    assert items[0].content["exemplars"] == own["exemplars"]
    assert len(own["exemplars"]) == 8
    [note] = benchmark.request(items[0], Setting("gsm:cot")).notes
    assert note == "own wording for lack of prompt_assets/gsm_exemplars.json, not the cards'"


def test_our_own_demonstrations_come_to_what_they_say() -> None:
    """Every `a - b = c` in the reasoning holds, and its last sentence names the short answer."""
    own = json.loads((files("packtrain.evaluate.own_assets") / "gsm_exemplars.json").read_text(encoding="utf-8"))
    for shot in own["exemplars"]:
        reasoning, conclusion, rest = shot["cot_answer"].rpartition(" So the answer is ")
        assert conclusion
        assert rest == f"{shot['short_answer']}."
        words = reasoning.replace(",", "").split()
        sums = [index for index, word in enumerate(words) if word == "="]
        assert sums
        for index in sums:
            start = index
            while start > 0 and (words[start - 1] in "+-x/" or words[start - 1].isdecimal()):
                start -= 1
            left = _worked_out(words[start:index])
            assert left == Decimal(words[index + 1].rstrip(".")), (shot["question"], words[start : index + 2])


def _worked_out(words: list[str]) -> Decimal:
    """The value of `4 x 7` or `18 - 5 + 9`, from left to right."""
    value = Decimal(words[0])
    for sign, number in zip(words[1::2], map(Decimal, words[2::2]), strict=True):
        value = {"+": value + number, "-": value - number, "x": value * number, "/": value / number}[sign]
    return value


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        benchmark.items(tmp_path, Setting("gsm:cot"))
    assert caught.value.message == f"{tmp_path}/gsm8k/test.jsonl is missing (problems of GSM8K)"
    assert caught.value.hint == "fetch it: packtrain evaluate fetch --data DIR"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cut short", "not valid JSON (Expecting value at column 1)"),
        ('{"question": "How many?"}', "no `question` and `answer`"),
        ('["How many?", "5"]', "no `question` and `answer`"),
        ('{"question": "How many?", "answer": 5}', "no `question` and `answer`"),
        (
            '{"question": "How many?", "answer": "five"}',
            "the answer holds no ####, behind which the right number stands",
        ),
        ('{"question": "How many?", "answer": "#### five"}', "'five' behind #### is not a number"),
        ('{"question": "How many?", "answer": "####"}', "'' behind #### is not a number"),
        ('{"question": "How many?", "answer": "#### nan"}', "'nan' behind #### is not a number"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    data = write(tmp_path, [json.dumps(PROBLEMS[0]), line])
    with pytest.raises(UserError) as caught:
        benchmark.items(data, Setting("gsm:cot"))
    assert caught.value.message == f"{data}/gsm8k/test.jsonl:2: {message}"


@pytest.mark.parametrize("shots", [[], {}, "eight", ["one"], [{**SHOTS[0], "short_answer": 2}], [{"question": "?"}]])
def test_demonstrations_of_another_form(tmp_path: Path, shots: Any) -> None:
    data = write(tmp_path, [json.dumps(PROBLEMS[0])], shots)
    with pytest.raises(UserError) as caught:
        benchmark.items(data, Setting("gsm:cot"))
    assert caught.value.message == (
        f"{data}/prompt_assets/gsm_exemplars.json: no list `exemplars` of objects with "
        "question, cot_answer, short_answer"
    )
