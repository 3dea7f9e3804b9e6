"""Prompt and completion as plain text: `prompt`, `completion`.

Source: your own data, or P3 and Self-Instruct files of that shape. Licence and count: the data's own.
"""

from collections.abc import Iterator
from pathlib import Path

from packtrain.core.conversation import Conversation
from packtrain.data.records import Dropped, read_single_rounds

_END_MARK = "<|endoftext|>"


def read(path: Path, dataset: str = "prompt_completion") -> Iterator[Conversation | Dropped]:
    """One round per record; an end mark `<|endoftext|>` behind a completion is taken off.

    GPT-3's fine-tuning files carry that mark as text; every template writes the tokenizer's own instead.
    """
    return read_single_rounds(path, dataset, "prompt", "completion", answer_text=_without_end_mark)


def _without_end_mark(completion: str) -> str:
    return completion.removesuffix(_END_MARK)
