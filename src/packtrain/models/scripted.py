"""A language model whose answers a function computes: for tests, demonstrations and dry runs without any weights."""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from packtrain.models.base import Choice, Completion, Options, Sampling, cut_at_stop


class Scripted:
    """Answers each prompt with `answer(prompt)`; tokens are words between white space.

    `choice(prompt, choices)` gives the index of the likeliest choice; without it that is the first.
    """

    def __init__(
        self,
        name: str,
        answer: Callable[[str], str],
        choice: Callable[[str, Sequence[str]], int] | None = None,
    ) -> None:
        self.name = name
        self.tokenizer = None
        self.max_context = None
        self.precision = None
        self._answer = answer
        self._choice = choice

    @property
    def identity(self) -> str:
        """The name: nothing else is known of what answers."""
        return self.name

    def generate(self, prompts: Sequence[str], sampling: Sampling) -> list[Completion]:
        """One answer per prompt, in order."""
        return [completion for _, completion in self.generate_each(prompts, sampling)]

    def generate_each(
        self, prompts: Sequence[str], sampling: Sampling, seeds: Sequence[int] = ()
    ) -> Iterator[tuple[int, Completion]]:
        """Index of each prompt and its answer, computed when it is asked for; seeds change nothing."""
        for index, prompt in enumerate(prompts):
            text, _ = cut_at_stop(self._answer(prompt), sampling.stop)
            shortened = _first_words(text, sampling.max_new_tokens)
            reason: Literal["stop", "length"] = "stop" if shortened == text else "length"
            yield index, Completion(shortened, reason, len(prompt.split()), len(shortened.split()))

    def choose_each(
        self, prompts: Sequence[str], options: Sequence[Options], sampling: Sampling
    ) -> Iterator[tuple[int, Choice]]:
        """Index of each prompt and the option that the second function gives, or the first."""
        for index, (prompt, offered) in enumerate(zip(prompts, options, strict=True)):
            yield index, Choice(self._choice(prompt, offered.texts) if self._choice else 0)


def _first_words(text: str, count: int) -> str:
    """`text` as it is if it has at most `count` words, else up to the end of word number `count`."""
    if len(text.split()) <= count:
        return text
    rest = text.split(maxsplit=count)[count]
    return text[: len(text) - len(rest)].rstrip()
