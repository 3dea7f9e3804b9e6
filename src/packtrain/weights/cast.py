"""Rounding to another element type that tells when a value does not fit."""

import torch

from packtrain.core.errors import UserError
from packtrain.weights.pieces import converted

DTYPES = ("float16", "bfloat16", "float32")
"""Types in which a converted or merged model may be written."""


def check_dtype(dtype: str | None) -> None:
    """Raise UserError when `dtype` is neither None nor one of `DTYPES`."""
    if dtype is not None and dtype not in DTYPES:
        raise UserError(f"unknown dtype: {dtype}", f"there are: {', '.join(DTYPES)}")


def cast(piece: torch.Tensor, dtype: torch.dtype, name: str) -> torch.Tensor:
    """`piece` rounded to `dtype`, to nearest, ties to even; UserError when a finite value of `name` overflows."""
    if piece.dtype == dtype:
        return piece
    rounded = converted(piece, dtype)
    overflows = torch.finfo(dtype).max < torch.finfo(piece.dtype).max
    if overflows and bool((rounded.isinf() & piece.isfinite()).any()):
        raise UserError(
            f"tensor {name} has values that {str(dtype).removeprefix('torch.')} cannot hold",
            "choose --dtype bfloat16 or float32",
        )
    return rounded
