"""What every model that answers a prompt can do, wherever it runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from packtrain.prompts.tokenizer import Tokenizer


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
    first_token: bool = True
    """Whether a prompt begins with what the tokenizer itself puts before a text, mostly begin-of-sequence."""
    too_long: Literal["refuse", "cut"] = "refuse"
    """A prompt that leaves no room for the answer in the model's context: an error, or its beginning is left out; an
    endpoint cannot cut, and its answer is empty then (`Completion.too_long`)."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer."""

    text: str
    """Without the prompt, without special tokens, cut before the stop text."""
    finish_reason: Literal["stop", "length"]
    """`stop`: by end-of-sequence or a stop text; `length`: by `max_new_tokens`."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cut_tokens: int = 0
    """Left out at the beginning of the prompt."""
    too_long: bool = False
    """The prompt did not fit into the context and could not be cut: nothing was answered, and nothing is paid."""


@dataclass(frozen=True, slots=True)
class Options:
    """The answers that one of is chosen: the next words of the prompt."""

    texts: tuple[str, ...]
    """With the space before the first word, where there is one."""
    ids: tuple[int, ...] = ()
    """The token of each, where a protocol says which; else what the prompt with the text behind it is cut into."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of the options was likeliest."""

    index: int
    """The first one where several are equal."""
    scores: tuple[float, ...] = ()
    """Log-probability of each in float32, summed over its tokens; empty where the model does not tell."""
    prompt_tokens: int = 0
    cut_tokens: int = 0
    too_long: bool = False
    """As of a Completion; `index` is -1 then."""


class LanguageModel(Protocol):
    """Anything that continues text: local weights, an endpoint, a script."""

    name: str
    """What manifests and cards call it; never holds a key."""

    @property
    def tokenizer(self) -> Tokenizer | None:
        """None where nobody knows how the model cuts text into tokens."""
        ...

    @property
    def max_context(self) -> int | None:
        """Tokens of prompt and answer together; None where it is not known."""
        ...

    @property
    def precision(self) -> str | None:
        """The number type that it computes in, such as `bfloat16`; None where it is not known."""
        ...

    @property
    def identity(self) -> str:
        """Changes whenever answers could: for local weights a digest of the files, otherwise the name."""
        ...

    def generate(self, prompts: Sequence[str], sampling: Sampling) -> list[Completion]:
        """One answer per prompt, in order."""
        ...

    def generate_each(
        self, prompts: Sequence[str], sampling: Sampling, seeds: Sequence[int] = ()
    ) -> Iterator[tuple[int, Completion]]:
        """Index of a prompt and its answer, in the order in which they are ready; `seeds`: one for each prompt.

        The answer to a prompt depends on it and its seed alone, never on what else is asked. All prompts that there
        are should be given at once: what their beginnings have in common may be computed once.
        """
        ...

    def choose_each(
        self, prompts: Sequence[str], options: Sequence[Options], sampling: Sampling
    ) -> Iterator[tuple[int, Choice]]:
        """Index of a prompt and which of its options the model finds likeliest as its continuation, as they are ready.

        Of `sampling` only `first_token` and `too_long` count.
        """
        ...


def cut_at_stop(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """`text` up to the first stop text in it, and whether there was one."""
    places = [text.find(marker) for marker in stop if marker and marker in text]
    return (text[: min(places)], True) if places else (text, False)
