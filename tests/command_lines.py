"""Commands as pages and help texts print them: found, taken apart as the command line does it, and not run."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer.main

from packtrain.cli.main import app
from packtrain.core.engine import split_engine
from packtrain.core.recipe_file import load_recipe


@dataclass(frozen=True)
class Printed:
    """A line of a page's code blocks."""

    page: str
    words: tuple[str, ...]

    @property
    def arguments(self) -> list[str]:
        """What stands behind `packtrain`."""
        return list(self.words[self.words.index("packtrain") + 1 :])

    @property
    def text(self) -> str:
        return " ".join(self.words)


def unfolded(text: str) -> list[str]:
    """The lines of a text that are not empty, those that a backslash ends joined to the next."""
    return [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def printed(page: Path, beginning: str = "") -> list[Printed]:
    """The lines of a page's plain code blocks, in order; only those that begin so."""
    blocks = re.findall(r"^```\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in unfolded(block) if line.startswith(beginning)]
    return [Printed(page.stem, tuple(shlex.split(line, comments=True))) for line in lines]


def parse_options(arguments: Sequence[str]) -> None:
    """Take the arguments apart as the command line does, and run nothing."""
    command: Any = typer.main.get_command(app)

    def muted(each: Any) -> None:
        for below in getattr(each, "commands", {}).values():
            muted(below)
        if not hasattr(each, "commands"):
            each.callback = lambda **_: None

    muted(command)
    try:
        command.main([*arguments], standalone_mode=False)
    except Exception as error:
        pytest.fail(f"packtrain {shlex.join(arguments)}: {error}")


def parse(arguments: Sequence[str]) -> None:
    """The same, and the recipe's keys are looked up."""
    parse_options(arguments)
    if arguments[0] in ("train", "run", "plan"):
        of_the_recipe = [each for each in arguments[2:] if re.match(r"[a-z_]+(\.\w+)+=", each)]
        load_recipe(arguments[1], split_engine(of_the_recipe)[1])
