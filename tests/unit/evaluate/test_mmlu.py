"""MMLU on questions of our own: requests whole, dropped shots, totals over subjects, broken files."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, processors

from packtrain.core.conversation import Message
from packtrain.core.errors import UserError
from packtrain.evaluate.benchmark import Answer, Grade, Item, Profile, Request, Setting
from packtrain.evaluate.benchmarks.mmlu import benchmark, categories
from packtrain.models.base import Options
from packtrain.prompts.tokenizer import Tokenizer

TEXTS = (" A", " B", " C", " D")
QUESTION = "What is 1 and 1?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:"


def write(folder: Path, split: str, subject: str, text: str) -> Path:
    path = folder / "mmlu" / split / f"{subject}_{split}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two questions on each subject and five solved ones."""
    for subject in categories()[0]:
        write(tmp_path, "test", subject, "What is 1 and 1?,1,2,3,4,B\nWhat is 2 and 2?,1,2,3,4,D\n")
        write(tmp_path, "dev", subject, "".join(f"What is {n}?,{n},x,y,z,A\n" for n in range(5)))
    return tmp_path


def tokenizer(*, first_token: bool = False, same: bool = False) -> Tokenizer:
    """One token per word between spaces and line ends; with `same` no letter is known."""
    known = [] if same else ["A", "B", "C", "D"]
    words = {word: index for index, word in enumerate(["<unk>", "<s>", "</s>", *known])}
    backend = Backend(models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if first_token:
        backend.post_processor = processors.TemplateProcessing(
            single=["<s>", "$A"], pair=["<s>", "$A", "<s>", "$B"], special_tokens=[("<s>", 1)]
        )
    return Tokenizer(backend, "</s>", "<s>", None, "<unk>")


def test_items_are_subjects_in_order_of_name(data: Path) -> None:
    items = benchmark.items(data, Setting("mmlu:0shot"))
    assert len(items) == 114
    assert items[:3] == [
        Item("abstract_algebra/0", {"question": QUESTION, "answer": "B", "shots": ()}, "abstract_algebra"),
        Item(
            "abstract_algebra/1",
            {"question": "What is 2 and 2?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:", "answer": "D", "shots": ()},
            "abstract_algebra",
        ),
        Item("anatomy/0", {"question": QUESTION, "answer": "B", "shots": ()}, "anatomy"),
    ]
    five = benchmark.items(data, Setting("mmlu:5shot"))
    assert [item.id for item in five] == [item.id for item in items]
    assert five[0].content["shots"] == tuple(f"What is {n}?\nA. {n}\nB. x\nC. y\nD. z\nAnswer: A\n\n" for n in range(5))


HEADER = "The following are multiple choice questions (with answers) about  abstract algebra.\n\n"
SOLVED = "".join(f"What is {n}?\nA. {n}\nB. x\nC. y\nD. z\nAnswer: A\n\n" for n in range(5))


@pytest.mark.parametrize(
    ("column", "profile", "text"),
    [
        ("mmlu:0shot", "paper-2023", HEADER + QUESTION),
        ("mmlu:5shot", "paper-2023", HEADER + SOLVED + QUESTION),
        ("mmlu:0shot", "fixed", HEADER.replace("  ", " ") + QUESTION),
        ("mmlu:5shot", "fixed", HEADER.replace("  ", " ") + SOLVED + QUESTION),
    ],
)
def test_requests_whole(data: Path, column: str, profile: Profile, text: str) -> None:
    fixed = profile == "fixed"
    for known, ids in ((None, ()), (tokenizer(), () if fixed else (3, 4, 5, 6))):
        setting = Setting(column, profile, known)
        item = benchmark.items(data, setting)[0]
        options = Options(TEXTS, ids)
        assert benchmark.request(item, setting) == Request(
            (Message("user", text),), "The answer is:", options=options, first_token=fixed
        )
        plain = Setting(column, profile, known, chat=False)
        assert benchmark.request(item, plain) == Request(text=text, options=options, first_token=fixed)


def long_item(shots: Sequence[int], question: int) -> Item:
    """A question of so many tokens, its last line included, with solved ones of so many."""
    solved = tuple("word " * (length - 2) + "Answer: A\n\n" for length in shots)
    return Item(
        "anatomy/0", {"question": "word " * (question - 1) + "Answer:", "answer": "A", "shots": solved}, "anatomy"
    )


ANATOMY = "The following are multiple choice questions (with answers) about  anatomy.\n\n"
HEADER_TOKENS = len(ANATOMY.split())


@pytest.mark.parametrize(
    ("question", "dropped", "notes"),
    [
        (1000, 0, ()),
        (2048 - 500 - HEADER_TOKENS, 0, ()),
        (2049 - 500 - HEADER_TOKENS, 1, ("1 shot dropped",)),
        (2048 - 400 - HEADER_TOKENS, 1, ("1 shot dropped",)),
        (2048 - 200 - HEADER_TOKENS, 3, ("3 shots dropped",)),
        (2048 - HEADER_TOKENS, 5, ("5 shots dropped",)),
        (3000, 5, ("5 shots dropped",)),
    ],
)
def test_shots_are_dropped_from_the_end_until_it_fits(question: int, dropped: int, notes: tuple[str, ...]) -> None:
    item = long_item([100] * 5, question)
    setting = Setting("mmlu:5shot", tokenizer=tokenizer(), chat=False)
    request = benchmark.request(item, setting)
    solved = item.content["shots"][: 5 - dropped]
    assert request.text == ANATOMY + "".join(solved) + item.content["question"]
    assert request.notes == notes


def test_the_last_of_unequal_shots_goes_first() -> None:
    item = long_item([900, 10, 10, 10, 900], 1000)
    request = benchmark.request(item, Setting("mmlu:5shot", tokenizer=tokenizer(), chat=False))
    assert request.notes == ("1 shot dropped",)
    assert request.text.endswith("".join(item.content["shots"][:4]) + item.content["question"])


def test_without_a_tokenizer_nothing_is_dropped() -> None:
    item = long_item([1000] * 5, 1000)
    request = benchmark.request(item, Setting("mmlu:5shot", chat=False))
    assert request.notes == ()
    assert request.text.endswith("".join(item.content["shots"]) + item.content["question"])
    endpoint = benchmark.request(item, Setting("mmlu:5shot", chat=False, endpoint=True))
    assert endpoint == replace(request, max_new_tokens=8)  # of these few tokens the letter is read


@pytest.mark.parametrize(
    ("first_token", "chat", "format_tokens", "around"),
    [(False, False, 9, 0), (True, False, 9, 1), (False, True, 0, 3), (True, True, 9, 13)],
)
def test_fixed_counts_what_is_around_the_question(
    first_token: bool, chat: bool, format_tokens: int, around: int
) -> None:
    setting = Setting("mmlu:5shot", "fixed", tokenizer(first_token=first_token), chat, format_tokens=format_tokens)
    longest = 2048 - 500 - HEADER_TOKENS - around
    assert benchmark.request(long_item([100] * 5, longest), setting).notes == ()
    assert benchmark.request(long_item([100] * 5, longest + 1), setting).notes == ("1 shot dropped",)


def test_letters_that_begin_alike_are_compared_whole(data: Path) -> None:
    known = tokenizer(same=True)
    item = benchmark.items(data, Setting("mmlu:0shot"))[0]
    request = benchmark.request(item, Setting("mmlu:0shot", tokenizer=known))
    assert (request.options, request.notes) == (Options(TEXTS), ("letters of several tokens, compared whole",))
    mended = benchmark.request(item, Setting("mmlu:0shot", "fixed", known))
    assert (mended.options, mended.notes) == (Options(TEXTS), ())


@pytest.mark.parametrize(
    ("answer", "value", "extracted", "reason"),
    [
        (" B", 1.0, "B", "equal"),
        ("B", 1.0, "B", "equal"),
        (" A", 0.0, "A", "expected B"),
        ("", 0.0, "", "expected B"),
    ],
)
def test_grades(data: Path, answer: str, value: float, extracted: str, reason: str) -> None:
    setting = Setting("mmlu:0shot")
    grade = benchmark.grade(benchmark.items(data, setting)[0], [Answer(answer)], setting)
    assert grade == Grade("abstract_algebra/0", value, extracted, reason, "abstract_algebra")


def test_total_is_over_questions_not_subjects() -> None:
    def of(subject: str, *values: float) -> list[Grade]:
        return [Grade(f"{subject}/{number}", value, "", "", subject) for number, value in enumerate(values)]

    grades = [*of("anatomy", 1), *of("virology", 0, 0, 1), *of("econometrics", 1, 1, 1, 0)]
    score = benchmark.total(grades, Setting("mmlu:5shot", "fixed"))
    assert (score.column, score.profile, score.value, score.n) == ("mmlu:5shot", "fixed", 62.5, 8)
    assert score.standard_error == pytest.approx(100 * math.sqrt(0.625 * 0.375 / 8))
    assert score.details == {
        "category/other (business, health, misc.)": 50.0,
        "category/social sciences": 75.0,
        "subcategory/economics": 75.0,
        "subcategory/health": 50.0,
        "subject/anatomy": 100.0,
        "subject/econometrics": 75.0,
        "subject/virology": pytest.approx(100 / 3),
    }


def test_every_subject_has_one_category() -> None:
    subcategories, of_category = categories()
    assert len(subcategories) == 57
    for kinds in subcategories.values():
        assert len([name for name, members in of_category.items() if set(kinds) & set(members)]) == 1
    assert len(of_category) == 4


def test_cells_are_text_as_it_stands(data: Path) -> None:
    """A byte-order mark, quoted line ends, commas and quotation marks, blank lines, `None` and an empty cell."""
    text = '\ufeff"Who said ""no, no""?\r\nAnd why?",None,"a, b", c ,,D\r\n\r\nWhat?,NA,nan,1.0,007,A\r\n'
    write(data, "test", "anatomy", text)
    items = [item for item in benchmark.items(data, Setting("mmlu:0shot")) if item.group == "anatomy"]
    assert [item.content["question"] for item in items] == [
        'Who said "no, no"?\r\nAnd why?\nA. None\nB. a, b\nC.  c \nD. \nAnswer:',
        "What?\nA. NA\nB. nan\nC. 1.0\nD. 007\nAnswer:",
    ]
    assert [item.content["answer"] for item in items] == ["D", "A"]


def failure(data: Path, column: str = "mmlu:0shot") -> tuple[str, str]:
    with pytest.raises(UserError) as caught:
        benchmark.items(data, Setting(column))
    return caught.value.message, caught.value.hint


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert failure(tmp_path) == (
        f"{tmp_path}/mmlu is missing (questions of MMLU, in test/ and dev/)",
        "fetch it: packtrain evaluate fetch --data DIR",
    )


def test_missing_subjects_are_named(data: Path) -> None:
    (data / "mmlu/test/virology_test.csv").unlink()
    (data / "mmlu/test/anatomy_test.csv").unlink()
    assert failure(data) == (
        f"{data}/mmlu: 2 of 57 files are missing: test/anatomy_test.csv, test/virology_test.csv",
        "fetch them: packtrain evaluate fetch --data DIR",
    )


def test_many_missing_subjects_are_counted(data: Path) -> None:
    for path in (data / "mmlu/dev").iterdir():
        path.unlink()
    assert len(benchmark.items(data, Setting("mmlu:0shot"))) == 114
    named = ", ".join(f"dev/{subject}_dev.csv" for subject in sorted(categories()[0])[:8])
    assert failure(data, "mmlu:5shot")[0] == f"{data}/mmlu: 57 of 57 files are missing: {named} and 49 more"


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("What?,1,2,3,4,A\nWhat?,1,2,3,B\n", ":2", "5 columns instead of 6"),
        ('"What\nand why?",1,2,3,4,A\n"What\nelse?",1,2,3,4,5,A\n', ":3", "7 columns instead of 6"),
        ("What?,1,2,3,4,E\n", ":1", "the right answer is 'E', not one of A, B, C, D"),
        ("What?,1,2,3,4,a\n", ":1", "the right answer is 'a', not one of A, B, C, D"),
        ('What?,1,2,3,4,A\n"What?,1,2,3,4,A\n', ":2", "not valid CSV (unexpected end of data)"),
        ('What?,"1"2,2,3,4,A\n', ":1", "not valid CSV (',' expected after '\"')"),
        ("", "", "holds no question"),
    ],
)
def test_a_broken_row_is_named(data: Path, text: str, where: str, message: str) -> None:
    path = write(data, "test", "anatomy", text)
    gap = ": " if where else " "
    assert failure(data) == (
        f"{path}{where}{gap}{message}",
        "a row is question, A, B, C, D, right letter; fetch the file again",
    )


def test_a_file_in_another_encoding_is_named(data: Path) -> None:
    path = data / "mmlu/test/anatomy_test.csv"
    path.write_bytes("Wie heißt er?,1,2,3,4,A\n".encode("latin-1"))
    assert failure(data)[0] == f"{path}: not valid UTF-8 (byte 7)"


def test_too_few_solved_questions(data: Path) -> None:
    path = write(data, "dev", "anatomy", "What?,1,2,3,4,A\n")
    assert failure(data, "mmlu:5shot") == (f"{path} holds 1 of 5 solved questions", "fetch the file again")
