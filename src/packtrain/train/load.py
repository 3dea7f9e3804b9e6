"""The base as a float32 model with a row for every token."""

from pathlib import Path
from typing import Any

import torch

from packtrain.core.errors import UserError
from packtrain.models.load import load_causal_lm
from packtrain.weights.vocabulary import grow_token_tables


def load_base(folder: Path, tokens: int, max_length_tokens: int) -> Any:
    """The causal language model in `folder`, in float32, with at least `tokens` token rows.

    New rows are the mean of the old ones; tables are never cut. UserError when it cannot be loaded,
    or when its context is shorter than `max_length_tokens`.
    """
    model = load_causal_lm(folder, torch.float32)
    context = getattr(model.config, "max_position_embeddings", None)
    if context is not None and max_length_tokens > context:
        raise UserError(
            f"train.max_length_tokens is {max_length_tokens}, the context of {folder} is {context} tokens",
            f"give train.max_length_tokens={context}",
        )
    grow_token_tables(model, tokens)
    return model
