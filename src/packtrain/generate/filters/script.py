"""Instructions whose first character is not ASCII.

Rule of stanford_alpaca, generate_instruction.py, as a sign of another language. Leave this filter out
to generate in a language that is not written with ASCII letters.
"""

from packtrain.generate.task import Task


def objection(task: Task) -> str | None:
    """The first character when it is not ASCII; None when it is."""
    first = task.instruction[:1]
    return None if first.isascii() else f"begins with {first!r}"
