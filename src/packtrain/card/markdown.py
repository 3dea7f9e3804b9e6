"""Pieces of Markdown that all cards are made of: tables, figures for people, a tidy page."""

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from packtrain.card import known

_BESIDE_CHINESE = re.compile(
    "(?<=[，。；：、（）]) (?!\\|)|(?<!\\|) (?=[，。；：、（）])|(?<=[\u4e00-\u9fff]) (?=[\u4e00-\u9fff])"
)
"""Spaces that folded lines of YAML, and words put together, leave where Chinese has none."""


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; columns that are empty in every row are left out, and "" without rows."""
    lines = [list(heading), *(list(row) for row in rows)]
    if len(lines) == 1:
        return ""
    filled = [column for column in range(len(heading)) if any(line[column] for line in lines[1:])]
    text = [[_cell(line[column]) for column in filled] for line in lines]
    rule = ["---"] * len(filled)
    return "\n".join("| " + " | ".join(line) + " |" for line in [text[0], rule, *text[1:]])


def _cell(text: str) -> str:
    return one_line(text.replace("|", "\\|"))


def one_line(text: str) -> str:
    """The text with single blanks for all its white space: names in data may hold line feeds."""
    return " ".join(text.split())


def code(text: str) -> str:
    """The text as code within a line, whatever it holds."""
    shown = one_line(text)
    return f"`` {shown} ``" if "`" in shown else f"`{shown}`"


def thousands(number: float) -> str:
    """`52002` as `52,002`."""
    return f"{number:,}"


def counted(number: int, thing: str) -> str:
    """`1 conversation`, `2,000 conversations`; in English."""
    return f"{thousands(number)} {thing}" if number == 1 else f"{thousands(number)} {thing}s"


def duration(seconds: float, language: str = "en") -> str:
    """`7503` as `2 h 5 min`, `303` as `5 min 3 s`."""
    words = known.read("words", language)["training"]
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    form = words["hours"] if hours else words["minutes"] if minutes else words["seconds"]
    return str(form.format(hours=hours, minutes=minutes, seconds=rest))


def render(name: str, language: str, values: Mapping[str, Any]) -> str:
    """The page that `NAME.LANGUAGE.md.jinja` makes of the values; one that is missing is an error."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True, autoescape=False)
    environment.filters |= {"thousands": thousands, "counted": counted, "code": code}
    source = (files("packtrain.card") / f"{name}.{language}.md.jinja").read_text(encoding="utf-8")
    return _tidy(environment.from_string(source).render(values))


def _tidy(text: str) -> str:
    """The text without runs of blank lines and spaces beside Chinese marks outside code; one line feed at the end."""
    parts = text.strip().split("```")
    parts[::2] = [_BESIDE_CHINESE.sub("", re.sub(r"\n{3,}", "\n\n", part)) for part in parts[::2]]
    return "```".join(parts) + "\n"
