"""The ways from a base to a tuned tensor in ulp steps, in the order of the base's exponents, and back."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from packtrain.diff.kernels import Kernels, compiled
from packtrain.diff.permutation import ExponentOrder
from packtrain.diff.ulp import Bits, FloatLayout, exponents, patterns_at, places, unzigzag, zigzag


class SortedSteps(Protocol):
    """What lies between a base, whose patterns are known, and a tuned tensor, `[n]`."""

    counts: npt.NDArray[np.int64]
    """How many of the base's elements have each exponent, `[256]`."""

    def sort(self, tuned: Bits, fold: int) -> Bits:
        """The zigzag of every step to `tuned`, as unsigned integers in the order of the base's exponents, `[n]`."""

    def unsort(self, values: Bits, fold: int) -> Bits:
        """The tuned patterns, given what `sort` gave; the inverse of `sort`."""


def sorted_steps(base: Bits, layout: FloatLayout, buffers: Bits) -> SortedSteps:
    """The steps from `base`, `[n]`, computed by the compiled loops, or by NumPy where there are none.

    `buffers` `[3, >= n]` of the layout's signed integers hold the results until the next call.
    """
    arrays = buffers[:, : len(base)]
    kernels = compiled()
    return NumpySteps(base, layout, arrays) if kernels is None else CompiledSteps(kernels, base, layout, arrays)


class CompiledSteps:
    """By the loops of kernels.c; `arrays` `[3, n]` are overwritten."""

    def __init__(self, kernels: Kernels, base: Bits, layout: FloatLayout, arrays: Bits) -> None:
        self._kernels, self._base, self._layout = kernels, base, layout
        self._out: Bits = arrays[0]
        self.counts = kernels.count(base, layout)

    def sort(self, tuned: Bits, fold: int) -> Bits:
        """As in `SortedSteps`."""
        self._kernels.sort(self._base, tuned, fold, self.counts, self._out, self._layout)
        values: Bits = self._out.view(self._layout.unsigned)
        return values

    def unsort(self, values: Bits, fold: int) -> Bits:
        """As in `SortedSteps`."""
        self._kernels.unsort(self._base, values, fold, self.counts, self._out, self._layout)
        return self._out


class NumpySteps:
    """By NumPy; `arrays` `[3, n]` are overwritten."""

    def __init__(self, base: Bits, layout: FloatLayout, arrays: Bits) -> None:
        self._base, self._layout, self._arrays = base, layout, arrays
        self._order = ExponentOrder(exponents(base, layout))
        self.counts = self._order.counts

    def sort(self, tuned: Bits, fold: int) -> Bits:
        """As in `SortedSteps`."""
        base, layout, (steps, others, scratch) = self._base, self._layout, self._arrays
        places(tuned, fold, layout, steps, scratch)
        steps -= places(base, fold, layout, others, scratch)
        return self._order.sort(zigzag(steps, layout, scratch), others.view(layout.unsigned))

    def unsort(self, values: Bits, fold: int) -> Bits:
        """As in `SortedSteps`."""
        base, layout, (steps, others, scratch) = self._base, self._layout, self._arrays
        unzigzag(self._order.unsort(values, steps.view(layout.unsigned)), layout, scratch)
        steps += places(base, fold, layout, others, scratch)
        return patterns_at(steps, fold, layout, scratch)
