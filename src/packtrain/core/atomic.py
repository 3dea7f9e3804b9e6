"""Files and folders that appear whole or not at all.

A file is written under a temporary name, synced and renamed. A folder is built beside its final
name as `NAME.partial`; the rename is the last step, so whatever bears the final name is complete,
and what an interrupted command leaves behind can be resumed or thrown away.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from packtrain.core.errors import UserError


def fsync_folder(folder: Path) -> None:
    """Make the names inside `folder` durable (a rename is durable only after this)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """An open file that becomes `path` when the block ends well, and vanishes when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        fsync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def check_output_file(path: Path, overwrite: bool) -> None:
    """Raise UserError when `path` exists and may not be replaced."""
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists already", "choose another --out, or give --overwrite to replace it")


class OutputFolder:
    """A folder built as `NAME.partial` and renamed to `NAME` by `publish()`.

    `resume` keeps what an interrupted run left in `NAME.partial`; `overwrite` replaces an existing
    `NAME`, which stays untouched until the new one is complete. Raises UserError when something is
    in the way and neither was asked for.
    """

    def __init__(self, path: Path, *, overwrite: bool = False, resume: bool = False) -> None:
        self.path = path
        self.partial = path.with_name(path.name + ".partial")
        if path.exists() and not overwrite:
            raise UserError(f"{path} exists already", "choose another --out, or give --overwrite to replace it")
        if self.partial.exists() and not resume:
            if not overwrite:
                raise UserError(
                    f"an interrupted run left {self.partial}",
                    "give --resume to go on with it, or --overwrite to start again",
                )
            shutil.rmtree(self.partial)
        self.resumed = self.partial.exists()
        self.partial.mkdir(parents=True, exist_ok=True)

    def publish(self) -> None:
        """Give the finished folder its final name; a replaced folder is removed afterwards."""
        for file in self.partial.rglob("*"):
            if file.is_file():
                with open(file, "rb") as handle:
                    os.fsync(handle.fileno())
        replaced = self.path.with_name(self.path.name + ".replaced")
        if self.path.exists():
            if replaced.exists():
                shutil.rmtree(replaced)
            os.rename(self.path, replaced)
        os.rename(self.partial, self.path)
        fsync_folder(self.path.parent)
        if replaced.exists():
            shutil.rmtree(replaced)

    def discard(self) -> None:
        """Remove the unfinished folder: for commands that have nothing worth resuming."""
        shutil.rmtree(self.partial, ignore_errors=True)


@contextmanager
def output_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """The partial folder of `path`, published when the block ends well, discarded when it fails."""
    stale = path.with_name(path.name + ".partial")
    if stale.exists() and not path.exists():
        shutil.rmtree(stale)
    folder = OutputFolder(path, overwrite=overwrite)
    try:
        yield folder.partial
        folder.publish()
    except BaseException:
        folder.discard()
        raise
