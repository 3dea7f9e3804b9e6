"""Where a preparation writes: a folder, or one `.jsonl` file with its companions beside it. Whole or not at all."""

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packtrain.core.atomic import OutputFolder, check_output_file, fsync_folder
from packtrain.core.errors import UserError
from packtrain.core.manifest import NAME as RUN
from packtrain.core.manifest import hashes
from packtrain.data.reading.byte_stream import DATA_SUFFIXES, PACKED_SUFFIXES

TRAIN, HELD_OUT, DROPPED, MIXTURE = "train.jsonl", "held_out.jsonl", "dropped.jsonl", "mixture.json"
SUFFIX = ".jsonl"
STAGE = "data"
FINISHED_SOURCES = ".journal.jsonl"
"""In an unfinished folder: the sources that are complete."""


@dataclass(frozen=True)
class Files:
    """A folder in the making, whose files get their final names when all of them are there."""

    folder: Path
    names: dict[str, str]
    """Name in the folder -> final name, where the two differ."""

    def hashes(self) -> dict[str, str]:
        """SHA-256 of the files so far, by their final names."""
        return {self.names.get(name, name): value for name, value in hashes(self.folder).items()}


def companion(out: Path, name: str) -> Path:
    """Where the file that would be `name` in a folder lies beside `out`: `tulu.jsonl` has `tulu.dropped.jsonl`."""
    return out if name == TRAIN else out.with_name(f"{out.name.removesuffix(SUFFIX)}.{name}")


@contextmanager
def output(out: Path, *, inputs: Iterable[Path], overwrite: bool, resume: bool = False) -> Iterator[Files]:
    """The files of `out`, published when the block ends well; UserError when something is in the way.

    What an interrupted run has finished is left for `resume`.
    """
    if out.suffix != SUFFIX:
        if out.suffix.lower() in (*DATA_SUFFIXES, *PACKED_SUFFIXES):
            raise UserError(f"{out} would be a folder: files are written as {SUFFIX}", f"name it {out.stem}{SUFFIX}")
        folder = OutputFolder(out, STAGE, inputs=inputs, overwrite=overwrite, resume=resume)
        with _kept_when_interrupted(folder):
            yield Files(folder.partial, {})
            folder.publish()
        return
    names = (HELD_OUT, DROPPED, MIXTURE, RUN, TRAIN)  # the data themselves last
    final = {name: companion(out, name) for name in names}
    _check_files(out, final.values(), inputs, overwrite)
    folder = OutputFolder(out.with_name(f".{out.name}.files"), STAGE, overwrite=overwrite, resume=resume)
    with _kept_when_interrupted(folder):
        yield Files(folder.partial, {name: path.name for name, path in final.items()})
        for name, path in final.items():
            _publish(folder.partial / name, path)
        fsync_folder(out.parent)
        folder.discard()


@contextmanager
def _kept_when_interrupted(folder: OutputFolder) -> Iterator[None]:
    """Keeps what is worth a resume when the block is interrupted, and nothing when it fails."""
    try:
        yield
    except KeyboardInterrupt:
        finished = folder.partial / FINISHED_SOURCES
        if finished.exists() and finished.stat().st_size:
            folder.keep()
        else:
            folder.discard()
        raise
    except BaseException:
        folder.discard()
        raise


def _check_files(out: Path, files: Collection[Path], inputs: Iterable[Path], overwrite: bool) -> None:
    for path in (out, *files):
        check_output_file(path, overwrite)
        if path.is_dir():
            raise UserError(f"{path} is a folder", "choose another --out")
    taken = {path.resolve() for path in files}
    for given in inputs:
        if given.resolve() in taken:
            raise UserError(f"{out} would replace its own input {given}", "choose another --out")


def _publish(made: Path, path: Path) -> None:
    """Give a file its final name; one of an earlier run that has no successor goes."""
    if not made.exists() or (made.name == DROPPED and not made.stat().st_size):
        path.unlink(missing_ok=True)
        return
    with open(made, "rb") as file:
        os.fsync(file.fileno())
    os.replace(made, path)
