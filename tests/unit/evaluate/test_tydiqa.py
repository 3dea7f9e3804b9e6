"""TyDiQA on questions of our own: prompts, draw, example, cut passages, totals, bad input."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.conftest import build_tokenizer

from packtrain.core.conversation import Message
from packtrain.core.errors import UserError
from packtrain.evaluate.benchmark import Answer, Grade, Item, Request, Setting, benchmark_of
from packtrain.evaluate.benchmarks.tydiqa import DEV, LANGUAGES, MERGED_DEV, TRAIN, benchmark, cut_passage
from packtrain.prompts.tokenizer import Tokenizer

GOLD, CLOSED = Setting("tydiqa:gold"), Setting("tydiqa:closed")
LONG = "The sea is wide and the river runs to the sea. " * 60


def question(language: str, number: int, **changes: Any) -> dict[str, Any]:
    """A question as it stands in a file, called `LANGUAGE-NUMBER`."""
    answers = [{"text": f"answer {number}", "answer_start": 0}, {"text": f"reply {number}", "answer_start": 0}]
    return {"id": f"{language}-{number}", "question": f"{language} {number}?", "answers": answers, **changes}


def write(path: Path, sizes: Mapping[str, int], start: int = 0, *, context: str = "Passage {}.") -> Path:
    """A file with so many questions of each language, two to a passage."""
    path.parent.mkdir(parents=True, exist_ok=True)
    articles = []
    for language, size in sizes.items():
        asked = [question(language, number) for number in range(start, start + size)]
        paragraphs = [
            {"context": context.format(first), "qas": asked[first : first + 2]} for first in range(0, size, 2)
        ]
        articles.append({"title": language, "paragraphs": paragraphs})
    path.write_text(json.dumps({"version": "ours", "data": articles}), encoding="utf-8")
    return path


def write_one(folder: Path, *entries: Any, context: Any = "Passage.") -> Path:
    """A dev file with these questions in its only paragraph."""
    path = folder / "tydiqa" / DEV
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"data": [{"paragraphs": [{"context": context, "qas": list(entries)}]}]}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three questions in English, four in Swahili, five in each to train."""
    write(tmp_path / "tydiqa" / DEV, {"swahili": 4, "english": 3})
    write(tmp_path / "tydiqa" / TRAIN, {"swahili": 5, "english": 5}, start=1000)
    strings = {
        "with_passage": {
            language: {
                "instruction": f"Read {language}.",
                "passage_label": "P:",
                "question_label": "Q:",
                "answer_label": "A:",
            }
            for language in LANGUAGES
        },
        "without_passage": {
            language: {"instruction": f"Say {language}.", "question_label": "Q:", "answer_label": "A:"}
            for language in LANGUAGES
        },
    }
    (tmp_path / "prompt_assets").mkdir()
    (tmp_path / "prompt_assets/tydiqa_strings.json").write_text(json.dumps(strings), encoding="utf-8")
    return tmp_path


def ids(items: Sequence[Item]) -> list[str]:
    return [item.id for item in items]


def by_language(items: Sequence[Item]) -> dict[str, str]:
    """Id of each language's example; it is the same for all its items."""
    examples = {item.group: str(item.content["example"]["id"]) for item in items}
    assert all(item.content["example"]["id"] == examples[item.group] for item in items)
    return examples


def test_it_fills_its_two_columns() -> None:
    assert [benchmark_of(column) for column in ("tydiqa:gold", "tydiqa:closed")] == [benchmark, benchmark]


def test_prompts(data: Path) -> None:
    item = benchmark.items(data, GOLD)[0]
    number = int(item.content["example"]["id"].removeprefix("english-"))
    passage = f"Passage {number - number % 2 - 1000}."
    shown = f"Read english.\n\nP: {passage}\nQ: english {number}?\nA: answer {number}\n\nP: Passage 0.\nQ: english 0?"
    assert benchmark.request(item, Setting("tydiqa:gold", tokenizer=tokenizer())) == Request(
        (Message("user", shown),), "A:", max_new_tokens=50, stop=("\n",), first_token=False
    )
    bare = Setting("tydiqa:gold", tokenizer=tokenizer(), chat=False, profile="fixed")
    assert benchmark.request(item, bare) == Request(
        (), shown + "\nA:", max_new_tokens=50, stop=("\n",), first_token=True
    )


def test_prompts_of_the_closed_book(data: Path) -> None:
    item = benchmark.items(data, CLOSED)[0]
    number = int(item.content["example"]["id"].removeprefix("english-"))
    shown = f"Say english.\n\nQ: english {number}?\nA: answer {number}\n\nQ: english 0?"
    assert benchmark.request(item, CLOSED) == Request(
        (Message("user", shown),), "A:", max_new_tokens=50, stop=("\n",), first_token=False
    )
    bare = Setting("tydiqa:closed", chat=False)
    assert benchmark.request(item, bare) == Request(
        (), shown + "\nA:", max_new_tokens=50, stop=("\n",), first_token=False
    )


def test_without_a_tokenizer_passages_are_whole_and_it_is_noted(data: Path) -> None:
    write(data / "tydiqa" / DEV, {"english": 1}, context=LONG)
    (item,) = benchmark.items(data, GOLD)
    request = benchmark.request(item, GOLD)
    assert request.messages[0].content.count(LONG) == 1
    assert request.notes == (
        "the example's passage not measured, whatever its length",
        "passage not measured, whatever its length",
    )


def test_the_draw_is_one_generator_over_languages_in_order_of_name(data: Path) -> None:
    write(data / "tydiqa" / DEV, {"swahili": 130, "english": 110, "korean": 4})
    write(data / "tydiqa" / TRAIN, {"swahili": 30, "korean": 40, "english": 50}, start=1000)
    random = Random(42)
    english, swahili = (
        random.sample([f"{language}-{n}" for n in range(size)], 100)
        for language, size in (("english", 110), ("swahili", 130))
    )
    korean = [f"korean-{n}" for n in range(4)]
    examples = {
        language: random.sample([f"{language}-{n}" for n in range(1000, 1000 + size)], 1)[0]
        for language, size in (("english", 50), ("korean", 40), ("swahili", 30))
    }
    for setting in (GOLD, CLOSED):
        items = benchmark.items(data, setting)
        assert ids(items) == [*english, *korean, *swahili]
        assert by_language(items) == examples
    everything = [*(f"english-{n}" for n in range(110)), *korean, *(f"swahili-{n}" for n in range(130))]
    for setting in (Setting("tydiqa:gold", full=True), Setting("tydiqa:closed", "fixed")):
        items = benchmark.items(data, setting)
        assert ids(items) == everything
        assert by_language(items) == examples


def test_without_training_questions_the_example_is_one_that_is_not_asked(data: Path) -> None:
    write(data / "tydiqa" / DEV, {"english": 110, "korean": 4, "swahili": 3})
    (data / "tydiqa" / TRAIN).unlink()
    write(data / "tydiqa/swahili_tydiqa_train.json", {"swahili": 5}, start=1000)
    drawn, full = benchmark.items(data, GOLD), benchmark.items(data, Setting("tydiqa:gold", full=True))
    examples = by_language(drawn)
    assert by_language(full) == examples
    assert not set(ids(drawn)) & set(examples.values())
    assert [sum(item.group == language for item in drawn) for language in examples] == [100, 3, 3]
    everything = {*(f"english-{n}" for n in range(110)), *(f"korean-{n}" for n in range(4))}
    everything |= {f"swahili-{n}" for n in range(3)}
    assert set(ids(full)) == everything - {examples["english"], examples["korean"]}
    assert examples["swahili"].startswith("swahili-100")
    note = "example taken from dev and not asked"
    closed = {item.group: benchmark.request(item, CLOSED).notes for item in benchmark.items(data, CLOSED)}
    assert closed == {"english": (note,), "korean": (note,), "swahili": ()}


def test_the_official_file_comes_before_the_merged_one(data: Path) -> None:
    write(data / "tydiqa" / MERGED_DEV, {"korean": 2})
    write(data / "tydiqa/english_tydiqa_train.json", {"english": 1}, start=5000)
    items = benchmark.items(data, GOLD)
    assert {item.group for item in items} == {"english", "swahili"}
    assert by_language(items)["english"] != "english-5000"
    (data / "tydiqa" / DEV).unlink()
    assert {item.group for item in benchmark.items(data, GOLD)} == {"korean"}
    (data / "tydiqa" / TRAIN).unlink()
    write(data / "tydiqa" / DEV, {"english": 2})
    assert by_language(benchmark.items(data, GOLD)) == {"english": "english-5000"}


def tokenizer(first_token: str | None = "<s>") -> Tokenizer:
    """Of the tests' own vocabulary, with or without a first token."""
    backend = build_tokenizer()
    if first_token is None:
        backend.post_processor = None
    return Tokenizer(backend, "</s>", first_token)


def test_a_passage_of_512_tokens_is_whole_and_one_of_513_is_cut() -> None:
    ours = tokenizer()
    body = ours.ids(LONG)[1:]
    whole, longer = ours.decode(body[:511]), ours.decode(body[:512])
    assert len(ours.ids(whole)) == 512
    assert len(ours.ids(longer)) == 513
    assert cut_passage(whole, ours, with_first_token=True) is None
    assert cut_passage(longer, ours, with_first_token=True) == "<s>" + whole
    assert cut_passage(longer, ours, with_first_token=False) == whole


def test_without_a_first_token_all_512_are_the_passage() -> None:
    ours = tokenizer(None)
    body = ours.ids(LONG)
    assert cut_passage(LONG, ours, with_first_token=True) == ours.decode(body[:512])


def test_a_letter_that_is_cut_apart_is_seen() -> None:
    text = "é" * 400
    ours = tokenizer()
    assert len(ours.ids(text)) == 801
    assert cut_passage(text, ours, with_first_token=True) == "<s>" + "é" * 255 + "\ufffd"


@pytest.mark.parametrize(("profile", "first"), [("paper-2023", "<s>"), ("fixed", "")])
def test_passages_are_cut_and_counted(data: Path, profile: Any, first: str) -> None:
    write(data / "tydiqa" / DEV, {"english": 1}, context=LONG)
    write(data / "tydiqa" / TRAIN, {"english": 1}, start=1000, context="Red. " + LONG)
    setting = Setting("tydiqa:gold", profile, tokenizer())
    (item,) = benchmark.items(data, setting)
    cut = {text: tokenizer().decode(tokenizer().ids(text)[1:512]) for text in (LONG, "Red. " + LONG)}
    request = benchmark.request(item, setting)
    assert request.messages[0].content == (
        f"Read english.\n\nP: {first}{cut['Red. ' + LONG]}\nQ: english 1000?\nA: answer 1000\n\n"
        f"P: {first}{cut[LONG]}\nQ: english 0?"
    )
    assert request.notes == ("the example's passage cut to 512 tokens", "passage cut to 512 tokens")


def test_grades(data: Path) -> None:
    item = benchmark.items(data, GOLD)[0]
    assert benchmark.grade(item, [Answer(" the Answer 0.")], GOLD) == Grade(
        "english-0", 1.0, "the Answer 0.", "equal", "english", {"exact_match": 1.0}
    )
    assert benchmark.grade(item, [Answer("reply 1")], GOLD) == Grade(
        "english-0", 0.5, "reply 1", "expected 'answer 0' or 'reply 0'", "english", {"exact_match": 0.0}
    )


def test_total_counts_every_language_alike() -> None:
    grades = [
        Grade("english-0", 1.0, "", "", "english", {"exact_match": 1.0}),
        Grade("english-1", 0.5, "", "", "english", {"exact_match": 0.0}),
        Grade("korean-0", 0.25, "", "", "korean", {"exact_match": 0.0}),
    ]
    score = benchmark.total(grades, GOLD)
    assert (score.column, score.value, score.n, score.profile, score.version) == (
        "tydiqa:gold",
        50.0,
        3,
        "paper-2023",
        1,
    )
    assert score.standard_error == pytest.approx(100 * (0.125 / 2) ** 0.5 / 2)
    assert score.details == {
        "language/english": 75.0,
        "language/korean": 25.0,
        "exact_match": 25.0,
        "exact_match/english": 50.0,
        "exact_match/korean": 0.0,
    }
    assert list(score.notes) == [
        "100 questions and an example of each language, drawn in order of names: the authors' draw is lost",
        "mean of 2 languages, not 9",
    ]
    assert list(benchmark.total(grades, Setting("tydiqa:gold", "fixed")).notes) == ["mean of 2 languages, not 9"]


def test_own_strings_have_the_same_form(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "prompt_assets/tydiqa_strings.json").unlink()
    items = benchmark.items(data, GOLD)
    assert items[0].content["strings"] == {
        "instruction": "Read the text and answer the question with words from it.",
        "passage_label": "Text:",
        "question_label": "Question:",
        "answer_label": "Answer:",
    }
    assert "own wording" in capsys.readouterr().err
    own = "own wording for lack of prompt_assets/tydiqa_strings.json, not the cards'"
    assert all(own in benchmark.request(item, CLOSED).notes for item in items)
    closed = benchmark.items(data, CLOSED)[-1].content["strings"]
    assert list(closed) == ["instruction", "question_label", "answer_label"]


def refused(data: Path, setting: Setting = GOLD) -> str:
    with pytest.raises(UserError) as caught:
        benchmark.items(data, setting)
    assert caught.value.hint
    return caught.value.message


def test_missing_data(data: Path) -> None:
    (data / "tydiqa" / DEV).unlink()
    assert refused(data) == f"{data}/tydiqa/{DEV} is missing (questions of TyDiQA's gold passage task)"


PLACE = "data[0].paragraphs[0].qas[1]"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (question("klingon", 1), "nobody knows the language of 'klingon-1'"),
        (question("", 1), "nobody knows the language of '-1'"),
        (question("english", 0), "'english-0' is there already, at data[0].paragraphs[0].qas[0]"),
    ],
)
def test_ids_that_cannot_be(data: Path, entry: dict[str, Any], message: str) -> None:
    path = write_one(data, question("english", 0), entry)
    assert refused(data) == f"{path}, {PLACE}: {message}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answers": []}, "has no right answer"),
        ({"answers": ["red"]}, "has no right answer"),
        ({"answers": [{"text": ""}]}, "has no right answer"),
        ({"answers": None}, "has no list of `answers`"),
        ({"question": ""}, "has no text as `question`"),
        ({"id": 7}, "has no text as `id`"),
    ],
)
def test_questions_that_cannot_be_graded(data: Path, changes: dict[str, Any], message: str) -> None:
    path = write_one(data, question("english", 0), question("english", 1, **changes))
    assert refused(data) == f"{path}, {PLACE} {message}"


def test_files_of_another_form(data: Path) -> None:
    path = write_one(data, question("english", 0), context=None)
    assert refused(data) == f"{path}, data[0].paragraphs[0].qas[0] has no text as `context`"
    path = write_one(data, "what?")
    assert refused(data) == f"{path}, data[0].paragraphs[0].qas[0] has no text as `id`"
    for content, message in (
        ("[]", " has no list of `data`"),
        ('{"data": [{}]}', ", data[0] has no list of `paragraphs`"),
        ('{"data": [{"paragraphs": [7]}]}', ", data[0].paragraphs[0] has no list of `qas`"),
    ):
        path.write_text(content, encoding="utf-8")
        assert refused(data) == f"{path}{message}"
    path.write_text('{"data": [', encoding="utf-8")
    assert refused(data).startswith(f"{path} is not JSON (")


def test_a_training_file_is_checked_too(data: Path) -> None:
    (data / "tydiqa" / TRAIN).unlink()
    path = write(data / "tydiqa/english_tydiqa_train.json", {"korean": 1})
    assert refused(data) == (f"{path}, data[0].paragraphs[0].qas[0]: nobody knows the language of 'korean-0'")


def test_a_single_question_cannot_be_asked_after_itself(data: Path) -> None:
    write(data / "tydiqa" / DEV, {"english": 3, "korean": 1})
    assert refused(data) == "TyDiQA has one question in korean, 'korean-0', and none to train"


@pytest.mark.parametrize(
    ("column", "change", "lacking"),
    [
        (
            "tydiqa:gold",
            lambda strings: strings["with_passage"].pop("telugu"),
            "with_passage, telugu, lacks instruction, passage_label, question_label, answer_label",
        ),
        (
            "tydiqa:closed",
            lambda strings: strings["without_passage"]["korean"].pop("answer_label"),
            "without_passage, korean, lacks answer_label",
        ),
        (
            "tydiqa:closed",
            lambda strings: strings.pop("without_passage"),
            "without_passage, arabic, lacks instruction, question_label, answer_label",
        ),
    ],
)
def test_strings_that_lack_a_language(data: Path, column: str, change: Any, lacking: str) -> None:
    path = data / "prompt_assets/tydiqa_strings.json"
    strings = json.loads(path.read_text(encoding="utf-8"))
    change(strings)
    path.write_text(json.dumps(strings), encoding="utf-8")
    assert refused(data, Setting(column)) == f"{path}: {lacking}"
