"""The compiled inner loops of exact diffs (kernels.c), where the package was built with a C compiler.

Without them NumPy does the same, to the bit, several times slower (ulp.py, permutation.py).
"""

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from packtrain.diff.ulp import Bits, FloatLayout

LIBRARY = Path(__file__).with_name("_kernels.so")
"""What hatch_build.py compiles."""
_VERSION = 1
_INTEGERS = {16: ctypes.c_uint16, 32: ctypes.c_uint32}


@cache
def compiled() -> "Kernels | None":
    """The compiled loops; None when there are none, or they are of another version."""
    try:
        library = ctypes.CDLL(str(LIBRARY))
    except OSError:
        return None
    return Kernels(library) if library.packtrain_kernels_version() == _VERSION else None


class Kernels:
    """Calls into the library; every array is contiguous and has the layout's item size."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def count(self, base: Bits, layout: FloatLayout) -> npt.NDArray[np.int64]:
        """How many patterns of the base have each exponent, `[256]`."""
        counts = np.zeros(256, np.int64)
        mask = _INTEGERS[layout.bits](layout.exponent_mask)
        self._function("count", layout)(
            _pointer(base), ctypes.c_size_t(len(base)), layout.mantissa_bits, mask, _pointer(counts)
        )
        return counts

    def sort(
        self, base: Bits, tuned: Bits, fold: int, counts: npt.NDArray[np.int64], out: Bits, layout: FloatLayout
    ) -> None:
        """The zigzag of the ways from base to tuned, in the order of the base's exponents, in `out`, `[n]`."""
        self._run("sort", base, tuned, fold, counts, out, layout)

    def unsort(
        self, base: Bits, values: Bits, fold: int, counts: npt.NDArray[np.int64], out: Bits, layout: FloatLayout
    ) -> None:
        """The inverse of `sort`: the tuned patterns in `out`, `[n]`."""
        self._run("unsort", base, values, fold, counts, out, layout)

    def _run(
        self,
        name: str,
        base: Bits,
        other: Bits,
        fold: int,
        counts: npt.NDArray[np.int64],
        out: Bits,
        layout: FloatLayout,
    ) -> None:
        if not len(base) == len(other) == len(out) == counts.sum():
            raise ValueError("arrays of different lengths")
        integer, starts = _INTEGERS[layout.bits], counts.cumsum() - counts
        self._function(name, layout)(
            _pointer(base),
            _pointer(other),
            ctypes.c_size_t(len(base)),
            layout.mantissa_bits,
            integer(layout.exponent_mask),
            integer(fold),
            _pointer(starts),
            _pointer(out),
        )

    def _function(self, name: str, layout: FloatLayout) -> Callable[..., None]:
        function: Callable[..., None] = getattr(self._library, f"packtrain_{name}_{layout.bits}")
        return function


def _pointer(array: npt.NDArray[np.generic]) -> ctypes.c_void_p:
    if not array.flags.c_contiguous:
        raise ValueError("the array is not contiguous")
    return ctypes.c_void_p(array.ctypes.data)
