"""Instructions of an unusual length.

Bounds from stanford_alpaca, generate_instruction.py: at most 3 or more than 150 words separated by
white space are too few or too many.
"""

from packtrain.generate.task import Task

FEWEST_WORDS = 4
MOST_WORDS = 150


def objection(task: Task) -> str | None:
    """Why the length of the instruction is wrong; None when it is not."""
    words = len(task.instruction.split())
    if FEWEST_WORDS <= words <= MOST_WORDS:
        return None
    return f"{words} words, not {FEWEST_WORDS} to {MOST_WORDS}"
