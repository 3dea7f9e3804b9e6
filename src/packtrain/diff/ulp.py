"""Floating-point bit patterns as integers whose difference counts ulps (units in the last place).

A pattern is sign and magnitude; its *place* is the magnitude, counted from a fold and negated bit by bit
for negative numbers. Neighbouring floats have neighbouring places, every pattern (NaN, infinities, -0.0,
subnormals) has a place of its own, and the way from place to place is a plain wrapping integer. The fold
is a magnitude below which there is next to nothing: counted from there, a weight that changes its sign
goes a short way and not through all the numbers that are smaller than any weight.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from packtrain.weights.pieces import converted

Bits = npt.NDArray[Any]
"""Bit patterns: int16 for two-byte types, int32 for float32, `[n]`."""


@dataclass(frozen=True, slots=True)
class FloatLayout:
    """How a floating type is made up."""

    dtype: str
    signed: type[np.signedinteger[Any]]
    unsigned: type[np.unsignedinteger[Any]]
    mantissa_bits: int
    exponent_mask: int

    @property
    def bits(self) -> int:
        """Bits of an element."""
        return self.signed(0).itemsize * 8

    @property
    def magnitude_mask(self) -> int:
        """All bits but the sign."""
        return (1 << (self.bits - 1)) - 1

    @property
    def infinity(self) -> int:
        """The magnitude of infinity; larger ones are NaN."""
        return self.exponent_mask << self.mantissa_bits


LAYOUTS = {
    "float16": FloatLayout("float16", np.int16, np.uint16, 10, 0x1F),
    "bfloat16": FloatLayout("bfloat16", np.int16, np.uint16, 7, 0xFF),
    "float32": FloatLayout("float32", np.int32, np.uint32, 23, 0xFF),
}
"""Types that the exact form differences; tensors of other types are stored as they are."""


def bits_of(piece: torch.Tensor, layout: FloatLayout) -> Bits:
    """The patterns of a contiguous tensor of the layout's type, sharing its memory, `[n]`."""
    patterns: Bits = piece.view(torch.int16 if layout.bits == 16 else torch.int32).numpy()
    return patterns


def canonical_cast(piece: torch.Tensor, layout: FloatLayout) -> Bits:
    """Patterns of `piece` in the layout's type, `[n]`: unchanged if it has that type already.

    Otherwise through float32, to nearest, ties to even, and every NaN becomes the quiet NaN without sign or payload, so
    that the result is the same on every machine.
    """
    if piece.dtype == getattr(torch, layout.dtype):
        return bits_of(piece, layout)
    single = piece.float() if piece.dtype == torch.float64 else piece  # the others are widened by themselves
    patterns = bits_of(converted(single, getattr(torch, layout.dtype)), layout)
    magnitudes = patterns & layout.signed(layout.magnitude_mask)
    if magnitudes.max(initial=0) > layout.infinity:
        patterns[magnitudes > layout.infinity] = layout.infinity | (1 << (layout.mantissa_bits - 1))
    return patterns


def exponents(patterns: Bits, layout: FloatLayout) -> npt.NDArray[np.uint8]:
    """Biased exponent of each pattern, `[n]`."""
    return ((patterns >> layout.mantissa_bits) & layout.exponent_mask).astype(np.uint8)


def places(patterns: Bits, fold: int, layout: FloatLayout, out: Bits, scratch: Bits) -> Bits:
    """Place of each pattern, counted from the magnitude `fold`, as signed integers in `out`, `[n]`."""
    np.bitwise_and(patterns, layout.signed(layout.magnitude_mask), out=out)
    out -= layout.signed(fold)
    out &= layout.signed(layout.magnitude_mask)
    out ^= np.right_shift(patterns, layout.bits - 1, out=scratch)
    return out


def patterns_at(place: Bits, fold: int, layout: FloatLayout, scratch: Bits) -> Bits:
    """The patterns that have these places; the inverse of `places`; overwrites `place`."""
    sign = np.right_shift(place, layout.bits - 1, out=scratch)
    place ^= sign
    place += layout.signed(fold)
    place &= layout.signed(layout.magnitude_mask)
    sign &= layout.signed(-layout.magnitude_mask - 1)
    place |= sign
    return place


def zigzag(steps: Bits, layout: FloatLayout, scratch: Bits) -> Bits:
    """Signed steps as unsigned integers, small ones small (0, -1, 1, -2 become 0, 1, 2, 3); overwrites `steps`."""
    sign = np.right_shift(steps, layout.bits - 1, out=scratch)
    steps <<= 1
    steps ^= sign
    return steps.view(layout.unsigned)


def unzigzag(values: Bits, layout: FloatLayout, scratch: Bits) -> Bits:
    """The inverse of `zigzag`; overwrites `values`."""
    sign = np.bitwise_and(values, layout.unsigned(1), out=scratch.view(layout.unsigned)).view(layout.signed)
    np.negative(sign, out=sign)
    values >>= layout.unsigned(1)
    steps = values.view(layout.signed)
    steps ^= sign
    return steps
