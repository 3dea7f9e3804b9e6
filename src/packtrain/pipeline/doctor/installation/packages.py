"""Finds packages that packtrain needs and that are missing, or of a version that it does not work with.

What it wants is said by the metadata of the installed package, which come from pyproject.toml.
"""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from packtrain.train.doctor_checks import Finding, error, fine, warning

NAMED = ("torch", "transformers", "tokenizers", "safetensors", "numpy")
"""Those that decide results: told with their versions when all is well."""
_EXTRA = "extra"


def check() -> Iterator[Finding]:
    """An error for each package that is missing or too old; a warning for one of an extra that is too old."""
    try:
        lines = requires("packtrain") or []
    except PackageNotFoundError:
        lines = []
    well = 0
    for wanted in map(Requirement, lines):
        optional = wanted.marker is not None and _EXTRA in str(wanted.marker)
        if wanted.marker is not None and not optional and not wanted.marker.evaluate():
            continue
        problem = _problem(wanted, optional=optional)
        if problem is None:
            well += not optional
        elif optional:
            yield warning(problem, wanted.name, f"pip install '{wanted.name}{wanted.specifier}'")
        else:
            yield error(problem, wanted.name, f"pip install '{wanted.name}{wanted.specifier}'")
    versions = ", ".join(f"{name} {found}" for name in NAMED if (found := _version(name)))
    yield fine(f"{well} packages of the versions that are wanted: {versions}")


def _problem(wanted: Requirement, *, optional: bool) -> str | None:
    """What is wrong with a package; None when nothing is, or when it belongs to an extra and is not there."""
    found = _version(wanted.name)
    if found is None:
        return None if optional else f"{wanted.name} is not installed"
    if wanted.specifier.contains(found, prereleases=True):
        return None
    return f"{wanted.name} is {found}, packtrain wants {wanted.specifier}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
