"""Files and folders that appear whole or not at all.

A file is written under a temporary name, synced and renamed. A folder is built beside its final
name as `NAME.partial`; the rename is the last step, so whatever bears the final name is complete,
and what an interrupted command leaves behind can be resumed or thrown away.
"""

import fcntl
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from packtrain.core.errors import UserError
from packtrain.core.progress import say

RESUMABLE = ("data", "train", "evaluate", "generate", "diff make", "diff recover")
"""Stages whose unfinished folder is worth keeping."""
JOURNAL = ".finished.jsonl"
"""Where a stage may write down which files of its unfinished folder are complete."""
_MARK, _LOCK, _REPLACED = ".stage", ".lock", ".replaced"


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


def check_output_file(path: Path, overwrite: bool, option: str = "--out") -> None:
    """Raise UserError when `path` exists and may not be replaced; a folder is never replaced by a file.

    `option` is the one that names the file.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder", f"give {option} the name of a file")
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists already", f"choose another {option}, or give --overwrite to replace it")


def check_output_folder(path: Path, overwrite: bool) -> None:
    """Raise UserError when `path` exists and may not be replaced: without `overwrite`, or because others made it."""
    if not path.exists():
        return
    if not overwrite:
        raise UserError(f"{path} exists already", "choose another --out, or give --overwrite to replace it")
    ours = path.is_dir() and ((path / "run.json").exists() or not any(path.iterdir()))
    if not ours:
        raise UserError(
            f"{path} was not made by packtrain and is not replaced", "choose another --out, or move it away"
        )


class OutputFolder:
    """A folder built as `NAME.partial` and renamed to `NAME` by `publish()`; locked while it is being built.

    `stage` says who builds it: what an interrupted run of another stage left is never touched.
    `resume` keeps what an interrupted run of the same stage left. `overwrite` replaces an existing
    `NAME` that packtrain made (it holds a manifest) and that holds none of the `inputs`; it stays
    untouched until the new one is complete. Raises UserError when something is in the way.
    """

    def __init__(
        self,
        path: Path,
        stage: str,
        *,
        inputs: Iterable[Path] = (),
        overwrite: bool = False,
        resume: bool = False,
    ) -> None:
        self.path = path.resolve()
        if not self.path.name:
            raise UserError(f"{path} cannot be an output folder", "name a folder that is not there yet")
        self.partial = self.path.with_name(self.path.name + ".partial")
        self._bring_back_replaced()
        check_output_folder(self.path, overwrite)
        self._check_inputs(inputs)
        self.resumed = self._open_partial(stage, overwrite=overwrite, resume=resume)
        if resume and not self.resumed:
            say(f"nothing to resume in {self.partial}: starting from the beginning")

    def _bring_back_replaced(self) -> None:
        """A crash between the two renames of `publish` left the old folder under another name: take it back."""
        if self.path.exists() or not self.path.parent.is_dir():
            return
        pattern = re.compile(re.escape(f".{self.path.name}.") + r"\d+" + re.escape(_REPLACED))
        left = sorted(found for found in self.path.parent.iterdir() if pattern.fullmatch(found.name))
        if left:
            os.rename(left[-1], self.path)

    def _check_inputs(self, inputs: Iterable[Path]) -> None:
        for given in inputs:
            if given.resolve().is_relative_to(self.path):
                raise UserError(f"{self.path} would replace its own input {given}", "choose another --out")

    def _open_partial(self, stage: str, *, overwrite: bool, resume: bool) -> bool:
        """Make or take over the partial folder, locked and marked; whether there is something to resume."""
        found = self.partial.exists()
        if found:
            left = self._left_by(stage)
            if left != stage:
                raise UserError(f"{self.partial} was left by {left}", "finish or remove it, or choose another --out")
            self._lock()
            mark_stage(self.partial, stage)
            if not resume:
                if not overwrite and stage in RESUMABLE:
                    self.keep()
                    raise UserError(
                        f"an interrupted run left {self.partial}",
                        "give --resume to go on with it, or --overwrite to start again",
                    )
                shutil.rmtree(self.partial)
        if not self.partial.exists():
            self.partial.mkdir(parents=True)
            mark_stage(self.partial, stage)
            self._lock()
        return found and resume

    def _left_by(self, stage: str) -> str:
        """The stage that made the partial folder; `stage` itself when it is empty, as a crash at birth leaves it."""
        if (self.partial / _MARK).exists():
            return (self.partial / _MARK).read_text()
        return "something else" if any(self.partial.iterdir()) else stage

    def _lock(self) -> None:
        self._held = open(self.partial / _LOCK, "w")  # noqa: SIM115 - held until the folder is published or dropped
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another command is writing {self.path}", "wait until it has ended") from error

    def publish(self) -> None:
        """Give the finished folder its final name; a replaced folder is removed afterwards."""
        for file in self.partial.rglob("*"):
            if file.is_file():
                with open(file, "rb") as handle:
                    os.fsync(handle.fileno())
        replaced = self.path.with_name(f".{self.path.name}.{os.getpid()}{_REPLACED}")
        if self.path.exists():
            os.rename(self.path, replaced)
        os.rename(self.partial, self.path)
        fsync_folder(self.path.parent)
        for name in (
            _MARK,
            _LOCK,
            JOURNAL,
        ):  # after the rename: until then a crash leaves a folder that says whose it is
            (self.path / name).unlink(missing_ok=True)
        if replaced.exists():
            shutil.rmtree(replaced)
        self._held.close()

    def clear(self) -> None:
        """Remove what an interrupted run left in the unfinished folder, which stays locked."""
        for found in self.partial.iterdir():
            if found.name not in (_MARK, _LOCK):
                shutil.rmtree(found) if found.is_dir() else found.unlink()

    def keep(self) -> None:
        """Leave the unfinished folder for a resume."""
        self._held.close()

    def discard(self) -> None:
        """Remove the unfinished folder: for what is not worth resuming."""
        shutil.rmtree(self.partial, ignore_errors=True)
        self._held.close()


def mark_stage(partial: Path, stage: str) -> None:
    """Say in a partial folder which stage it belongs to."""
    with atomic_file(partial / _MARK) as file:
        file.write(stage)


@contextmanager
def output_folder(path: Path, stage: str, *, inputs: Iterable[Path] = (), overwrite: bool = False) -> Iterator[Path]:
    """The partial folder of `path`, published when the block ends well, discarded when it fails."""
    folder = OutputFolder(path, stage, inputs=inputs, overwrite=overwrite)
    try:
        yield folder.partial
        folder.publish()
    except BaseException:
        folder.discard()
        raise
