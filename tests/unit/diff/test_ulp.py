"""Proves that every bit pattern has a place of its own, one ulp from its neighbours', and how types are cast."""

from typing import Any

import numpy as np
import pytest
import torch

from packtrain.diff.ulp import LAYOUTS, FloatLayout, canonical_cast, exponents, patterns_at, places, unzigzag, zigzag

NAMES = tuple(LAYOUTS)
HALVES = ("float16", "bfloat16")


def all_patterns(layout: FloatLayout) -> Any:
    """Every pattern of a type of two bytes; of float32 a hundred thousand, those at every border among them."""
    if layout.bits == 16:
        return np.arange(1 << 16, dtype=np.uint16).view(np.int16)
    borders = np.arange(1 << 9, dtype=np.uint32) << 23
    drawn = np.random.default_rng(1).integers(0, 1 << 32, 100_000, dtype=np.uint32)
    return np.concatenate([borders - 1, borders, borders + 1, drawn]).view(np.int32)


def places_of(patterns: Any, fold: int, layout: FloatLayout) -> Any:
    return places(patterns, fold, layout, np.empty_like(patterns), np.empty_like(patterns))


def floats(patterns: Any, layout: FloatLayout) -> Any:
    return torch.from_numpy(patterns).view(getattr(torch, layout.dtype)).double().numpy()


def folds(layout: FloatLayout) -> list[int]:
    return [0, 1, 3 << layout.mantissa_bits, layout.infinity, layout.magnitude_mask]


@pytest.mark.parametrize("name", NAMES)
def test_a_place_is_the_magnitude_from_the_fold_and_leads_back(name: str) -> None:
    layout = LAYOUTS[name]
    patterns = all_patterns(layout)
    before = patterns.copy()
    for fold in folds(layout):
        found = places_of(patterns, fold, layout)
        assert found.dtype == layout.signed
        magnitudes = (patterns.astype(np.int64) & layout.magnitude_mask) - fold & layout.magnitude_mask
        assert np.array_equal(found, np.where(patterns < 0, ~magnitudes, magnitudes))
        assert len(np.unique(found)) == len(np.unique(patterns))
        assert np.array_equal(patterns_at(found, fold, layout, np.empty_like(found)), before)
    assert np.array_equal(patterns, before)


@pytest.mark.parametrize("name", HALVES)
def test_places_from_fold_zero_count_the_numbers_in_between(name: str) -> None:
    layout = LAYOUTS[name]
    patterns = all_patterns(layout)
    numbers = patterns[(patterns & layout.magnitude_mask) <= layout.infinity]
    values, found = floats(numbers, layout), places_of(numbers, 0, layout)
    order = np.argsort(found)
    assert np.array_equal(np.diff(found[order]), np.ones(len(order) - 1))
    assert (np.diff(values[order]) > 0).sum() == len(order) - 2  # -0.0 and 0.0 are one apart and equal
    assert (np.diff(values[order]) >= 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_zigzag_makes_short_ways_small_and_leads_back(name: str) -> None:
    layout = LAYOUTS[name]
    steps = all_patterns(layout)
    scratch = np.empty_like(steps)
    few = np.array([0, -1, 1, -2, 2], layout.signed)
    assert zigzag(few, layout, scratch[:5]).tolist() == [0, 1, 2, 3, 4]
    values = zigzag(steps.copy(), layout, scratch)
    assert values.dtype == layout.unsigned
    wide = steps.astype(np.int64)
    assert np.array_equal(values.astype(np.int64), np.where(wide < 0, -2 * wide - 1, 2 * wide))
    assert np.array_equal(unzigzag(values, layout, scratch), steps)


@pytest.mark.parametrize("name", NAMES)
def test_exponents_are_those_of_the_numbers(name: str) -> None:
    layout = LAYOUTS[name]
    patterns = all_patterns(layout)
    found = exponents(patterns, layout).astype(np.int64)
    values = np.abs(floats(patterns, layout))
    normal = (found > 0) & (found < layout.exponent_mask)
    bias = layout.exponent_mask // 2
    assert np.array_equal(np.frexp(values[normal])[1], found[normal] - bias + 1)
    assert not np.isfinite(values[found == layout.exponent_mask]).any()
    assert (values[found == 0] < 2.0 ** (1 - bias)).all()


@pytest.mark.parametrize("name", HALVES)
def test_the_cast_rounds_to_nearest_and_ties_to_even(name: str) -> None:
    """For every two neighbours of the type: the middle, and float32's neighbours of the middle."""
    layout = LAYOUTS[name]
    lower = np.arange(layout.infinity, dtype=layout.signed)
    upper = lower + layout.signed(1)
    highest = 2.0 ** (layout.exponent_mask - layout.exponent_mask // 2)  # where infinity would be, were it a number
    ends = np.where(np.isinf(floats(upper, layout)), highest, floats(upper, layout))
    middle = (floats(lower, layout) + ends) / 2
    exact = torch.from_numpy(middle).float()
    assert torch.equal(exact.double(), torch.from_numpy(middle))
    infinite, zero = torch.tensor(torch.inf), torch.tensor(0.0)
    for sign, flag in ((1, 0), (-1, -layout.magnitude_mask - 1)):
        for piece, expected in (
            (exact, np.where(lower % 2 == 0, lower, upper)),
            (exact.nextafter(zero), lower),
            (exact.nextafter(infinite), upper),
        ):
            found = canonical_cast(sign * piece, layout)
            assert np.array_equal(found, expected.astype(np.int64) | flag)


@pytest.mark.parametrize("target", NAMES)
@pytest.mark.parametrize("source", [*NAMES, "float64"])
def test_every_nan_becomes_one_and_all_else_goes_through_float32(source: str, target: str) -> None:
    layout = LAYOUTS[target]
    if source == "float64":
        piece = torch.from_numpy(np.random.default_rng(2).integers(-(2**63), 2**63 - 1, 100_000)).view(torch.float64)
    else:
        piece = torch.from_numpy(all_patterns(LAYOUTS[source]).copy()).view(getattr(torch, source))
    before = piece.clone()
    found = canonical_cast(piece, layout)
    integer = {8: torch.int64, 4: torch.int32, 2: torch.int16}[piece.element_size()]
    assert piece.view(integer).equal(before.view(integer))
    if source == target:
        assert np.array_equal(found, piece.view(integer).numpy())
        return
    nan = piece.isnan().numpy()
    assert nan.any()
    assert set(found[nan]) == {{"float16": 0x7E00, "bfloat16": 0x7FC0, "float32": 0x7FC00000}[target]}
    straight = piece.float().to(getattr(torch, target))
    assert np.array_equal(floats(found, layout)[~nan], straight.double().numpy()[~nan])
    assert np.array_equal(found[~nan] < 0, np.signbit(piece.double().numpy()[~nan]))


def test_a_cast_of_nothing_is_nothing() -> None:
    assert len(canonical_cast(torch.empty(0, dtype=torch.float64), LAYOUTS["bfloat16"])) == 0
