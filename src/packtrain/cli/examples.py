"""The examples at the end of a help text: commands as a shell takes them."""

import re
import textwrap

_WIDTH = 76
"""Columns of a line: of the 80 of a terminal, the parser of the command line indents by two, and this module by two."""

_TOGETHER = re.compile(r"'[^']*'|\"[^\"]*\"|(?<= )--?[a-z][\w-]* (?=[^- ])")
"""What is not folded inside: words in quotes, and an option with its value."""


def examples(*lines: str) -> str:
    """The epilog that shows these commands, one to a line, each to be pasted as it stands.

    A wide command is folded: a backslash ends the line, and the rest is indented by four. A line that begins with `#`
    says what the next command is for; it stands alone, because zsh takes a comment behind a command for its arguments.
    """
    commands = [line for line in lines if not line.startswith("#")]
    heading = "Example:" if len(commands) == 1 else "Examples:"
    shown = "\n".join(line if line.startswith("#") else _folded(line) for line in lines)
    return f"\b\n{heading}\n{textwrap.indent(shown, '  ')}"  # \b: not to be wrapped


def _folded(command: str) -> str:
    if len(command) <= _WIDTH:
        return command
    kept = _TOGETHER.sub(lambda match: match[0].replace(" ", "\N{NO-BREAK SPACE}"), command)
    rows = textwrap.wrap(
        kept, _WIDTH - len(" \\"), subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )
    return " \\\n".join(rows).replace("\N{NO-BREAK SPACE}", " ")
