"""Room on disks: how much is free where a path is or will be, and how much a folder takes."""

import os
import shutil
from contextlib import suppress
from pathlib import Path


def nearest_existing(path: Path) -> Path:
    """The path itself, or the nearest folder above it that is there."""
    place = path.resolve()
    return next(found for found in (place, *place.parents) if found.exists())


def free_bytes(path: Path) -> int:
    """Bytes that are free on the disk on which the path is or will be."""
    return shutil.disk_usage(nearest_existing(path)).free


def bytes_in(folder: Path) -> int:
    """Bytes of all files below the folder, 0 when it is not there; what goes while it is counted does not count."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(place, name).stat().st_size
    return total
