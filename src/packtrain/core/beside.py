"""What people put beside an output before they publish it: a card, licences, entries for the Hub.

Nothing computes with these files, so a change of them makes nothing anew.
"""

import fnmatch
from collections.abc import Iterable, Mapping

CARD = "README.md"
BESIDE = (CARD, "LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*", ".gitattributes", ".eval_results/*.yaml")
"""Patterns of their names, relative to the folder; a card may also have replaced the one that was made."""


def is_beside(name: str) -> bool:
    """Whether a file of this name, relative to its folder and with `/`, is put there by people."""
    return fits_path(name, BESIDE)


def without_beside(files: Mapping[str, str]) -> dict[str, str]:
    """The files of a folder, name to hash, that something may be computed with."""
    return {name: sha256 for name, sha256 in files.items() if not is_beside(name)}


def fits_path(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns fits the path; they are as deep as the path, and `*` stands for no `/`."""
    return any(name.count("/") == pattern.count("/") and fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
