"""Lint rules: a rule called X is the one file X in this folder. They report and change nothing.

The first line of its docstring says what it finds. It has

- `SEVERITY`: `error` for what teaches something wrong, `warning` for what often does, `note` for what
  one should know;
- `MEND`: what to do about it;
- `find(conversation)`: the first place where the fault is, or None. A rule that must remember what it has seen has
  `start()` instead, which gives such a `find` with an empty memory.

A rule takes any conversation that can be read, also one that cannot be learnt from, and prefers a miss to a false
alarm.
"""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a fault is."""

    message: int
    start: int = 0
    end: int = 0
    """Characters `start` to `end` of the text; nothing in particular when they are equal."""
    what: str = ""
    """What is wrong there, when the rule's name does not say it."""
    in_context: bool = False
    """Whether the text is the message's context rather than its content."""
