"""How many tokens go into a batch, and what happens when they were too many."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from packtrain.core.errors import UserError
from packtrain.core.machine_memory import free_memory_bytes
from packtrain.core.progress import say

CACHE_SHARE = {"cpu": 0.25, "cuda": 0.5}
"""Of the free memory, for keys and values."""
MOST_CACHE_BYTES = {"cpu": 4 << 30, "cuda": 1 << 60}
PREFILL_TOKENS = {"cpu": 4096, "cuda": 32_768}
"""Prompt tokens in one forward; more gain nothing."""
MOST_ROWS = {"cpu": 64, "cuda": 512}
LOGIT_BYTES = 1 << 30
"""For models that compute the logits behind every token of the prompt."""


class OutOfMemory(Exception):
    """A batch did not fit."""


class Budget:
    """What a batch may hold; halved whenever one did not fit."""

    def __init__(self, device: torch.device, bytes_per_token: int, bytes_of_logits: int) -> None:
        """`bytes_per_token`: of keys and values; `bytes_of_logits`: of a token, 0 where only the last one has any."""
        kind = "cuda" if device.type == "cuda" else "cpu"
        free = torch.cuda.mem_get_info(device)[0] if kind == "cuda" else free_memory_bytes()
        room = min(CACHE_SHARE[kind] * free, MOST_CACHE_BYTES[kind])
        self.stored_tokens = max(1, int(room / max(1, bytes_per_token)))
        self.prefill_tokens = min(PREFILL_TOKENS[kind], LOGIT_BYTES // bytes_of_logits if bytes_of_logits else 1 << 60)
        self.rows = MOST_ROWS[kind]

    def halve(self) -> None:
        """Allow half as much."""
        self.stored_tokens = max(1, self.stored_tokens // 2)
        self.prefill_tokens = max(1, self.prefill_tokens // 2)
        self.rows = max(1, self.rows // 2)
        say(f"note: out of memory; going on with batches of {self.stored_tokens} tokens")

    def fits(self, rows: int, stored_width: int, prefill_width: int) -> bool:
        """Whether so many rows, of so many tokens in all and so many to prefill, may share a batch; one always may."""
        within = rows <= self.rows and rows * stored_width <= self.stored_tokens
        return rows == 1 or (within and rows * prefill_width <= self.prefill_tokens)


@contextmanager
def watched() -> Iterator[None]:
    """Raises OutOfMemory for any of the errors by which torch says so."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory from error
    except RuntimeError as error:  # what the allocator of the CPU raises
        if "not enough memory" in str(error) or "can't allocate memory" in str(error):
            raise OutOfMemory from error
        raise


def does_not_fit(tokens: int) -> UserError:
    """The error for a single row that does not fit."""
    return UserError(
        f"out of memory: one prompt of {tokens} tokens does not fit beside the model",
        "use a machine with more memory, a smaller compute type, or shorter prompts and answers",
    )
