"""From the numbered text that a model writes to tasks, each with the reason if it is not usable.

The rules are those of the original's `post_process_gpt3_response` (stanford_alpaca,
generate_instruction.py): the text is split at `###`, each block must carry its own running number in
front of each of three labels, and the last block of an answer that was cut off is not trusted. One
thing is added: a chat model often repeats the label that ends the prompt, or the separator before it,
and such an answer is read as if it had not.
"""

import re
from dataclasses import dataclass
from typing import Literal

from packtrain.generate.prompt import NO_INPUT
from packtrain.generate.task import Task

SEPARATOR = "###"
TRUNCATED = "truncated"
MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Block:
    """One numbered block of an answer: a task, or the reason why it is none."""

    number: int
    task: Task | None
    reason: str | None
    text: str
    """The block as the model wrote it."""


def parse_answer(text: str, finish_reason: Literal["stop", "length"], examples: int) -> list[Block]:
    """The blocks of one answer in order; the first bears the number `examples` + 1."""
    first = examples + 1
    chunks = _with_label(text, first).split(SEPARATOR)
    blocks = []
    for number, chunk in enumerate(chunks, start=first):
        if finish_reason == "length" and number == first + len(chunks) - 1:
            blocks.append(Block(number, None, TRUNCATED, chunk))
        else:
            blocks.append(_parse_block(chunk, number))
    return blocks


def _with_label(text: str, number: int) -> str:
    label = f"{number}. Instruction:"
    start = text.lstrip()
    if start.startswith(SEPARATOR):
        start = start.removeprefix(SEPARATOR).lstrip()
    return start if start.startswith(label) else label + text


def _parse_block(chunk: str, number: int) -> Block:
    parts = re.split(rf"{number}\.\s+(Instruction|Input|Output):", chunk)
    if len(parts) != 7:
        return Block(number, None, MALFORMED, chunk)
    instruction, material, output = (part.strip() for part in parts[2::2])
    if not instruction:
        return Block(number, None, MALFORMED, chunk)
    return Block(number, Task(instruction, "" if material.lower() == NO_INPUT else material, output), None, chunk)
