"""Every command of the README and of the tutorials, as printed, in order, on small stand-ins.

They run in this process, by the same entry as the command; what is not run for a reason in `PARSED` is at least parsed:
the command, its options and its recipe's keys must be there.
"""

import io
import json
import re
import shlex
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
from tests.benchmark_files import write_benchmark_files
from tests.command_lines import Printed, parse, parse_options, printed

from packtrain.cli.main import app
from packtrain.core.errors import UserError
from packtrain.core.published import published_rows
from packtrain.core.score import COLUMNS

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "docs" / "index.md",
    *sorted((REPOSITORY / "docs" / "tutorials").glob("*.md")),
]
GUIDES = sorted((REPOSITORY / "docs").glob("*.md"))
SHORT = ["train.precision=float32", "train.max_steps=2", "engine.probes=0", "train.checkpoint_every_steps=1"]
ADDED = {
    "train": SHORT,
    "run": SHORT,
    "generate --model": ["--count", "40"],
    "evaluate recovered/ --data": ["--limit", "1"],
}
"""Added to the printed commands: nothing but shortening; two steps teach no model to end its answers."""

PARSED = {
    "demo": "takes minutes; tests/pipeline/test_demo.py runs it",
    "evaluate fetch": "needs a network; tests/unit/evaluate/test_fetch.py runs it",
    "/shared/": "a folder that all nodes see",
}
"""Commands that hold these words are parsed and not run."""

CHECKS_THAT_FAIL = (
    "plan alpaca-7b --on 1xA100-80G",
    "evaluate diff scores/ base-scores/",
)
"""Commands that end with exit status 1, as their page says."""

TUNED = ("train", "default", "--out", "tuned/", "base.path=llama-7b-hf", "data.sources.mine.path=alpaca_data.json")
BEFORE = {"evaluate-and-compare": [(*TUNED, "template=tulu")]}
"""What was done before a page begins."""
VERBS = {"generate", "data", "train", "diff", "convert", "chat", "evaluate", "card", "run"}
"""What the README shows, at least."""

PLANNED = {
    "--on RTX-4090": ("7.35", "41.6", "1,218 steps", "about 2.9 hours", "40 %"),
    "--on 1xA100-80G": ("151.1",),
    "--on 4xA100-80G": ("57.4", "21 minutes", "$1.39"),
    "--on 8xA100-80G": ("30.9", "about 10 minutes", "1,218 steps"),
    "--on 2x8xA100-80G": ("79.1 GB", "85.9 GB", "about 31.9 hours", "1,960.0", "1,566.9", "10 %"),
}
"""Figures that a page gives of a plan on it: what the plan prints."""


def run(*arguments: str) -> int:
    """The exit status of the command; an error of the user's fails the test."""
    added = next((more for start, more in ADDED.items() if shlex.join(arguments).startswith(start)), [])
    sys.stdin = io.StringIO("Name a colour.\n/quit\n")  # the fixture puts the real one back
    try:
        return app([*arguments, *added], standalone_mode=False) or 0
    except UserError as error:
        pytest.fail(f"packtrain {shlex.join(arguments)}: {error.message} ({error.hint})")


def resumed(line: Printed) -> str:
    """The folder that a command with `--resume` writes."""
    return line.words[line.words.index("--out") + 1 if "--out" in line.words else line.words.index("recover") + 3]


def download(line: Printed) -> None:
    """What `hf download` brings: a difference as it was published in 2023, without a manifest and a prompt format."""
    folder = line.words[line.words.index("--local-dir") + 1]
    given = "base.path=llama-65b-hf", "data.sources.mine.path=alpaca_data.json", "template=tulu"
    run("train", "default", "--out", "published", *given)
    run("diff", "make", "llama-65b-hf", "published", folder, "--form", "float")
    for name in ("manifest.json", "run.json", "chat_template.jinja"):
        (Path(folder) / name).unlink()


def check_the_readmes_results(folder: Path) -> None:
    """Whether the files that the README's commands leave hold what they should."""
    assert len(json.loads((folder / "generated" / "instructions.json").read_text())) == 40
    for made in ("tuned", "diff", "recovered", "scores", "work/recovered", "llama-7b-converted", "merged"):
        assert (folder / made / "run.json").is_file(), made
    mixed = json.loads((folder / "mine.mixture.json").read_text())
    read = {name: source["read"] for name, source in mixed["sources"].items()}
    assert read == {"stanford_alpaca": 240, "dolly": 8, "oasst1": 1}
    assert (mixed["held_out"], mixed["sources"]["dolly"]["not_drawn"]) == (200, 4)
    assert len(json.loads((folder / "scores" / "scores.json").read_text())["scores"]) == len(COLUMNS)
    assert "write" in (folder / "diversity.html").read_text(encoding="utf-8")
    assert (folder / "README-model.md").read_text().startswith("---\n")


@pytest.fixture
def prepared(stand_ins: Path, tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own copy of the stand-ins as working folder, the endpoint in place of OpenAI's, and no network."""
    shutil.copytree(stand_ins, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(sys, "stdin", sys.stdin)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_the_page_works(page: Path, prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each ends with the status that it should, and a plan prints the figures that the page gives of it."""
    lines = [line for line in printed(page) if line.words[0] in ("packtrain", "torchrun", "hf")]
    assert lines
    for line in lines:
        if "convert llama" in line.text:  # the page makes it itself
            shutil.rmtree(prepared / line.words[-1], ignore_errors=True)
    for arguments in BEFORE.get(page.stem, []):
        assert run(*arguments) == 0
    if page.stem == "README":
        write_benchmark_files(prepared / "benchmarks")  # what `evaluate fetch` would bring
    for line in lines:
        if line.words[0] == "hf":
            download(line)
        elif any(words in line.text for words in PARSED):
            parse(line.arguments)
        else:
            expected = int(line.text.removeprefix("packtrain ") in CHECKS_THAT_FAIL)
            if "--resume" in line.words:  # nothing was interrupted: it begins
                shutil.rmtree(prepared / resumed(line))
            again = ["--overwrite"] if line.words[0] == "torchrun" else []  # the same model, by more processes
            assert run(*line.arguments, *again) == expected, line.text
        told = " ".join(capsys.readouterr().out.split())
        if line.words[:2] == ("packtrain", "plan"):
            [figures] = [figures for device, figures in PLANNED.items() if device in line.text]
            for text in (told, page.read_text(encoding="utf-8")):
                assert [figure for figure in figures if figure not in text] == [], line.text
    if page.stem == "README":
        assert {line.words[1] for line in lines if line.words[0] == "packtrain"} >= VERBS
        check_the_readmes_results(prepared)


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_every_command_of_a_guide_is_there(page: Path) -> None:
    """Parsed alone: verbs, options and their kinds; `...` stands for what the reader fills in."""
    for line in printed(page, "packtrain "):
        if "..." not in line.words:
            command = line.arguments[: line.arguments.index("|")] if "|" in line.words else line.arguments
            assert command, line.text
            parse_options(command)


def test_every_exception_is_one_of_a_page() -> None:
    texts = [line.text for page in PAGES for line in printed(page)]
    exceptions = [*PARSED, *CHECKS_THAT_FAIL, *PLANNED, *ADDED]
    assert [each for each in exceptions if not any(each in text for text in texts)] == []


def test_every_other_line_is_known() -> None:
    """What is no command of ours: make, pip, the shell, and the old scripts, which tests/oracles run."""
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE))
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys()
    others = [line for page in PAGES for line in printed(page) if line.words[0] not in ("packtrain", "torchrun")]
    for line in others:
        program, *rest = line.words
        match program:
            case "make":
                assert rest[0] in targets, line
            case "pip":
                assert set(re.findall(r"\w+", rest[-1])) <= set(extras), line
            case "cd":
                assert (REPOSITORY / rest[0]).is_dir(), line
            case "python":
                assert (REPOSITORY / "compat" / "alpaca" / rest[0]).is_file(), line
            case _:
                assert program in ("source", "export", "hf"), line
    assert {"make", "cd", "python", "export"} <= {line.words[0] for line in others}


def test_the_published_rows_of_the_tutorial_are_the_published_ones() -> None:
    text = (REPOSITORY / "docs" / "tutorials" / "evaluate-and-compare.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:Code-Alpaca|Open Assistant|Tulu) \w+) \| (.*) \|$", text, flags=re.MULTILINE)
    published = {row.model.removeprefix("Open-Instruct "): row for row in published_rows().values()}
    assert len(rows) == 3
    for model, cells in rows:
        assert [float(cell) for cell in cells.split(" | ")] == [
            *(published[model].columns[column] for column in COLUMNS),
            published[model].average,
        ]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.parent.name == "tutorials"], ids=lambda page: page.stem
)
def test_every_file_of_this_repository_that_a_tutorial_names_is_there(page: Path) -> None:
    named = re.findall(r"`((?:tests|src|scripts|bench|docs)/[^`:]+)", page.read_text(encoding="utf-8"))
    assert [name for name in named if not (REPOSITORY / name).exists()] == []


@pytest.mark.parametrize(
    "arguments",
    [("nothing",), ("data", "nothing"), ("train", "alpaca-7b", "--nothing"), ("plan", "--on")],
    ids=" ".join,
)
def test_what_is_not_there_is_found(arguments: tuple[str, ...]) -> None:
    with pytest.raises(pytest.fail.Exception, match="packtrain"):
        parse_options(arguments)
