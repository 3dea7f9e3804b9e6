"""How `packtrain data inspect` shows a conversation: running text with what is learnt marked, or a table of tokens.

What is learnt stands in brackets as well as in colour, so that it can be told apart in a log and by everyone.
"""

from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from packtrain.data.inspection.visible_text import CLOSE, NEWLINE, OPEN, SPACE, TAB, harmless, visible

if TYPE_CHECKING:
    from packtrain.data.inspection.inspect import Inspected, SeenToken

BEHIND_AT_MOST = 200
"""Tokens shown of what lies behind the limit."""

_LEARNT = (Style(color="grey7", bgcolor="dark_sea_green3"), Style(color="grey7", bgcolor="dark_sea_green1"))
_MASKED = (Style(color="grey89", bgcolor="grey23"), Style(color="grey89", bgcolor="grey35"))
"""Two shades each, because neighbouring tokens have to differ; fixed colours, readable on light and dark terminals."""
_SPECIAL = Style(color="grey93", bgcolor="dark_magenta", bold=True)
_BEHIND = Style(color="grey50")
_BRACKET = Style(color="green", bold=True)
_LEFT_OUT = Style(color="red", bold=True)


def print_legend(console: Console) -> None:
    """The signs, in two lines."""
    line = Text.assemble(
        (OPEN, _BRACKET), ("learnt", _LEARNT[0]), (CLOSE, _BRACKET), "  ", ("not learnt", _MASKED[0]), "  ",
        ("control token", _SPECIAL), "  ", ("behind the limit", _BEHIND), "  (neighbouring tokens: two shades)",
    )  # fmt: skip
    console.print(line, soft_wrap=True)
    signs = f"{SPACE} space  {NEWLINE} line feed  {TAB} tab  ‹0xE2› a byte  ‹U+200B› a character without a sign"
    console.print(Text(signs), soft_wrap=True)


def print_text_view(console: Console, seen: "Inspected", limit: int) -> None:
    """The title, the running text, and what is cut."""
    _print_title(console, seen, limit)
    if seen.text is None:
        for message in seen.conversation.messages:
            shown = "\n\n".join(text for text in (message.content, message.context) if text is not None)
            console.print(Text(f"{message.role}: {visible(shown)}"), soft_wrap=True)
        return
    within, behind = seen.tokens[: len(seen.input_ids)], seen.tokens[len(seen.input_ids) :]
    text = Text()
    place = 0
    for learnt, run in groupby(within, key=lambda token: token.learnt):
        if learnt:
            text.append(OPEN, _BRACKET)
        for token in run:
            shade = (_LEARNT if learnt else _MASKED)[place % 2]
            text.append(*_broken_at_line_feeds(token, _SPECIAL if token.special else shade))
            place += 1
        if learnt:
            text.append(CLOSE, _BRACKET)
    console.print(text, soft_wrap=True)
    if behind:
        console.rule(Text(_cut_line(behind)), characters="-", style="default")
        rest = Text()
        for token in behind[:BEHIND_AT_MOST]:
            rest.append(*_broken_at_line_feeds(token, _BEHIND))
        console.print(rest, soft_wrap=True)
        if len(behind) > BEHIND_AT_MOST:
            console.print(Text(f"... and {len(behind) - BEHIND_AT_MOST:,} tokens more"))


def print_id_view(console: Console, seen: "Inspected", limit: int) -> None:
    """The title, and a table of all tokens within the limit."""
    _print_title(console, seen, limit)
    if seen.text is None:
        return
    table = Table()
    for name in ("position", "id"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("piece", "text"):
        table.add_column(name, overflow="fold")
    table.add_column("learnt", no_wrap=True)
    for position, token in enumerate(seen.tokens[: len(seen.input_ids)]):
        style = _SPECIAL if token.special else ""
        table.add_row(
            str(position),
            str(token.id),
            Text(visible(token.piece), style),
            Text(token.text, style),
            Text("learnt", _BRACKET) if token.learnt else Text(""),
        )
    console.print(table)
    if seen.cut_at_limit:
        console.print(Text(_cut_line(seen.tokens[len(seen.input_ids) :])), soft_wrap=True)


def _print_title(console: Console, seen: "Inspected", limit: int) -> None:
    row = seen.conversation
    console.print(Text(f"{harmless(row.dataset)}/{harmless(row.id)}", Style(bold=True)), soft_wrap=True)
    if seen.dropped:
        console.print(Text(f"left out of training: {harmless(seen.dropped)}", _LEFT_OUT), soft_wrap=True)
    if seen.text is None:
        return
    counted = f"{len(seen.input_ids):,} tokens, {seen.learnt_tokens:,} learnt"
    if seen.input_ids:
        counted += f" ({100 * seen.learnt_tokens / len(seen.input_ids):.1f} %)"
    whole = f" of {len(seen.tokens):,}, cut at the limit of {limit:,}" if seen.cut_at_limit else ""
    console.print(Text(counted + whole), soft_wrap=True)


def _cut_line(behind: "tuple[SeenToken, ...]") -> str:
    return f"the limit: the model does not see the {len(behind):,} tokens behind it"


def _broken_at_line_feeds(token: "SeenToken", style: Style) -> tuple[str, Style]:
    """The token's text with a true line feed behind the sign of one."""
    return token.text.replace(NEWLINE, NEWLINE + "\n"), style
