"""Forms of a diff: how a tuned tensor is written down given the base, and read back."""

from typing import Protocol

import torch

from packtrain.core.errors import UserError


class DiffForm(Protocol):
    """One way to write a difference down; `decode(encode(tuned, base), base)` gives tuned, or nearly so."""

    name: str
    """What `diff.json` calls it."""
    diff_dtype: str
    """Element type of the tensors that it writes."""

    def encode(self, tuned_chunk: torch.Tensor, base_chunk: torch.Tensor) -> torch.Tensor:
        """What is stored for a piece of a tuned tensor, `[n]`, given the same piece of the base, `[n]`."""

    def decode(self, diff_chunk: torch.Tensor, base_chunk: torch.Tensor) -> torch.Tensor:
        """The tuned piece, `[n]`, from what was stored, `[n]`, and the same piece of the base, `[n]`."""


class FloatForm:
    """tuned - base in float32, as weight_diff.py of stanford_alpaca and open-instruct write it.

    Readable by the original scripts. Recovery is near, not exact: a sum of floats is rounded.
    """

    name = "float"
    diff_dtype = "float32"

    def encode(self, tuned_chunk: torch.Tensor, base_chunk: torch.Tensor) -> torch.Tensor:
        """float32 difference, `[n]`."""
        return tuned_chunk.float() - base_chunk.float()

    def decode(self, diff_chunk: torch.Tensor, base_chunk: torch.Tensor) -> torch.Tensor:
        """float32 sum, `[n]`."""
        return diff_chunk.float() + base_chunk.float()


FLOAT = FloatForm()


def form_named(name: str) -> DiffForm:
    """The form that a `diff.json` names; UserError when this version does not know it."""
    if name != FLOAT.name:
        raise UserError(f"unknown form of diff: {name}", f"there is: {FLOAT.name}; a newer packtrain may know it")
    return FLOAT
