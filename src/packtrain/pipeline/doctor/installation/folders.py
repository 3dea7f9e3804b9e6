"""Finds folders that packtrain writes to and cannot, or that have hardly any room."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from packtrain.core.cache_folder import cache_folder
from packtrain.core.disk import free_bytes, nearest_existing
from packtrain.core.errors import UserError
from packtrain.train.doctor_checks import Finding, error, fine, warning

LEAST_BYTES = 1e9
"""Less than that is a warning: encoded training data and what is unpacked on the way lie there, never models."""


def check() -> Iterator[Finding]:
    """A finding for packtrain's cache, for the Hub's, and for temporary files."""
    from huggingface_hub import constants

    try:
        yield _place("packtrain's cache", cache_folder(), "PACKTRAIN_CACHE")
    except UserError as problem:
        yield error(problem.message, "PACKTRAIN_CACHE", problem.hint)
    yield _place("the Hub's cache", Path(constants.HF_HUB_CACHE), "HF_HOME")
    yield _place("temporary files", Path(tempfile.gettempdir()), "TMPDIR")


def _place(what: str, folder: Path, variable: str) -> Finding:
    there = nearest_existing(folder)
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        mend = f"make it writable, or name another folder: {variable}=FOLDER"
        return error(f"{what} cannot be written: no permission for {there}", str(folder), mend)
    free = free_bytes(folder)
    if free < LEAST_BYTES:
        mend = f"free some space, or name a folder on another disk: {variable}=FOLDER"
        return warning(f"{what} has {free / 1e9:.1f} GB of room", str(folder), mend)
    return fine(f"{what} can be written, {free / 1e9:.1f} GB free: {folder}")
