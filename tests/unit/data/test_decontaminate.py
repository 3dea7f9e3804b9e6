"""Overlap with benchmarks: every layout is read, what repeats an item is found, templates are not."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packtrain.core.errors import UserError
from packtrain.data.overlap.benchmark_texts import Benchmark, BenchmarkItem, read_benchmarks
from packtrain.data.overlap.decontaminate import decontaminate
from packtrain.data.overlap.ngram_index import Evidence, NgramIndex
from packtrain.data.overlap.words import words

QUESTION = "A lighthouse keeper climbs ninety steps four times each day; how many steps does he climb in one week?"
OTHER = "Two boats leave the harbour at noon, and one of them sails twice as fast as its slower companion does."


def index_of(*texts: str | tuple[str, ...], **evidence: int) -> NgramIndex:
    items = [BenchmarkItem(str(n), (text,) if isinstance(text, str) else text) for n, text in enumerate(texts)]
    return NgramIndex([Benchmark("toy", tuple(items))], Evidence(**evidence))


def hits(index: NgramIndex, *texts: str) -> dict[str, float]:
    return {overlap.item.id: overlap.coverage for overlap in index.overlaps(texts)}


def conversations(path: Path, *texts: str | tuple[str, str, str]) -> Path:
    with open(path, "w", encoding="utf-8") as file:
        for number, text in enumerate(texts):
            question, context, answer = (text, "", "Yes.") if isinstance(text, str) else text
            asked = {"role": "user", "content": question, **({"context": context} if context else {})}
            messages = [asked, {"role": "assistant", "content": answer}]
            file.write(json.dumps({"dataset": "set", "id": f"set_{number}", "messages": messages}) + "\n")
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Evaluation data of every kind in their published layout, an item or two each."""
    root = tmp_path / "evaluation"

    def put(name: str, content: str | bytes) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    for split in ("test", "dev"):
        row = [f"Which {split} of the\nlamp, is red?", "None", "The left", "The right", "Both", "B"]
        (root / "mmlu" / split).mkdir(parents=True)
        with open(root / "mmlu" / split / f"lamp_science_{split}.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(row)
    put("gsm8k/test.jsonl", json.dumps({"question": QUESTION, "answer": "#### 2520"}) + "\n\n")
    put("gsm8k/train.jsonl", json.dumps({"question": OTHER, "answer": "#### 1"}))
    put("bbh/bbh/counting.json", json.dumps({"canary": "keep out", "examples": [{"input": "Count.", "target": "1"}]}))
    asked = [{"id": "telugu-1", "question": "ఎవరు?"}, {"id": "telugu-2", "question": "ఎక్కడ?"}]
    tydiqa = {"version": "1", "data": [{"paragraphs": [{"context": "భాష", "qas": asked}]}]}
    put("tydiqa/tydiqa-goldp-v1.1-dev.json", json.dumps(tydiqa))
    problem = {"task_id": "HumanEval/0", "prompt": "def f():\n", "canonical_solution": "    pass"}
    put("humaneval/HumanEval.jsonl.gz", gzip.compress(json.dumps(problem).encode()))
    put("alpaca_farm/eval.json", json.dumps([{"instruction": "Say it", "input": "twice", "output": "it it"}]))
    return root


def test_every_layout_is_read(folder: Path) -> None:
    found = {benchmark.name: benchmark for benchmark in read_benchmarks(folder)}
    assert {name: [(item.id, item.texts) for item in each.items] for name, each in found.items()} == {
        "mmlu/test": [
            ("lamp_science/0", ("Which test of the\nlamp, is red?", "None", "The left", "The right", "Both")),
        ],
        "mmlu/dev": [("lamp_science/0", ("Which dev of the\nlamp, is red?", "None", "The left", "The right", "Both"))],
        "gsm8k/test": [("0", (QUESTION,))],
        "gsm8k/train": [("0", (OTHER,))],
        "bbh": [("counting/0", ("Count.",))],
        "tydiqa/dev": [("telugu-1", ("ఎవరు?",)), ("telugu-2", ("ఎక్కడ?",))],
        "tydiqa/dev passages": [("telugu-1", ("భాష",))],
        "humaneval": [("HumanEval/0", ("def f():\n",))],
        "alpaca_farm": [("0", ("Say it\ntwice",))],
    }
    unscored = {name for name, benchmark in found.items() if not benchmark.scored}
    assert unscored == {"mmlu/dev", "gsm8k/train", "tydiqa/dev passages"}


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("gsm8k", ["gsm8k/test", "gsm8k/train"]),
        ("mmlu", ["mmlu/test", "mmlu/dev"]),
        ("gsm8k/train.jsonl", ["train"]),
        ("humaneval/HumanEval.jsonl.gz", ["HumanEval"]),
        ("bbh/bbh/counting.json", ["counting"]),
        ("tydiqa/tydiqa-goldp-v1.1-dev.json", ["tydiqa-goldp-v1.1-dev"]),
        ("mmlu/test/lamp_science_test.csv", ["lamp_science_test"]),
        ("alpaca_farm/eval.json", ["eval"]),
    ],
)
def test_one_benchmark_or_one_file_will_do(folder: Path, part: str, names: list[str]) -> None:
    whole = {item.texts for benchmark in read_benchmarks(folder) for item in benchmark.items}
    found = read_benchmarks(folder / part)
    assert [benchmark.name for benchmark in found] == names
    assert {item.texts for benchmark in found for item in benchmark.items} <= whole


def test_any_records_will_do(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    records = [
        {"id": "a", "question": "Q", "text": "T"},
        {"text": "T"},
        {"instruction": "I", "input": "X"},
        {"instruction": "I", "input": ""},
        {"messages": [{"role": "user", "content": "M", "context": "C"}, {"role": "assistant", "content": "A"}]},
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    [benchmark] = read_benchmarks(path)
    assert (benchmark.name, benchmark.scored) == ("mine", True)
    assert [item.texts for item in benchmark.items] == [("Q",), ("T",), ("I\nX",), ("I",), ("M\nC",)]
    assert benchmark.items[0].id == "a"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gsm8k/test.jsonl", b'{"question": "Q"}\n{"question"', r"test\.jsonl:2: not valid JSON"),
        ("gsm8k/test.jsonl", b'{"answer": "A"}', r"test\.jsonl:1: no `question`"),
        ("gsm8k/test.jsonl", b'{"question": 3}', r"test\.jsonl:1: `question` is not text"),
        ("gsm8k/test.jsonl", b"[1]", "expected a JSON object, found list"),
        ("gsm8k/test.jsonl", b"", "holds no questions"),
        ("gsm8k/test.jsonl", None, "gsm8k holds no test.jsonl"),
        ("mmlu/test/lamp_science_test.csv", b"question,A,B\n", "row 1 has 3 columns"),
        ("mmlu/test/lamp_science_test.csv", b"\xff\xfe", "not a CSV file"),
        ("mmlu/test/lamp_science_test.csv", None, r"mmlu holds no test/\*_test\.csv"),
        ("bbh/bbh/counting.json", b"[]", "no `examples`"),
        ("bbh/bbh/counting.json", b'{"examples": {}}', "examples: expected a list, found dict"),
        ("bbh/bbh/counting.json", b'{"examples": [', "not valid JSON"),
        ("tydiqa/tydiqa-goldp-v1.1-dev.json", b'{"data": [{}]}', "article 1: no `paragraphs`"),
        ("humaneval/HumanEval.jsonl.gz", b"plain", "cannot read"),
        ("humaneval/HumanEval.jsonl.gz", gzip.compress(b"{}" * 99, mtime=0)[:20], "cannot read"),
        ("alpaca_farm/eval.json", b'[{"output": "it"}]', r"record 1: no text to compare with \(found: output\)"),
    ],
)
def test_what_is_wrong_with_evaluation_data_is_said(
    folder: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_benchmarks(folder)


def test_an_unknown_place_says_what_is_looked_for(tmp_path: Path) -> None:
    for place, message in ((tmp_path, "no benchmark in"), (tmp_path / "absent", "no such file or folder")):
        with pytest.raises(UserError, match=message) as error:
            read_benchmarks(place)
        assert "gsm8k/test.jsonl" in error.value.hint
    (tmp_path / "gsm8k").mkdir()
    with pytest.raises(UserError, match=r"gsm8k holds no test\.jsonl"):
        read_benchmarks(tmp_path / "gsm8k")


def test_an_incomplete_benchmark_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read_benchmarks(folder)
    assert "mmlu/test: 1 of the 57 published files are there" in " ".join(capsys.readouterr().err.split())


def test_an_item_is_found_wherever_it_stands_and_however_it_is_written() -> None:
    index = index_of(OTHER, QUESTION)
    assert hits(index, QUESTION) == {"1": 1.0}
    assert hits(index, "Solve this.", f"**Q:** {QUESTION.upper()}\n\nLet's see", "Yes.") == {"1": 1.0}
    assert hits(index, QUESTION.replace(";", " …\n\n")) == {"1": 1.0}
    middle = words(QUESTION).index("how")
    first, second = words(QUESTION)[:middle], words(QUESTION)[middle:]
    assert hits(index, " ".join(first), " ".join(second)) == {"1": 1.0}
    assert hits(index, " ".join(second), " ".join(first)) == {}
    assert hits(index, "", QUESTION[: len(QUESTION) // 2]) == {}
    assert hits(index, "") == {}
    [overlap] = index.overlaps([f"x {' '.join(words(QUESTION)[1:14])} y"])
    assert (overlap.ngrams, overlap.example) == (1, " ".join(words(QUESTION)[1:14]))
    assert overlap.coverage == pytest.approx(1 / (len(words(QUESTION)) - 12))


SEQUENCE = [f"word{number}x" for number in range(40)]


@given(st.integers(0, 39), st.integers(1, 40), st.integers(5, 13))
def test_overlap_is_what_brute_force_says(start: int, length: int, size: int) -> None:
    """A record that quotes a run of an item overlaps exactly if the run is an n-gram long."""
    index = index_of(" ".join(SEQUENCE), ngram_words=size, shortest_words=5)
    quoted = SEQUENCE[start : start + length]
    ngrams = max(0, len(quoted) - size + 1)
    expected = {"0": ngrams / (len(SEQUENCE) - size + 1)} if ngrams else {}
    assert hits(index, " ".join(["before", *quoted, "after"])) == pytest.approx(expected)


def test_templates_are_no_evidence() -> None:
    template = "The following is a question of our long and rather strict yearly examination in natural science:"
    questions = [f"{template} {SEQUENCE[number]} or {SEQUENCE[number + 1]}" for number in range(12)]
    index = index_of(*questions)
    assert hits(index, template) == {}
    assert set(hits(index, questions[3])) == {"3"}
    assert set(hits(index_of(*questions, most_items=12), template)) == {str(number) for number in range(12)}


def test_numbers_symbols_and_option_letters_are_no_evidence() -> None:
    table = "Options:\n(A) 5\n(B) 6\n(C) 7\n(D) 8\n(E) 9"
    index = index_of(
        f"How old is the youngest bird in the table of birds? {table}", "| Drive----------------- | House |"
    )
    assert hits(index, f"How many pears? {table}") == {}
    assert hits(index, "|---------------------|---------------------|") == {}


def test_short_questions_must_be_whole() -> None:
    nine, five = "Why do second pancakes brown faster than first ones?", "Who painted this window?"
    index = index_of(nine, five, "Why?", "Which is true?", *["Which is true?"] * 10)
    assert index.unchecked() == [1 + 11]
    assert hits(index, f"Tell me: {nine} I wonder.") == {"0": 1.0}
    assert hits(index, "Why do second pancakes brown faster than first cakes") == {}
    assert hits(index, "Answer.", " who painted this window") == {"1": 1.0}
    assert hits(index, f"He asked: {five}") == {}
    assert hits(index, "Why?", "Which is true?") == {}


def test_texts_without_spaces_are_compared_by_character() -> None:
    index = index_of("เมืองหลวงของประเทศไทยคือเมืองอะไร", "この町で一番高い山の名前は何ですか")
    assert hits(index, "ถาม: เมืองหลวงของประเทศไทยคือเมืองอะไร?") == {"0": 1.0}
    assert hits(index, "質問:この町で一番高い山の名前は何ですか。") == {"1": 1.0}
    assert hits(index, "この町で一番") == {}


def test_the_answers_of_an_item_count_but_do_not_run_into_one_another() -> None:
    index = index_of((OTHER, " ".join(SEQUENCE[:14]), " ".join(SEQUENCE[20:30]), " ".join(SEQUENCE[30:])))
    assert set(hits(index, " ".join(SEQUENCE[:13]))) == {"0"}
    assert hits(index, " ".join(SEQUENCE[20:])) == {}


def test_the_report_says_what_overlaps_and_only_scored_sets_are_removed(folder: Path, tmp_path: Path) -> None:
    source = conversations(
        tmp_path / "all.jsonl", "Nothing to see.", QUESTION, ("Continue.", OTHER, "Ok."), ("Ask.", "", QUESTION)
    )
    report = decontaminate(source, folder, out=tmp_path / "overlaps.jsonl", clean=tmp_path / "clean.jsonl")

    grams = len(words(QUESTION)) - 12
    example = " ".join(words(QUESTION)[:13])
    found = {"benchmark": "gsm8k/test", "item": "0", "ngrams": grams, "coverage": 1.0, "example": example}
    overlaps = lines(tmp_path / "overlaps.jsonl")
    assert [(entry["id"], entry["benchmark"]) for entry in overlaps] == [
        ("set_1", "gsm8k/test"),
        ("set_2", "gsm8k/train"),
        ("set_3", "gsm8k/test"),
    ]
    assert overlaps[0] == {"dataset": "set", "id": "set_1", **found}
    assert lines(tmp_path / "clean.jsonl") == [lines(source)[0], lines(source)[2]]
    assert lines(tmp_path / "clean.dropped.jsonl") == [
        {**lines(source)[number], "reason": "overlaps gsm8k/test", "overlaps": [found]} for number in (1, 3)
    ]
    assert (report.read, report.overlapping, report.removed) == (4, 3, 2)
    figures = {benchmark["name"]: benchmark for benchmark in report.figures()["benchmarks"]}
    assert figures["gsm8k/test"] == {
        "name": "gsm8k/test",
        "items": 1,
        "unchecked": 0,
        "removes": True,
        "items_hit": 1,
        "records": {"set": 2},
        "mostly": {"set": 2},
    }
    assert not figures["gsm8k/train"]["removes"]


def test_what_is_removed_can_be_chosen(folder: Path, tmp_path: Path) -> None:
    source = conversations(tmp_path / "all.jsonl", QUESTION, OTHER, " ".join(words(OTHER)[:14]))
    against = ["gsm8k/train"]
    report = decontaminate(source, folder, clean=tmp_path / "a.jsonl", remove_against=against, min_coverage=0.5)
    assert report.removed == 1
    assert [record["id"] for record in lines(tmp_path / "a.jsonl")] == ["set_0", "set_2"]


def test_records_with_nothing_or_very_much_in_them(folder: Path, tmp_path: Path) -> None:
    long = f"{'filler ' * 150_000} {QUESTION}"
    source = conversations(tmp_path / "all.jsonl", "", "\ud800", ("", "", ""), long, "???")
    report = decontaminate(source, folder, clean=tmp_path / "clean.jsonl")
    assert (report.read, report.removed) == (5, 1)
    assert lines(tmp_path / "clean.dropped.jsonl")[0]["id"] == "set_3"


def test_wrong_requests_are_refused_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    source = conversations(tmp_path / "all.jsonl", QUESTION)
    for options, message in (
        ({"ngram_words": 4}, "n-grams of 4 words"),
        ({"clean": tmp_path / "c.jsonl", "min_coverage": 1.5}, "coverage 1.5"),
        ({"clean": tmp_path / "c.jsonl", "remove_against": ["gsm8k"]}, "unknown benchmark: gsm8k"),
        ({"remove_against": ["gsm8k/test"]}, "nothing is removed without a file"),
        ({"clean": source, "overwrite": True}, "replace its own input"),
        ({"clean": tmp_path / "c.jsonl", "out": tmp_path / "c.jsonl"}, "two outputs"),
    ):
        with pytest.raises(UserError, match=message):
            decontaminate(source, folder, **options)
    (tmp_path / "cut.jsonl").write_text('{"dataset": "set", "id": "1", "mess')
    with pytest.raises(UserError, match=r"cut\.jsonl:1: not valid JSON"):
        decontaminate(tmp_path / "cut.jsonl", folder, clean=tmp_path / "c.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.jsonl", "cut.jsonl", "evaluation"]


def test_the_command(folder: Path, tmp_path: Path, packtrain: Any) -> None:
    source = conversations(tmp_path / "all.jsonl", QUESTION, "Nothing to see.")
    clean = tmp_path / "clean.jsonl"
    finished = packtrain("data", "decontaminate", source, "--against", folder, "--remove", clean)
    assert finished.returncode == 0, finished.stderr
    assert "1 of 2 records overlap, 1 removed" in finished.stdout
    assert len(lines(clean)) == 1
    as_json = packtrain("data", "decontaminate", source, "--against", folder / "gsm8k", "--json")
    assert [benchmark["items_hit"] for benchmark in json.loads(as_json.stdout)["benchmarks"]] == [1, 0]
    absent = packtrain("data", "decontaminate", source, "--against", tmp_path / "absent")
    assert absent.returncode == 2
    assert "error: no such file or folder" in absent.stderr


@pytest.mark.real_data
def test_flan_cot_holds_the_training_questions_of_gsm8k_not_its_test(shared: Path, tmp_path: Path) -> None:
    """The 7,473 rows of FLAN's gsm8k file are GSM8K train; four resemble three test questions in places."""
    text = (shared / "data" / "flan_cot" / "gsm8k_train.tsv").read_text(encoding="utf-8")
    rows = [row.split("\t") for row in text.rstrip("\n").split("\n")]
    source = conversations(
        tmp_path / "cot.jsonl", *((question.replace("\\n", "\n"), "", f"{why} {end}") for question, end, why in rows)
    )
    report = decontaminate(source, shared / "data" / "gsm8k", out=tmp_path / "overlaps.jsonl")
    test, train = report.benchmarks
    assert report.read == 7473
    assert (train.name, len(train.items_hit), train.records.total(), train.mostly.total()) == (
        "gsm8k/train",
        7473,
        7473,
        7473,
    )
    near = [entry for entry in lines(tmp_path / "overlaps.jsonl") if entry["benchmark"] == "gsm8k/test"]
    assert test.items_hit == {entry["item"] for entry in near} == {"581", "602", "632"}
    assert len(near) == test.records.total() == 4
    assert max(entry["coverage"] for entry in near) < 0.6


@pytest.mark.real_data
def test_all_published_evaluation_data_are_read(shared: Path) -> None:
    sizes = {benchmark.name: len(benchmark.items) for benchmark in read_benchmarks(shared / "data")}
    assert sizes == {
        "mmlu/test": 14_042,
        "mmlu/dev": 285,
        "gsm8k/test": 1_319,
        "gsm8k/train": 7_473,
        "bbh": 6_511,
        "tydiqa/dev": 5_077,
        "tydiqa/dev passages": 4_488,
        "humaneval": 164,
        "alpaca_farm": 805,
    }
