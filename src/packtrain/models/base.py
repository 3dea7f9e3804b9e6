"""What every model that answers a prompt can do, wherever it runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn; explicit always, so nothing in a model folder can change it."""

    max_new_tokens: int = 512
    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    """An answer ends before the first of these texts; the model's own end-of-sequence ends it too."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer."""

    text: str
    """Without the prompt, without special tokens, cut before the stop text."""
    finish_reason: Literal["stop", "length"]
    """`stop`: by end-of-sequence or a stop text; `length`: by `max_new_tokens`."""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class LanguageModel(Protocol):
    """Anything that continues text: local weights, an endpoint, a script."""

    name: str
    """What manifests and cards call it; never holds a key."""

    @property
    def identity(self) -> str:
        """Changes whenever answers could: for local weights a digest of the files, otherwise the name."""
        ...

    def generate(self, prompts: Sequence[str], sampling: Sampling) -> list[Completion]:
        """One answer per prompt, in order."""
        ...

    def choose(self, prompts: Sequence[str], choices: Sequence[Sequence[str]]) -> list[int]:
        """For each prompt the index of the choice that the model finds likeliest as its continuation."""
        ...


def cut_at_stop(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """`text` up to the first stop text in it, and whether there was one."""
    places = [text.find(marker) for marker in stop if marker and marker in text]
    return (text[: min(places)], True) if places else (text, False)
