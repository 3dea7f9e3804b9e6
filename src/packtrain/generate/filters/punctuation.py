"""Instructions that begin with ASCII punctuation (rule of stanford_alpaca, generate_instruction.py)."""

import string

from packtrain.generate.task import Task


def objection(task: Task) -> str | None:
    """The punctuation mark in front; None when there is none."""
    first = task.instruction[:1]
    return f"begins with {first!r}" if first and first in string.punctuation else None
