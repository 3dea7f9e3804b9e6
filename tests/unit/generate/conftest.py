"""A scripted writer of tasks, with the faults that real models have."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from packtrain.models.scripted import Scripted


def _invented_words(count: int) -> list[str]:
    random = Random("words")
    syllables = [consonant + vowel for consonant in "bdfglmnprstv" for vowel in "aeiou"]
    return ["".join(random.choices(syllables, k=3)) for _ in range(count)]


WORDS = _invented_words(3000)


def write_tasks(prompt: str) -> str:
    """Tasks 4 to 20; number 6 asks for a picture, number 9 repeats number 8, number 12 lacks its output."""
    random = Random(prompt)
    blocks, previous = [], ""
    for number in range(4, 21):
        words = " ".join(random.sample(WORDS, 8))
        instruction = {6: f"Describe the picture of {words}", 9: previous}.get(number, f"Describe {words}.")
        material = "<noinput>" if number % 2 else f"material {words}"
        output = "" if number == 12 else f"{number}. Output:\nanswer {words}\n"
        blocks.append(f"{number}. Instruction: {instruction}\n{number}. Input:\n{material}\n{output}")
        previous = instruction
    return "###\n".join(blocks).removeprefix("4. Instruction:")


@pytest.fixture
def scripted() -> Scripted:
    """The writer as a model."""
    return Scripted("scripted:writer", write_tasks)


class Recorded:
    """The writer with a list of the prompts that were asked and a hook that runs before each answer."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def model(self, before: Callable[[int], None] = lambda asked: None) -> Scripted:
        """A model that calls `before(number of prompts asked so far)`, then logs the prompt, then answers."""

        def answer(prompt: str) -> str:
            before(len(self.asked()))
            with self.log.open("a") as log:
                log.write(repr(prompt) + "\n")
            return write_tasks(prompt)

        return Scripted("scripted:writer", answer)

    def asked(self) -> list[str]:
        """All prompts asked, over all processes."""
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    """A writer whose log outlives the process that asks."""
    return Recorded(tmp_path / "asked.log")
