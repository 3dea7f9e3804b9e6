"""Proves that the order of elements is that of one stable sort by the base's exponent, at any length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packtrain.diff.permutation import ExponentOrder


def check(keys: np.ndarray) -> None:
    order = ExponentOrder(keys)
    assert np.array_equal(order.counts, np.bincount(keys, minlength=256))
    values = np.arange(len(keys), dtype=np.uint32)
    expected = keys.argsort(kind="stable")
    found = order.sort(values, np.zeros_like(values))
    assert np.array_equal(found, expected)
    assert np.array_equal(order.unsort(found, np.zeros_like(values)), values)


@pytest.mark.parametrize("length", [0, 1, 2, 4096, 65535, 65536, 65537, 131072, 200_000])
@pytest.mark.parametrize("keys", [1, 3, 30, 256])
def test_blocks_are_put_together_as_if_all_were_sorted_at_once(length: int, keys: int) -> None:
    check(np.random.default_rng(length + keys).integers(256 - keys, 256, length).astype(np.uint8))


@given(st.binary(max_size=300))
def test_any_keys(keys: bytes) -> None:
    check(np.frombuffer(keys, np.uint8))


def test_keys_that_come_in_one_block_only() -> None:
    check(np.repeat(np.array([9, 0, 255, 7], np.uint8), 65536))
