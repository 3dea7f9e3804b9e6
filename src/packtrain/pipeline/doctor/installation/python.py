"""Finds a Python that is older than packtrain needs."""

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata

from packaging.specifiers import SpecifierSet

from packtrain.train.doctor_checks import Finding, error, fine


def check() -> Iterator[Finding]:
    """One finding: the version, or that it is another than the package's metadata allow."""
    found = platform.python_version()
    try:
        wanted = metadata("packtrain")["Requires-Python"] or ""
    except PackageNotFoundError:
        yield fine(f"Python {found}; packtrain is not installed but a source tree on the path")
        return
    if SpecifierSet(wanted).contains(found, prereleases=True):
        yield fine(f"Python {found}")
    else:
        yield error(f"Python is {found}, packtrain wants {wanted}", "Python", "install packtrain into a newer Python")
