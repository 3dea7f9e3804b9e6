"""How the C library hands out memory to training on a CPU."""

import ctypes
import sys

_MAX_MMAPS, _TRIM_THRESHOLD = -4, -1
"""glibc's M_MMAP_MAX and M_TRIM_THRESHOLD (malloc.h)."""


def keep_freed_memory() -> None:
    """Make this process keep the memory that it frees, where the C library can be told so (glibc).

    By default every large tensor is mapped anew and unmapped again, and the system clears each of its pages;
    training asks for the same sizes over and over (measured: a tenth to a quarter of a step's time).
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MAX_MMAPS, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
