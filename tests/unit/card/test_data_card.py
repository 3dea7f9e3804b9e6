"""Data cards: whole cards against stored ones, what the records beside a file say, and reports on another file.

`python -m tests.unit.card.test_data_card` writes the stored cards anew; read the difference before keeping it.
"""

import ast
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard, DatasetCardData

from packtrain.card.data_card import DataReports, render_data_card, write_data_card
from packtrain.card.data_facts import DataFacts, SourceFacts, data_facts, read_report
from packtrain.core.conversation import Conversation, Message, write_conversations
from packtrain.core.errors import UserError
from packtrain.core.manifest import Manifest, sha256_of_file
from packtrain.data.diversity.count import count_diversity
from packtrain.data.diversity.parser import open_parser
from packtrain.pipeline.data_card import make_data_card

GOLDENS = Path(__file__).parent / "goldens"
LINES = [
    ("code_alpaca", "Write a function that adds two numbers.", "def add(a, b):\n    return a + b"),
    ("code_alpaca", "Sort this list in Python.", "sorted(numbers)"),
    ("mine", "Name a colour.", "Red."),
    ("mine", "Name two rivers.", "The Rhine and the Elbe, two long rivers, and 2 + 2 = 5."),
]


def conversations(model: str | None = None) -> list[Conversation]:
    """Two of a known data set and two of the user's own, or four that a model wrote."""
    return [
        Conversation(
            "generated" if model else dataset,
            f"{dataset}_{number}",
            (Message("user", question), Message("assistant", answer)),
            {"model": model} if model else {},
        )
        for number, (dataset, question, answer) in enumerate(LINES)
    ]


def write_mixture(folder: Path) -> Path:
    """A file with the account that `packtrain data mix` puts beside it."""
    path = folder / "two.jsonl"
    write_conversations(path, conversations())
    counts = {"read": 12, "train": 2, "held_out": 1, "not_drawn": 6, "repeated": 0}
    account = {
        "name": "two",
        "title": "Two | sets",
        "seed": 7,
        "sources": {
            "code_alpaca": {
                "format": "code_alpaca",
                "license": "cc-by-nc-4.0",
                "files": {"code_alpaca_20k.json": "ab" * 32},
                **counts,
                "dropped": {"empty answer": 2, "`html`: a tag": 1},
                "mended": {"copy_code": 1},
            },
            "mine": {"format": "messages", "license": "", "files": {}, **counts, "dropped": {}, "mended": {}},
        },
        "settings": {"duplicates": "exact", "held_out": 2},
        "sha256": sha256_of_file(path),
    }
    (folder / "two.mixture.json").write_text(json.dumps(account))
    manifest = Manifest("data", {}, {}, {path.name: sha256_of_file(path)}, finished="2025-01-31T10:00:00Z")
    (folder / "two.run.json").write_text(json.dumps(asdict(manifest)))
    return path


def write_generated(folder: Path) -> Path:
    """A folder as `packtrain generate` leaves it."""
    path = folder / "conversations.jsonl"
    write_conversations(path, conversations("openai:gpt-4o-mini"))
    settings = {"model": "openai:gpt-4o-mini", "sampling": {"temperature": 1.0, "top_p": 0.9}, "novelty": 0.7}
    figures = {"kept": 4, "requests": 3, "dropped": {"too short": 2}, "cost_usd": 0.125}
    outputs = {path.name: sha256_of_file(path)}
    Manifest("generate", settings, {}, outputs, figures, 42, finished="2025-01-31T10:00:00Z").write(folder)
    return path


def card(write: Callable[[Path], Path], language: str = "en", **options: Any) -> str:
    """The data card of what `write` writes, with the instructions parsed by the package's own parser."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, report = write(folder), folder / "diversity.json"
        instructions = conversations()
        report.write_text(json.dumps(count_diversity(instructions, open_parser("lexicon")).figures(20, 4)))
        (folder / "drawn").mkdir()
        (folder / "drawn" / "verbs.png").write_bytes(b"a picture")
        out = folder / "README.md"
        figure = folder / "drawn" / "verbs.png"
        make_data_card(path, out, diversity=report, figure=figure, language=language, **options)
        if (folder / "verbs.png").read_bytes() != b"a picture":
            raise ValueError("the figure was not copied")
        return out.read_text(encoding="utf-8")


CARDS = {
    "data": lambda: card(write_mixture),
    "data.zh": lambda: card(write_mixture, "zh"),
    "generated": lambda: card(write_generated, title="Mine", license="cc-by-4.0"),
    "generated.zh": lambda: card(write_generated, "zh", title="我的", license="cc-by-4.0"),
}


@pytest.mark.parametrize("name", CARDS)
def test_the_data_card_is_the_stored_one_to_the_byte(name: str) -> None:
    assert CARDS[name]() == (GOLDENS / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CARDS)
def test_the_hub_reads_the_front_matter(name: str) -> None:
    read = DatasetCard(CARDS[name](), ignore_metadata_errors=False).data
    assert isinstance(read, DatasetCardData)
    assert read.task_categories == ["text-generation"]
    assert read.size_categories == "n<1K"
    assert yaml.safe_load(read.to_yaml()) == read.to_dict()


def test_licence_of_the_whole_source_and_none() -> None:
    def front(sources: list[tuple[str, str]], license: str = "") -> dict[str, Any]:
        facts = some_facts(*(SourceFacts(name, 1, licenses=(licence,) if licence else ()) for name, licence in sources))
        text = render_data_card(facts, some_reports(facts), license=license)
        loaded: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
        return {key: value for key, value in loaded.items() if key.startswith("license")}

    assert front([("a", "mit"), ("b", "mit")]) == {"license": "mit"}
    assert front([("a", "mit"), ("b", "cc-by-sa-3.0"), ("c", "mit")]) == {"license": ["mit", "cc-by-sa-3.0"]}
    assert front([("a", "mit"), ("b", "")]) == {}
    assert front([("a", "mit"), ("b", "")], "mit") == {"license": "mit"}
    assert front([("a", "sharegpt")])["license_name"] == "sharegpt"
    assert front([("a", "My own")]) == {"license": "other", "license_name": "My own"}
    with pytest.raises(UserError, match=r"mit of the result allows commercial use, .* cc-by-nc-4\.0 of its data a"):
        front([("a", "cc-by-nc-4.0")], "mit")


def test_all_licences_of_a_set_count_in_whatever_words(tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    said = ["cc-by-4.0", "CC BY-NC 4.0", "My own licence", None]
    rows = [
        Conversation(
            f"d{max(number - 1, 0)}", str(number), conversations()[0].messages, {"license": licence} if licence else {}
        )
        for number, licence in enumerate(said)
    ]
    write_conversations(path, rows)
    facts = data_facts(path)
    assert facts.sources == (
        SourceFacts("d0", 2, licenses=("cc-by-4.0", "CC BY-NC 4.0")),
        SourceFacts("d1", 1, licenses=("My own licence",)),
        SourceFacts("d2", 1),
    )
    card = render_data_card(facts, some_reports(facts))
    assert "| `d0` | 2 | 50.0 % | CC BY 4.0, CC BY-NC 4.0 |\n" in card
    assert "Nobody has said under which licence these are: d2." in card
    assert "for research without commercial purpose only, because of the data set d0 (CC BY-NC 4.0)." in card
    assert "Read also the data set d1 (My own licence)" in card
    assert "\n- **My own licence** (the data set d1): So the records of the data name it: " in card
    assert "license" not in yaml.safe_load(card.split("---\n")[1])


@pytest.mark.parametrize(
    ("count", "category"),
    [(999, "n<1K"), (1_000, "1K<n<10K"), (52_002, "10K<n<100K"), (999_999, "100K<n<1M"), (1_000_000, "1M<n<10M")],
)
def test_sizes_are_the_hubs_categories(count: int, category: str) -> None:
    facts = some_facts(SourceFacts("a", count))
    text = render_data_card(facts, some_reports(facts))
    assert yaml.safe_load(text.split("---\n")[1])["size_categories"] == category


@pytest.mark.parametrize("report", ["data stats", "data lint", "data diversity"])
def test_a_report_on_another_file_is_refused(report: str) -> None:
    facts = some_facts(SourceFacts("a", 5))
    reports = some_reports(facts)
    wrong: dict[str, Any] = {
        "data stats": {"statistics": some_statistics(6)},
        "data lint": {"lint": {"records": 6, "rules": {}}},
        "data diversity": {"diversity": {"instructions": 6, "without_user_message": 0, "verbs": []}},
    }[report]
    with pytest.raises(UserError, match=f"the report of packtrain {report} is about 6 conversations, f.jsonl has 5"):
        render_data_card(facts, DataReports(**{**vars(reports), **wrong}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"statistics": {"total": {}}},
        {"statistics": {"total": None}},
        {"lint": {"records": 5, "rules": {"loop": {"records": 1}}}},
        {"lint": {"records": 5, "rules": {"loop": {"records": 1, "severity": "grave", "what": ""}}}},
        {"diversity": {"verbs": []}},
        {"diversity": {"instructions": 5, "without_user_message": 0, "verbs": [1]}},
    ],
)
def test_a_report_of_another_form_is_refused(wrong: dict[str, Any]) -> None:
    facts = some_facts(SourceFacts("a", 5))
    with pytest.raises(UserError, match="a report lacks what this version of packtrain reports"):
        render_data_card(facts, DataReports(**{**vars(some_reports(facts)), **wrong}))


def test_names_that_are_no_unicode_or_break_tables_are_written_as_escapes() -> None:
    card = render_data_card(facts := some_facts(SourceFacts("a\ud800|b\nc", 5)), some_reports(facts))
    assert "| `a\\ud800\\|b c` | 5 | 100.0 % |\n" in card


def test_odd_names_break_neither_sentences_nor_code() -> None:
    facts = DataFacts('odd "3"`.jsonl', "ef" * 32, 1, (SourceFacts("my\nset", 1, models=("a\nb",)),))
    card = render_data_card(facts, some_reports(facts))
    assert '\n1 conversation for instruction tuning, in `` odd "3"`.jsonl `` (SHA-256 `' in card
    assert "`), from `my set`. Written by `a b`.\n" in card
    assert "Nobody has said under which licence these are: my set. Ask" in card
    shown = card.partition("```python\n")[2].partition("```")[0]
    [call] = [node for node in ast.walk(ast.parse(shown)) if isinstance(node, ast.Call)]
    assert ast.literal_eval(call.keywords[0].value) == facts.file


def test_records_of_another_file_are_left_aside(tmp_path: Path) -> None:
    path = write_mixture(tmp_path)
    write_conversations(path, conversations()[:3])
    facts = data_facts(path)
    assert facts.title == ""
    assert facts.date is None
    assert facts.sources == (
        SourceFacts("code_alpaca", 2, licenses=("cc-by-nc-4.0",)),
        SourceFacts("mine", 1),
    )
    reports = some_reports(facts)
    assert "Nothing is recorded of how this file was made." in render_data_card(facts, reports)


def test_a_prepared_folder_tells_its_sources_by_its_run_json(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    write_conversations(path, conversations()[:2])
    source = {"format": "code_alpaca", "path": "/somewhere/private/raw.json", "license": ""}
    Manifest(
        "data",
        {"data": {"sources": {"code_alpaca": source}, "duplicates": "keep"}},
        {"code_alpaca": {"raw.json": "cd" * 32}},
        {path.name: sha256_of_file(path)},
        {"sources": {"code_alpaca": {"read": 3, "train": 2, "dropped": {"empty answer": 1}, "mended": {}}}},
        42,
    ).write(tmp_path)
    facts = data_facts(path)
    assert facts.sources == (
        SourceFacts(
            "code_alpaca",
            2,
            format="code_alpaca",
            licenses=("cc-by-nc-4.0",),
            files={"raw.json": "cd" * 32},
            counts={"read": 3},
            dropped={"empty answer": 1},
        ),
    )
    assert (facts.seed, facts.duplicates) == (42, "keep")
    assert "private" not in render_data_card(facts, some_reports(facts))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read .*report.json: No such file"),
        ("{", "report.json is not JSON"),
        ("[]", "report.json is no report of packtrain data lint"),
        ('{"records": 1}', "report.json is no report of packtrain data lint"),
    ],
)
def test_what_is_no_report_is_named_with_the_command_that_makes_one(
    tmp_path: Path, content: str | None, message: str
) -> None:
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        read_report(path, "rules", "data lint")
    assert caught.value.hint == "make it with: packtrain data lint FILE --json > report.json"


def test_files_without_conversations_and_broken_records_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text("\n")
    with pytest.raises(UserError, match=r"empty\.jsonl: no conversations in it"):
        data_facts(path)
    path.write_text('{"dataset": "a"}\n')
    with pytest.raises(UserError, match=r"empty\.jsonl:1: missing id, messages"):
        data_facts(path)
    write_conversations(path, conversations())
    (tmp_path / "empty.run.json").write_text("{}")
    with pytest.raises(UserError, match=r"empty\.run\.json is not a manifest"):
        data_facts(path)


def test_a_card_and_a_figure_that_exist_are_kept(tmp_path: Path) -> None:
    facts = some_facts(SourceFacts("a", 5))
    out, figure = tmp_path / "README.md", tmp_path / "drawn" / "verbs.png"
    out.write_text("mine")
    with pytest.raises(UserError, match="README.md exists already"):
        write_data_card(facts, some_reports(facts), out)
    with pytest.raises(UserError, match="cannot read the figure"):
        write_data_card(facts, some_reports(facts), out, figure=figure, overwrite=True)
    figure.parent.mkdir()
    figure.write_bytes(b"new")
    (tmp_path / "verbs.png").write_bytes(b"old")
    with pytest.raises(UserError, match=r"verbs\.png exists already"):
        write_data_card(facts, some_reports(facts), tmp_path / "other.md", figure=figure)
    assert out.read_text() == "mine"
    write_data_card(facts, some_reports(facts), out, figure=tmp_path / "verbs.png", overwrite=True)
    assert "](verbs.png)" in out.read_text()
    assert (tmp_path / "verbs.png").read_bytes() == b"old"


def some_facts(*sources: SourceFacts) -> DataFacts:
    """Facts of a file of which nothing but its sources is known."""
    return DataFacts("f.jsonl", "ef" * 32, sum(source.conversations for source in sources), sources)


def some_statistics(count: int) -> dict[str, Any]:
    """As much of the report on statistics as the card shows, of `count` conversations of no length."""
    nothing: dict[str, Any] = {"count": 0, "mean": None, "percentiles": {}, "longer_than": {}}
    lengths = {"prompt": nothing, "completion": nothing, "content_length": nothing}
    return {"unit": "words", "total": {"conversations": count, "mean_rounds": 1.0, "bytes": 0, **lengths}}


def some_reports(facts: DataFacts) -> DataReports:
    """Reports that found nothing."""
    return DataReports(some_statistics(facts.conversations), {"records": facts.conversations, "rules": {}})


if __name__ == "__main__":
    for stored, render in CARDS.items():
        (GOLDENS / f"{stored}.md").write_text(render(), encoding="utf-8")
