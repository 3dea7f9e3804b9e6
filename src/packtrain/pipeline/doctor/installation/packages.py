"""Finds packages that packtrain needs and that are missing, or of a version that it does not work with."""

from collections.abc import Iterator

from packaging.requirements import Requirement

from packtrain.core.packages import requirements, version_of
from packtrain.train.doctor_checks import Finding, error, fine, warning

NAMED = ("torch", "transformers", "tokenizers", "safetensors", "numpy")
"""Those that decide results: told with their versions when all is well."""


def check() -> Iterator[Finding]:
    """An error for each package that is missing or too old; a warning for one of an extra that is too old."""
    well = 0
    for wanted in requirements():
        if problem := _problem(wanted):
            yield error(problem, wanted.name, _install_line(wanted))
        else:
            well += 1
    for wanted in requirements(of_extras=True):
        if version_of(wanted.name) and (problem := _problem(wanted)):
            yield warning(problem, wanted.name, _install_line(wanted))
    versions = ", ".join(f"{name} {found}" for name in NAMED if (found := version_of(name)))
    yield fine(f"{well} packages of the versions that are wanted: {versions}")


def _problem(wanted: Requirement) -> str | None:
    """What is wrong with a package; None when nothing is."""
    found = version_of(wanted.name)
    if found is None:
        return f"{wanted.name} is not installed"
    if wanted.specifier.contains(found, prereleases=True):
        return None
    return f"{wanted.name} is {found}, packtrain wants {wanted.specifier}"


def _install_line(wanted: Requirement) -> str:
    return f"pip install '{wanted.name}{wanted.specifier}'"
