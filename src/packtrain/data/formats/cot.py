"""Chain of thought from FLAN V2: `inputs`, `targets`.

Source: cot_zsopt.jsonl and cot_fsopt.jsonl, the zero-shot and few-shot files of FLAN V2's chain-of-thought submix
(arXiv 2301.13688); give each as a source of its own. Licence: Apache-2.0. Expected: 50,000 rows drawn from each.
"""

from collections.abc import Iterator
from pathlib import Path

from packtrain.core.conversation import Conversation
from packtrain.data.records import Dropped, read_single_rounds


def read(path: Path, dataset: str = "cot") -> Iterator[Conversation | Dropped]:
    """One round per row; the prompt ends in a line feed or a colon, the answer is untouched."""
    return read_single_rounds(path, dataset, "inputs", "targets", question_text=ended_prompt)


def ended_prompt(inputs: str) -> str:
    """`inputs` with a line feed behind, unless it ends in one or, but for white space, in a colon.

    The rule of `reformat_datasets.py` in Open-Instruct, July 2023.
    """
    return inputs if inputs.endswith("\n") or inputs.rstrip().endswith(":") else inputs + "\n"
