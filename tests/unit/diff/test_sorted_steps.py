"""Proves that the compiled loops and NumPy's give the same integers, to the bit."""

from typing import Any

import numpy as np
import pytest

from packtrain.diff.kernels import compiled
from packtrain.diff.sorted_steps import CompiledSteps, NumpySteps, sorted_steps
from packtrain.diff.ulp import LAYOUTS

KERNELS = compiled()


def buffers(count: int) -> Any:
    return np.full((4, max(1, count)), -7, np.int32)


@pytest.mark.skipif(KERNELS is None, reason="the package was built without a C compiler")
@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("length", [0, 1, 2047, 2048, 2049, 65535, 65536, 65537, 200_000])
@pytest.mark.parametrize("narrow", [False, True])
def test_both_give_the_same(name: str, length: int, narrow: bool) -> None:
    assert KERNELS is not None
    layout, rng = LAYOUTS[name], np.random.default_rng(length)
    tuned, base = rng.integers(0, 1 << layout.bits, (2, length), layout.unsigned).view(layout.signed)
    if narrow:
        base &= layout.signed(0x3FF)
    before = tuned.copy(), base.copy()
    arrays = [buffers(length).view(layout.signed)[1:, :length] for _ in range(2)]
    plain, fast = NumpySteps(base, layout, arrays[0]), CompiledSteps(KERNELS, base, layout, arrays[1])
    assert np.array_equal(plain.counts, fast.counts)
    for fold in (0, 5 << layout.mantissa_bits, layout.infinity, layout.magnitude_mask):
        values, fast_values = plain.sort(tuned, fold).copy(), fast.sort(tuned, fold).copy()
        assert values.dtype == fast_values.dtype == layout.unsigned
        assert np.array_equal(values, fast_values)
        assert np.array_equal(plain.unsort(values.copy(), fold), tuned)
        assert np.array_equal(fast.unsort(values, fold), tuned)
        wrong = rng.integers(0, 1 << layout.bits, length, layout.unsigned)
        assert np.array_equal(plain.unsort(wrong.copy(), fold), fast.unsort(wrong, fold))
    assert np.array_equal(tuned, before[0])
    assert np.array_equal(base, before[1])


@pytest.mark.skipif(KERNELS is None, reason="the package was built without a C compiler")
def test_arrays_that_the_compiled_loops_would_leave_are_refused() -> None:
    assert KERNELS is not None
    layout = LAYOUTS["bfloat16"]
    base = np.zeros(10, np.int16)
    steps = CompiledSteps(KERNELS, base, layout, np.zeros((3, 10), np.int16))
    with pytest.raises(ValueError, match="different lengths"):
        steps.sort(base[:9], 0)
    with pytest.raises(ValueError, match="not contiguous"):
        steps.sort(np.zeros(20, np.int16)[::2], 0)


@pytest.mark.usefixtures("loops")
def test_the_loops_at_hand_are_used(loops: str) -> None:
    layout = LAYOUTS["float16"]
    base = np.arange(100, dtype=np.int16)
    steps = sorted_steps(base, layout, np.empty((3, 120), np.int16))
    assert type(steps) is (NumpySteps if loops == "numpy" else CompiledSteps)
    values = steps.sort(base + 1, 0).copy()
    assert np.array_equal(steps.unsort(values, 0), base + 1)
