"""Loading a causal language model from a folder, with nothing missing and nothing made up."""

from pathlib import Path
from typing import Any

import torch

from packtrain.core.errors import UserError

DIFF_RECORD = "manifest.json"


def check_is_model(folder: Path) -> None:
    """Raise UserError when the folder holds a weight diff."""
    if (folder / DIFF_RECORD).exists():
        raise UserError(f"{folder} is a weight diff and no model", "recover it first: packtrain diff recover")


def load_causal_lm(folder: Path, dtype: torch.dtype) -> Any:
    """The transformers model in `folder`, its weights in `dtype` whatever the files hold.

    UserError when the folder cannot be loaded, when it is a weight diff, or when tensors are missing
    (transformers would draw them at random).
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    check_is_model(folder)
    disable_progress_bar()
    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, local_files_only=True, output_loading_info=True
        )
    except Exception as error:  # transformers raises many kinds for unreadable folders
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"cannot load the model in {folder}: {reason}", "fetch or make the folder again") from error
    missing = sorted(found["missing_keys"])
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(f"{folder} lacks the tensor {missing[0]}{more}", "fetch or make the folder again")
    return model
