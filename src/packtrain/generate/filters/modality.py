"""Instructions about things that a text model cannot see, hear, draw or open.

Word list from stanford_alpaca, generate_instruction.py: matched as whole words in any case, so
`bar-graph` is rejected while `imagery` is not.
"""

import re

from packtrain.generate.task import Task

WORDS = (
    *("image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps"),
    *("draw", "plot", "go to", "video", "audio", "music", "flowchart", "diagram"),
)
_ANY_WORD = re.compile(rf"\b(?:{'|'.join(WORDS)})\b", re.IGNORECASE)


def objection(task: Task) -> str | None:
    """The word that a text model cannot live up to; None when there is none."""
    found = _ANY_WORD.search(task.instruction)
    return f"mentions {found.group()!r}" if found else None
