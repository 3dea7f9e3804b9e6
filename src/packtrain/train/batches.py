"""Which examples each optimizer step sees: a function of seed and step alone.

The order of an epoch comes from a hash of each record's identity, so it does not depend on the
order of the file, on what else is in it, or on how the run is cut into micro-batches.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch

from packtrain.prompts.encode import IGNORED, Example, Tokens
from packtrain.prompts.token_file import TokenFile


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Examples padded on the right to one length; `[batch, length]` each, int64."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    """1 on tokens, 0 on padding: made from lengths, never from ids."""
    labels: torch.Tensor
    learnt_tokens: int


class Batches:
    """The global batches of a run over `examples`."""

    def __init__(
        self,
        examples: Sequence[Example],
        *,
        global_batch_size: int,
        micro_batch_size: int,
        epochs: int,
        seed: int,
        order: Literal["shuffled", "sequential"],
        last_batch: Literal["keep", "drop"] = "keep",
        sort_by_length: bool = True,
        pad_id: int = 0,
    ) -> None:
        """`sort_by_length` lays examples of like length together within a global batch, to pad less."""
        self.examples = examples
        self.size = global_batch_size
        self.micro_batch_size = micro_batch_size
        self.seed = seed
        self.order = order
        self.sort_by_length = sort_by_length
        self.pad_id = pad_id
        whole, rest = divmod(len(examples), global_batch_size)
        self.steps_per_epoch = max(1, whole + (1 if rest and last_batch == "keep" else 0))
        self.total_steps = self.steps_per_epoch * epochs
        self._epoch = lru_cache(maxsize=2)(self._epoch_order)

    def _epoch_order(self, epoch: int) -> list[int]:
        if self.order == "sequential":
            return list(range(len(self.examples)))

        def key(index: int) -> bytes:
            dataset, identity = self._identity(index)
            return hashlib.sha256(f"{self.seed}:{epoch}:{dataset}:{identity}".encode()).digest()

        return sorted(range(len(self.examples)), key=key)

    def _identity(self, index: int) -> tuple[str, str]:
        if isinstance(self.examples, TokenFile):
            return self.examples.identity(index)
        return self.examples[index].dataset, self.examples[index].id

    def of_step(self, step: int) -> list[Example]:
        """The examples of optimizer step `step` (1-based), in the order of their epoch."""
        epoch, position = divmod(step - 1, self.steps_per_epoch)
        chosen = self._epoch(epoch)[position * self.size : (position + 1) * self.size]
        return [self.examples[index] for index in chosen]

    def micro_batches(self, examples: Sequence[Example]) -> list[MicroBatch]:
        """`examples` cut into padded micro-batches of at most `micro_batch_size`."""
        laid = sorted(examples, key=lambda example: len(example.input_ids)) if self.sort_by_length else list(examples)
        cuts = range(0, len(laid), self.micro_batch_size)
        return [collate(laid[start : start + self.micro_batch_size], self.pad_id) for start in cuts]


def collate(examples: Sequence[Example], pad_id: int) -> MicroBatch:
    """Examples as one right-padded micro-batch: ids padded with `pad_id`, labels with IGNORED."""
    length = max(len(example.input_ids) for example in examples)

    def padded(rows: Sequence[Tokens], fill: int) -> torch.Tensor:
        whole = torch.full((len(rows), length), fill)
        for place, row in zip(whole, rows, strict=True):
            place[: len(row)] = torch.as_tensor(row)
        return whole

    lengths = torch.tensor([len(example.input_ids) for example in examples])
    return MicroBatch(
        input_ids=padded([example.input_ids for example in examples], pad_id),
        attention_mask=(torch.arange(length) < lengths[:, None]).long(),
        labels=padded([example.labels for example in examples], IGNORED),
        learnt_tokens=sum(example.learnt_tokens for example in examples),
    )
