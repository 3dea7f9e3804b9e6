"""The loss: summed cross-entropy of the learnt tokens, weighted over the whole global batch."""

from collections.abc import Sequence
from typing import Literal

import torch

from packtrain.prompts.encode import IGNORED
from packtrain.train.batches import MicroBatch

Averaging = Literal["token", "microbatch_mean"]


def summed_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Summed cross-entropy in float32 of `logits` [batch, length, vocabulary] against `labels` [batch, length].

    The token at position t is predicted from position t - 1; IGNORED labels add nothing, and
    nothing at all gives 0 rather than NaN.
    """
    predictions = logits[:, :-1].float().flatten(0, 1)
    return torch.nn.functional.cross_entropy(
        predictions, labels[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
    )


def weights(micro_batches: Sequence[MicroBatch], averaging: Averaging) -> list[float]:
    """What each micro-batch's summed loss is multiplied by, so that the weighted sums add up to the batch's loss.

    `token`: one over all learnt tokens of the global batch, so every token counts alike.
    `microbatch_mean`: the mean of the micro-batches' own means, as trainers did until late 2024
    (a token in a micro-batch of few counts more); a micro-batch with nothing to learn has weight 0.
    """
    if averaging == "token":
        total = max(1, sum(batch.learnt_tokens for batch in micro_batches))
        return [1.0 / total] * len(micro_batches)
    count = max(1, len(micro_batches))
    return [1.0 / (batch.learnt_tokens * count) if batch.learnt_tokens else 0.0 for batch in micro_batches]
