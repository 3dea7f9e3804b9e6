"""Which packages are installed, and which packtrain wants by its own metadata, which come from pyproject.toml."""

from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement


def version_of(package: str) -> str | None:
    """The version of an installed package; None for one that is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def requirements(*, of_extras: bool = False) -> "list[Requirement]":
    """What packtrain always needs on this machine, or what its extras need; nothing for a source tree on the path."""
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(line) for line in requires("packtrain") or ()]
    except PackageNotFoundError:
        return []
    if of_extras:
        return [one for one in wanted if "extra" in str(one.marker)]
    return [one for one in wanted if one.marker is None or ("extra" not in str(one.marker) and one.marker.evaluate())]
