"""What a run goes through: how many conversations of which lengths, in how many steps, and the fullest micro-batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from packtrain.core.conversation import Conversation, parse_conversation
from packtrain.core.errors import UserError
from packtrain.core.json_text import json_value
from packtrain.core.progress import progress
from packtrain.core.recipe import Recipe, Train
from packtrain.prompts.encode import IGNORED, Example
from packtrain.train.batches import Batches
from packtrain.train.packing import Layout, micro_batches
from packtrain.train.plan.rehearsal import Row
from packtrain.weights.model_files import VOCABULARY_FILES

SAMPLE = 1000
"""Conversations of a file that are looked at, evenly spread over it."""
CHARACTERS_PER_TOKEN = 4.0
"""Of English text in the tokenizers of these models, when there is none to ask: an assumption."""
LEARNT_SHARE = 0.5
"""Of all tokens, when nothing is known: 33.8 of 64.4 thousand in 512 rows of Alpaca."""


@dataclass(frozen=True, slots=True)
class Workload:
    """The data of a run in figures."""

    conversations: int
    """That can be learnt from; 0 when nothing is known."""
    lengths: tuple[int, ...]
    """Tokens of some of them, within the length limit."""
    learnt_share: float
    """Of their tokens."""
    source: str
    """Where the figures come from."""

    @property
    def mean_tokens(self) -> float:
        """Of a conversation."""
        return sum(self.lengths) / len(self.lengths)


def unknown_workload(settings: Train) -> Workload:
    """Conversations as long as may be: for memory, when nothing is said of the data."""
    return Workload(0, (settings.max_length_tokens,), LEARNT_SHARE, "every conversation as long as the limit")


def stated_workload(conversations: int, mean_tokens: float, settings: Train, learnt: float, source: str) -> Workload:
    """So many conversations, all of the same length."""
    length = max(2, min(settings.max_length_tokens, round(mean_tokens)))
    return Workload(conversations, (length,), learnt, source)


def measured_workload(data: Path, recipe: Recipe, base: Path | None) -> Workload:
    """The conversations of a file, or of `train.jsonl` in a folder, from a sample.

    Exact for the sample where the base's tokenizer is at hand; else four characters are taken for a token. UserError
    names file and line of a record that is no conversation.
    """
    file = data / "train.jsonl" if data.is_dir() else data
    if not file.is_file():
        raise UserError(f"no training data at {file}", "make it with: packtrain data prepare")
    found, sample = _sample(file)
    if not sample:
        raise UserError(f"{file} holds no conversations", "check the file, or make it with: packtrain data prepare")
    if base is None or not any((base / name).is_file() for name in VOCABULARY_FILES):
        lengths, learnt = _by_characters(sample, recipe.train.max_length_tokens)
        how = f"{CHARACTERS_PER_TOKEN:g} characters taken for a token, no tokenizer at hand"
    else:
        lengths, learnt = _by_tokens(sample, recipe, base)
        how = "its tokens"
    if not lengths:
        raise UserError(
            f"none of {len(sample)} conversations of {file} can be learnt from",
            "raise train.max_length_tokens, or check that the conversations end with an assistant's answer",
        )
    usable = round(found * len(lengths) / len(sample))
    source = f"{len(sample):,} of {found:,} conversations of {file}, {how}"
    return Workload(usable, tuple(lengths), learnt / sum(lengths), source)


def _sample(file: Path) -> tuple[int, list[Conversation]]:
    """How many records there are, and some of them, evenly spread."""
    starts: list[tuple[int, int]] = []
    with open(file, "rb") as lines, progress(f"reading {file.name}", file.stat().st_size, "bytes") as advance:
        place = 0
        for number, line in enumerate(lines, start=1):
            if line.strip():
                starts.append((number, place))
            place += len(line)
            advance(len(line))
        chosen = [starts[index * len(starts) // SAMPLE] for index in range(SAMPLE)] if len(starts) > SAMPLE else starts
        sample = []
        for number, start in chosen:
            lines.seek(start)
            where = f"{file}:{number}"
            try:
                text = lines.readline().decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise UserError(f"{where}: not valid UTF-8", "convert the file to UTF-8") from error
            sample.append(parse_conversation(json_value(text, where), where))
    return len(starts), sample


def _by_tokens(sample: Sequence[Conversation], recipe: Recipe, base: Path) -> tuple[list[int], int]:
    """Lengths of those that can be learnt from, and how many of their tokens are learnt."""
    from packtrain.prompts.encode import encode_rows
    from packtrain.prompts.template import template_for
    from packtrain.prompts.tokenizer import load_tokenizer

    settings = recipe.train
    template = template_for(base, recipe.template)
    encoded = encode_rows(sample, template, load_tokenizer(base), settings.max_length_tokens, settings.encoding)
    return np.diff(encoded.offsets).tolist(), int(encoded.learnt.sum())


def _by_characters(sample: Sequence[Conversation], limit: int) -> tuple[list[int], int]:
    lengths, learnt = [], 0
    for row in sample:
        answers = sum(len(message.content) for message in row.messages if message.role == "assistant")
        whole = sum(len(message.content) + len(message.context or "") for message in row.messages)
        length = max(2, min(limit, round(whole / CHARACTERS_PER_TOKEN)))
        lengths.append(length)
        learnt += min(length - 1, round(answers / CHARACTERS_PER_TOKEN))
    return lengths, learnt


def steps_of(workload: Workload, settings: Train) -> int | None:
    """Optimizer steps of the whole run; None when the number of conversations is not known."""
    if not workload.conversations:
        return settings.max_steps
    batches = Batches(
        [_stand_in(2)] * workload.conversations,
        global_batch_size=settings.global_batch_size,
        epochs=settings.epochs,
        seed=0,
        order="sequential",
        last_batch=settings.last_batch,
    )
    return min(batches.total_steps, settings.max_steps or batches.total_steps)


def fullest_row(workload: Workload, settings: Train, tokens: int, processes: int, *, packed: bool) -> tuple[Row, int]:
    """The largest micro-batch of a global batch of such conversations, and how many each process computes in a step."""
    ordered = sorted(workload.lengths)
    size = settings.global_batch_size
    drawn = [ordered[index * len(ordered) // size] for index in range(size - 1)]
    examples = [_stand_in(length) for length in (*drawn, ordered[-1])]
    layout = Layout(tokens=tokens, packed=packed, pad_id=0, rank=0, world_size=processes)
    made = micro_batches(examples, [0.0] * size, layout)
    fullest = max(made, key=lambda batch: batch.input_ids.numel())
    learnt = max(1, round(workload.learnt_share * sum(fullest.lengths)))
    return Row(fullest.lengths, learnt, packed), len(made)


def _stand_in(length: int) -> Example:
    ids = np.zeros(length, np.int32)
    return Example("", "", ids, np.full(length, IGNORED, np.int32))
