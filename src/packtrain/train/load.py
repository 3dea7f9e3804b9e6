"""The base as a float32 model with a row for every token: as a whole, or shard by shard from disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from packtrain.core.adapter import AdapterSpec
from packtrain.core.errors import UserError
from packtrain.models.load import load_causal_lm
from packtrain.weights.store import TensorStore, open_store
from packtrain.weights.vocabulary import grow_token_tables, mean_row


@dataclass(frozen=True)
class ModelSource:
    """Where a strategy gets its model from."""

    folder: Path
    """A base in the Hugging Face layout."""
    tokens: int
    """Token rows that the model must have; new ones are the mean of the old."""
    adapter: AdapterSpec | None = None
    """The adapter to train in place of the model's own weights."""
    new_rows: Sequence[int] = ()
    """Token rows that are trained beside an adapter."""
    seed: int = 42
    """Decides what an adapter begins with."""
    recomputed: bool = False
    """Whether layers are computed again in the backward pass, which asks something of an adapter."""

    def whole(self, device: torch.device, compute_dtype: torch.dtype) -> Any:
        """The model on `device`, in float32 or, below a QLoRA adapter, in NF4; UserError when it cannot be loaded."""
        if self.adapter and self.adapter.kind == "qlora":
            from packtrain.train.quantised import load_quantised

            model = self._with_adapter(load_quantised(self.folder, self.tokens, device, compute_dtype))
        else:
            model = load_causal_lm(self.folder, torch.float32)
            grow_token_tables(model, self.tokens)
            model = self._with_adapter(model).to(device)
        self.begin_adapter(model)
        return model

    def base_on_host(self) -> Any:
        """The base alone, in float32 on the CPU."""
        model = load_causal_lm(self.folder, torch.float32)
        grow_token_tables(model, self.tokens)
        return model

    def _with_adapter(self, model: Any) -> Any:
        if self.adapter is None:
            return model
        from packtrain.train.lora import attach

        return attach(model, self.adapter, self.new_rows, checkpointing=self.recomputed)

    def begin_adapter(self, model: Any) -> None:
        """Fill an adapter's weights; the base must be in place, and all processes must call it."""
        if self.adapter is not None:
            from packtrain.train.lora import initialise

            initialise(model, self.seed)

    def shape(self) -> Any:
        """The model without weights: parameters on the meta device, buffers as they are to be."""
        from accelerate import init_empty_weights
        from transformers import AutoConfig, AutoModelForCausalLM

        config = AutoConfig.from_pretrained(self.folder, local_files_only=True)
        with init_empty_weights(include_buffers=False):
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        rows = model.get_input_embeddings().weight.shape[0]
        if self.tokens > rows:
            config.vocab_size = self.tokens
            with init_empty_weights(include_buffers=False):
                model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        model.tie_weights()
        return self._with_adapter(model)

    def reader(self) -> "RowReader":
        """What reads rows of the base's tensors."""
        return RowReader(open_store(self.folder))


class RowReader:
    """Rows of a base's tensors by the names that the model gives them, without ever holding a whole tensor."""

    def __init__(self, store: TensorStore) -> None:
        self.store = store

    def has(self, name: str, prefix: str) -> bool:
        """Whether the files hold the parameter `name` of a model whose body is called `prefix`."""
        return self._stored(name, prefix) is not None

    def rows(self, name: str, prefix: str, start: int, stop: int) -> torch.Tensor:
        """Rows `start` to `stop` of a parameter in float32, flat; rows beyond the stored ones are their mean."""
        stored = self._stored(name, prefix)
        if stored is None:
            raise UserError(f"{self.store.folder} lacks the tensor {name}", "fetch or make the folder again")
        shape = self.store.info(stored).shape
        width = self.store.info(stored).numel // shape[0] if shape else 1
        here = min(stop, shape[0]) if shape else stop
        read = self.store.flat(stored, start * width, max(start, here) * width).float()
        if stop <= here:
            return read
        added = mean_row(self.store, stored).repeat(stop - max(start, here))
        return torch.cat([read, added])

    def _stored(self, name: str, prefix: str) -> str | None:
        bare = name.removeprefix(f"{prefix}.")
        candidates = (name, bare, f"{prefix}.{name}")  # files of a bare body leave its name out
        found = next((one for one in candidates if one in self.store), None)
        return self.store.aliases.get(found, found) if found else None


def check_context(folder: Path, max_length_tokens: int) -> None:
    """Raise UserError when the context of the model in `folder` is shorter than `max_length_tokens`."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # transformers raises many kinds for unreadable folders
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"cannot load the model in {folder}: {reason}", "fetch or make the folder again") from error
    context = getattr(config, "max_position_embeddings", None)
    if context is not None and max_length_tokens > context:
        raise UserError(
            f"train.max_length_tokens is {max_length_tokens}, the context of {folder} is {context} tokens",
            f"give train.max_length_tokens={context}",
        )
