"""Finds folders that packtrain writes to and cannot, or that have hardly any room."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from packtrain.core.cache_folder import cache_folder
from packtrain.core.errors import UserError
from packtrain.train.doctor_checks import Finding, error, fine, warning

LEAST_BYTES = 1e9
"""Less than that is a warning: encoded training data and what is unpacked on the way lie there, never models."""


def check() -> Iterator[Finding]:
    """A finding for packtrain's cache, for the Hub's, and for temporary files."""
    try:
        yield _place("packtrain's cache", cache_folder(), "PACKTRAIN_CACHE")
    except UserError as problem:
        yield error(problem.message, "PACKTRAIN_CACHE", problem.hint)
    yield _place("the Hub's cache", _hub_cache(os.environ), "HF_HOME")
    yield _place("temporary files", Path(tempfile.gettempdir()), "TMPDIR")


def _place(what: str, folder: Path, variable: str) -> Finding:
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        mend = f"make it writable, or name another folder: {variable}=FOLDER"
        return error(f"{what} cannot be written: no permission for {there}", str(folder), mend)
    free = shutil.disk_usage(there).free
    if free < LEAST_BYTES:
        mend = f"free some space, or name a folder on another disk: {variable}=FOLDER"
        return warning(f"{what} has {free / 1e9:.1f} GB of room", str(folder), mend)
    return fine(f"{what} can be written, {free / 1e9:.1f} GB free: {folder}")


def _hub_cache(environment: Mapping[str, str]) -> Path:
    """Where huggingface_hub keeps models (its constants, which are read at import, say the same)."""
    home = environment.get("HF_HOME") or Path(environment.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    given = environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE")
    return Path(os.path.expandvars(given or Path(home) / "hub")).expanduser()
