"""Instructions that begin with `Write a program`.

From stanford_alpaca, generate_instruction.py: models drift into this form, which leaves open whether
code or its result is wanted. Only this exact case, only at the start.
"""

from packtrain.generate.task import Task

OPENING = "Write a program"


def objection(task: Task) -> str | None:
    """Why the opening is ambiguous; None when it is not."""
    return f"begins with {OPENING!r}" if task.instruction.startswith(OPENING) else None
