"""Tells whether the loops of exact diffs are compiled, or made by NumPy: the same bytes at half the speed."""

from collections.abc import Iterator

from packtrain.train.doctor_checks import Finding, fine


def check() -> Iterator[Finding]:
    """One finding."""
    from packtrain.diff.kernels import compiled

    if compiled() is not None:
        yield fine("exact diffs run in compiled loops")
    else:
        yield fine("exact diffs are made by NumPy, more slowly: with a C compiler, install packtrain again")
