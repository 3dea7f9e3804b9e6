"""The examples of every `--help` can be pasted into a shell, each line as it stands."""

import shlex
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

import pytest
import typer.main
from tests.command_lines import parse, parse_options, unfolded

from packtrain.cli.examples import examples
from packtrain.cli.main import app

COLUMNS = 80
INDENT = "    "
PROGRAMS = ("packtrain", "torchrun", "srun", "export")


def paths_with_examples(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command, and the groups that show examples of what is below them."""
    below = getattr(command, "commands", None)
    if below is None or command.epilog:
        yield path
    for name, each in (below or {}).items():
        yield from paths_with_examples(each, (*path, name))


PATHS = list(paths_with_examples(typer.main.get_command(app)))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: " ".join(("packtrain", *path)))
def test_every_line_of_the_help_can_be_pasted(
    path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a terminal shows it: no line is wrapped, and each is a command whose words and options there are."""
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    parse_options([*path, "--help"])
    help_text = capsys.readouterr().out
    assert [line for line in help_text.splitlines() if len(line) > COLUMNS] == []
    _, heading, below = help_text.partition("\n  Example")
    assert heading, help_text
    title, *lines = takewhile(str.strip, below.splitlines())
    assert [line for line in lines if not line.startswith(INDENT)] == []
    commands = [line for line in unfolded("\n".join(lines)) if not line.startswith(f"{INDENT}#")]
    assert title == (":" if len(commands) == 1 else "s:")
    for line in commands:
        words = shlex.split(line)
        assert words[0] in PROGRAMS, line
        assert "..." not in line, "what the reader has to fill in cannot be pasted"
        assert "#" not in words, "zsh takes a comment behind a command for its arguments"
        if "packtrain" in words:
            arguments = words[words.index("packtrain") + 1 : words.index("<") if "<" in words else None]
            assert tuple(arguments[:1]) == path[:1] or not path, line
            (parse_options if "mine.yaml" in arguments else parse)(arguments)


def test_each_command_stands_on_its_line() -> None:
    assert examples("packtrain demo") == "\b\nExample:\n  packtrain demo"
    assert examples("packtrain ls", "# its columns", "packtrain ls column") == (
        "\b\nExamples:\n  packtrain ls\n  # its columns\n  packtrain ls column"
    )


def test_a_wide_command_is_folded_between_its_words() -> None:
    """Not between an option and its value, nor inside quotes; not before it has to be."""
    narrow = "packtrain train default --out tuned/ " + "x" * 39
    assert len(narrow) == 76
    assert examples(narrow) == f"\b\nExample:\n  {narrow}"
    launched = (
        "packtrain run alpaca-7b --work alpaca/ --launch 'srun --nodes 2 torchrun --nnodes 2' --judge openai:gpt-4o "
        '--dry-run base.path=llama-7b-hf engine.note="two words, and then some that are too many for the line"'
    )
    assert examples(launched) == (
        "\b\nExample:\n"
        "  packtrain run alpaca-7b --work alpaca/ \\\n"
        "      --launch 'srun --nodes 2 torchrun --nnodes 2' --judge openai:gpt-4o \\\n"
        "      --dry-run base.path=llama-7b-hf \\\n"
        '      engine.note="two words, and then some that are too many for the line"'
    )
    assert [shlex.split(line) for line in unfolded(examples(launched))[2:]] == [shlex.split(launched)]


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("x" * 90, "x" * 90),
        ("packtrain show " + "x" * 90, "packtrain show \\\n      " + "x" * 90),
        ("packtrain show 'alpaca " + "x" * 70, "packtrain show 'alpaca \\\n      " + "x" * 70),
    ],
    ids=["a word wider than the line", "the same behind others", "a quote that does not end"],
)
def test_nothing_is_lost_of_what_cannot_be_folded(command: str, shown: str) -> None:
    """It is shown as it is, and fails the test of the help texts."""
    assert examples(command) == f"\b\nExample:\n  {shown}"
