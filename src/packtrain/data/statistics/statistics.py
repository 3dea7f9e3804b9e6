"""Statistics of conversation files, per data set and in total: Table 1 of arXiv 2306.04751, and what training will see.

Files are read in batches; memory grows with the number of data sets and of different lengths, not with rows.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from packtrain.core.conversation import Conversation, read_conversations
from packtrain.core.folder import names
from packtrain.core.progress import progress
from packtrain.data.about import About
from packtrain.data.format import FORMATS, open_format
from packtrain.data.statistics.distribution import Distribution, Longest
from packtrain.data.statistics.measure import (
    KNOWN_CONTROL_TOKENS,
    InTokens,
    Measured,
    in_words,
    measure,
    measure_training,
)
from packtrain.prompts.encode import control_tokens
from packtrain.prompts.template import PromptTemplate
from packtrain.prompts.tokenizer import Tokenizer

LONGER_THAN = (512, 768, 1024, 1536, 2048, 4096)
"""The thresholds of get_statistics.py of Open-Instruct, 2023."""

_BATCH_ROWS = 1024
_BATCH_CHARACTERS = 1 << 20
_COUNT_BYTES = 1 << 22


@dataclass
class Training:
    """What training makes of a data set at a length limit; lengths in tokens."""

    examples: int = 0
    """Conversations that are learnt from."""
    tokens: int = 0
    """Of the examples, within the limit."""
    learnt_tokens: int = 0
    cut_at_limit: int = 0
    """Conversations longer than the limit, learnt from or not."""
    eos_lost: int = 0
    """Conversations whose final end-of-sequence lies behind the limit: the model is not shown where to stop."""
    rounds_lost: int = 0
    """Answers that lie behind the limit as a whole."""
    rounds_cut: int = 0
    """Answers that the limit cuts in two."""
    no_trainable_token: int = 0
    """Conversations without an answer within the limit."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Reason -> conversations that are no examples, those without a trainable token included."""

    def add(self, measured: Measured) -> None:
        """Count one conversation."""
        at_limit, reason = measured.at_limit, measured.left_out
        if reason is not None:
            self.left_out[reason] += 1
            self.no_trainable_token += at_limit is not None or not measured.completions
        if at_limit is None:
            return
        if reason is None:
            self.examples += 1
            self.tokens += at_limit.within
            self.learnt_tokens += at_limit.learnt
        self.cut_at_limit += at_limit.within < at_limit.rendered
        self.eos_lost += at_limit.eos_lost
        self.rounds_lost += at_limit.rounds_lost
        self.rounds_cut += at_limit.rounds_cut

    def figures(self) -> dict[str, Any]:
        """All counts, and the share of the examples' tokens that is learnt, for JSON."""
        share = self.learnt_tokens / self.tokens if self.tokens else None
        return {**asdict(self), "share_learnt": share, "left_out": dict(self.left_out.most_common())}


@dataclass
class SetStatistics:
    """Statistics of one data set, or of all."""

    training: Training | None
    """None without a template."""
    conversations: int = 0
    prompt_characters: int = 0
    completion_characters: int = 0
    bytes: int = 0
    prompts: Distribution = field(default_factory=Distribution)
    completions: Distribution = field(default_factory=Distribution)
    content: Distribution = field(default_factory=Distribution)
    """Prompts and completions of a conversation together: the length that the script of 2023 reports."""
    rendered: Distribution = field(default_factory=Distribution)
    """Conversations as the template lays them out; empty without one."""
    control_tokens: Counter[str] = field(default_factory=Counter)
    """Control token -> conversations in whose text it stands."""
    longest: Longest = field(default_factory=Longest)

    @property
    def mean_rounds(self) -> float | None:
        """Answers per conversation."""
        return self.completions.count / self.conversations if self.conversations else None

    @property
    def length(self) -> Distribution:
        """The rendered length where there is a template, else the length of the content."""
        return self.content if self.training is None else self.rendered

    def add(self, measured: Measured) -> None:
        """Count one conversation."""
        self.conversations += 1
        self.prompt_characters += measured.prompt_characters
        self.completion_characters += measured.completion_characters
        self.bytes += measured.bytes
        self.prompts.counts.update(measured.prompts)
        self.completions.counts.update(measured.completions)
        content_length = sum(measured.prompts) + sum(measured.completions)
        self.content.counts[content_length] += 1
        self.control_tokens.update(measured.control_tokens)
        if self.training is None:
            self.longest.add(content_length, measured.dataset, measured.id)
            return
        self.training.add(measured)
        if measured.at_limit is not None:
            self.rendered.counts[measured.at_limit.rendered] += 1
            self.longest.add(measured.at_limit.rendered, measured.dataset, measured.id)

    @staticmethod
    def longer_than(lengths: Distribution) -> dict[str, int]:
        """Threshold of LONGER_THAN -> conversations above it."""
        return {str(limit): lengths.more_than(limit) for limit in LONGER_THAN}

    def figures(self) -> dict[str, Any]:
        """Everything counted, for JSON."""
        return {
            "conversations": self.conversations,
            "mean_rounds": self.mean_rounds,
            "prompt": self.prompts.figures() | {"characters": self.prompt_characters},
            "completion": self.completions.figures() | {"characters": self.completion_characters},
            "content_length": self.content.figures() | {"longer_than": self.longer_than(self.content)},
            "rendered_length": None
            if self.training is None
            else self.rendered.figures() | {"longer_than": self.longer_than(self.rendered)},
            "bytes": self.bytes,
            "control_tokens": dict(self.control_tokens.most_common()),
            "training": None if self.training is None else self.training.figures(),
            "longest": self.longest.figures(),
        }


@dataclass
class Statistics:
    """Statistics of all files."""

    unit: str
    """`tokens` or `words`: what lengths are counted in."""
    template: str | None
    """Name of the prompt format."""
    max_length_tokens: int | None
    """The limit that `training` is about; None without a template."""
    total: SetStatistics
    datasets: dict[str, SetStatistics] = field(default_factory=dict)
    """By name, in the order in which the files hold them."""

    def figures(self) -> dict[str, Any]:
        """Everything counted, for JSON, with the published figures beside the data sets that have some."""
        known = published()
        return {
            "unit": self.unit,
            "template": self.template,
            "max_length_tokens": self.max_length_tokens,
            "datasets": {
                name: found.figures() | {"paper": _paper_figures(known[name]) if name in known else None}
                for name, found in self.datasets.items()
            },
            "total": self.total.figures(),
        }


def statistics(
    paths: Sequence[Path],
    tokenizer: Tokenizer | None = None,
    template: PromptTemplate | None = None,
    max_length_tokens: int = 2048,
) -> Statistics:
    """Statistics of the conversations in all `paths`; lengths in tokens with a tokenizer, else in words.

    What training sees at `max_length_tokens` is counted when there is a template too. Raises UserError,
    naming file and line, for a file that is none of conversations.
    """
    length_of = InTokens(tokenizer) if tokenizer else in_words
    controls = control_tokens(tokenizer) if tokenizer else KNOWN_CONTROL_TOKENS
    with_template = template if tokenizer else None

    def nothing() -> SetStatistics:
        return SetStatistics(Training() if with_template else None)

    result = Statistics(
        "tokens" if tokenizer else "words",
        with_template.name if with_template else None,
        max_length_tokens if with_template else None,
        nothing(),
    )
    begun = time.monotonic()
    with progress("measuring", _lines(paths)) as advance:
        for batch in _batches(row for path in paths for row in read_conversations(path)):
            measured = measure(batch, length_of, controls)
            if tokenizer and template:
                measured = measure_training(batch, measured, template, tokenizer, max_length_tokens)
            for figures in measured:
                result.datasets.setdefault(figures.dataset, nothing()).add(figures)
                result.total.add(figures)
            rate = result.total.conversations / max(time.monotonic() - begun, 1e-9)
            advance(len(batch), note=f"{rate:,.0f} rows/s")
    return result


def published() -> dict[str, About]:
    """What the formats say of the data sets that they read, by the data set's name."""
    abouts = [open_format(name).about for name in names(FORMATS, ".py")]
    return {about.dataset: about for about in abouts if about.rounds is not None}


def _paper_figures(about: About) -> dict[str, float | None]:
    return {
        "conversations": about.rows,
        "mean_rounds": about.rounds,
        "mean_prompt_tokens": about.prompt_tokens,
        "mean_completion_tokens": about.completion_tokens,
    }


def _batches(rows: Iterable[Conversation]) -> Iterator[list[Conversation]]:
    """Rows in their order, so many at a time as keep all cores busy and memory small."""
    batch: list[Conversation] = []
    characters = 0
    for row in rows:
        batch.append(row)
        characters += sum(len(message.content) + len(message.context or "") for message in row.messages)
        if len(batch) == _BATCH_ROWS or characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _lines(paths: Sequence[Path]) -> int | None:
    """Lines of all files, for the progress bar; None when one of them can be read only once."""
    if not all(path.is_file() for path in paths):
        return None
    count = 0
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(_COUNT_BYTES):
                count += block.count(b"\n")
    return count
