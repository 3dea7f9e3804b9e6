"""Ending each row of a batch on its own: at end-of-sequence, or when its decoded text holds a stop text.

Role markers such as `<|user|>` are ordinary text and can be sampled in pieces, so stops are looked
for in text, not in ids.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import StoppingCriteria

from packtrain.prompts.tokenizer import Tokenizer


class StopTexts(StoppingCriteria):  # type: ignore[misc]
    """True for the rows whose answer so far holds one of the stop texts."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str], prompt_length: int) -> None:
        """`prompt_length`: tokens before the answer in every row, padding included."""
        self.tokenizer = tokenizer
        self.stop = stop
        self.prompt_length = prompt_length
        self.window = max((len(marker.encode()) for marker in stop), default=0) + 8

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs: Any) -> torch.Tensor:
        """`input_ids` [batch, length] -> bool [batch]."""
        begin = max(self.prompt_length, input_ids.shape[1] - self.window)
        tails = (self.tokenizer.decode(row, skip_special=False) for row in input_ids[:, begin:].tolist())
        found = [any(marker in tail for marker in self.stop) for tail in tails]
        return torch.tensor(found, dtype=torch.bool, device=input_ids.device)
