"""Cleaning rules: a rule called X is the one file X in this folder.

The first line of its docstring says what it does, the rest where the rule comes from. It has

- `STAGE`: when it runs, one of the stages below;
- `apply(conversation)`: the conversation (the same object when there is nothing to do, a mended copy
  otherwise) or the reason for dropping it, a short phrase that is the same for every record dropped
  for the same cause.

A rule that drops for what stands somewhere in a text may name the patterns as `SIGNS`, for reports that point to it.
A rule that the user must tell something, as `language=en` does, has `choose(argument)` instead, which gives such an
`apply`; it is not among `clean`, the preset of all rules.

A rule sees one conversation and nothing beside it, takes also what cannot be learnt from (that is checked afterwards,
in data/checks.py), never fails, and does nothing when it is applied a second time. Rules prefer a miss to a false
alarm. Within a stage they run in the order of their names.
"""

from enum import IntEnum


class Stage(IntEnum):
    """When a rule runs: what mends text comes before what judges it."""

    MARKUP = 1
    """Markup of web pages becomes text."""
    RESIDUE = 2
    """What is no part of the text is taken off."""
    TURNS = 3
    """Turns that cannot be learnt from are cut off."""
    FAULT = 4
    """Conversations that teach something wrong are dropped."""
    CHOICE = 5
    """Conversations are dropped that are sound, but not wanted by everybody."""
