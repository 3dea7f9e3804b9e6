"""Which examples each optimizer step sees: a function of seed and step alone.

The order of an epoch comes from a hash of each record's identity, so it does not depend on the
order of the file, on what else is in it, or on how the run is cut into micro-batches.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from packtrain.prompts.encode import Example
from packtrain.prompts.token_file import TokenFile


class Batches:
    """The global batches of a run over `examples`."""

    def __init__(
        self,
        examples: Sequence[Example],
        *,
        global_batch_size: int,
        epochs: int,
        seed: int,
        order: Literal["shuffled", "sequential"],
        last_batch: Literal["keep", "drop"] = "keep",
    ) -> None:
        self.examples = examples
        self.size = global_batch_size
        self.seed = seed
        self.order = order
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
