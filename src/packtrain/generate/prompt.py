"""The prompt: what is wanted, some seed tasks as numbered examples, and the number of the next one.

The layout is that of the original's `encode_prompt` (stanford_alpaca, generate_instruction.py), byte
for byte; the wording above the examples comes from a file.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from packtrain.core.errors import UserError
from packtrain.generate.task import Task

OWN_PROMPT = Path(__file__).with_name("prompt.txt")
NO_INPUT = "<noinput>"
PLACEHOLDER = "{tasks}"
"""Replaced by the number of tasks asked for, wherever the wording has it."""


def load_prompt(path: Path = OWN_PROMPT) -> str:
    """The wording of a prompt file, as it is; UserError when it cannot be read or is empty."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read prompt {path}: {error.strerror}", "check the path") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not valid UTF-8 (byte {error.start})", "convert the file to UTF-8") from error
    if not text.strip():
        raise UserError(f"{path}: the prompt is empty", "say in it what kind of tasks you want")
    return text


def encode_prompt(wording: str, examples: Sequence[Task], tasks: int) -> str:
    """The whole prompt; it ends in the number and label of the first task that the model is to write.

    `tasks` counts the examples too: with 3 examples and 20 tasks the model is asked for numbers 4 to 20.
    """
    blocks = [wording.replace(PLACEHOLDER, str(tasks)) + "\n"]
    for number, example in enumerate(examples, start=1):
        instruction = re.sub(r"\s+", " ", example.instruction).strip().rstrip(":")
        blocks.append(
            f"###\n{number}. Instruction: {instruction}\n"
            f"{number}. Input:\n{example.input or NO_INPUT}\n"
            f"{number}. Output:\n{example.output}\n"
        )
    blocks.append(f"###\n{len(examples) + 1}. Instruction:")
    return "".join(blocks)
