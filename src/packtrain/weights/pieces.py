"""Memory for pieces of tensors.

torch asks for aligned memory, which glibc does not reuse well: streaming a model through fresh torch
tensors would make memory grow with every piece. NumPy's memory is reused.
"""

import numpy as np
import torch


def empty_piece(count: int, dtype: torch.dtype) -> torch.Tensor:
    """A new flat tensor `[count]` whose elements are whatever the memory holds."""
    if count == 0:
        return torch.empty(0, dtype=dtype)
    return torch.from_numpy(np.empty(count * dtype.itemsize, np.uint8)).view(dtype)


def converted(piece: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """`piece` itself if it has that type, else a rounded copy, `[n]`."""
    return piece if piece.dtype == dtype else empty_piece(piece.numel(), dtype).copy_(piece)
