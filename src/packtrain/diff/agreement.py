"""How nearly two tensors agree: share of elements equal to the bit, and the largest difference."""

import torch

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Agreement:
    """Counts agreement over pieces given to `add`; -0.0 and 0.0 differ to the bit, by 0."""

    def __init__(self) -> None:
        self.equal = 0
        """Elements equal to the bit."""
        self.total = 0
        self.max_abs_difference = 0.0
        """Infinite where one is NaN and the other is not the same NaN."""

    def add(self, a: torch.Tensor, b: torch.Tensor) -> None:
        """Count two pieces of the same length; of different types, they are compared as float32."""
        if a.dtype != b.dtype:
            a, b = a.float(), b.float()
        same = _bits(a) == _bits(b)
        equal = int(same.sum())
        self.equal += equal
        self.total += a.numel()
        if equal < a.numel():
            apart = (a - b).abs().masked_fill(same, 0.0).nan_to_num(nan=torch.inf, posinf=torch.inf)
            self.max_abs_difference = max(self.max_abs_difference, float(apart.max()))

    def include(self, other: "Agreement") -> None:
        """Count all that `other` has counted."""
        self.equal += other.equal
        self.total += other.total
        self.max_abs_difference = max(self.max_abs_difference, other.max_abs_difference)

    @property
    def share_equal(self) -> float:
        """Share of elements equal to the bit, 0 to 1; 1 when there are none."""
        return self.equal / self.total if self.total else 1.0


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().view(_INTEGERS[tensor.element_size()])
