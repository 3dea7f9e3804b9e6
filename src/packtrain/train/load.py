"""The base as a float32 model with a row for every token."""

from pathlib import Path
from typing import Any

from packtrain.core.errors import UserError
from packtrain.weights.vocabulary import grow_token_tables


def load_base(folder: Path, tokens: int) -> Any:
    """The causal language model in `folder`, in float32 whatever its files hold, with at least `tokens` token rows.

    New rows are the mean of the old ones; tables are never cut. UserError when it cannot be loaded.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    except Exception as error:  # transformers raises many kinds for unreadable folders
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"cannot load the base in {folder}: {reason}", "check it with: packtrain diff check, or fetch it again"
        ) from error
    grow_token_tables(model, tokens)
    return model
