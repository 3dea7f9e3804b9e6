"""Output folders of work that may be interrupted: what is finished of it is kept."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packtrain.core.atomic import OutputFolder
from packtrain.core.manifest import digest, versions
from packtrain.core.progress import say
from packtrain.weights.shard_jobs import begun_as, read_journal


@dataclass(frozen=True)
class ResumableOutput:
    """A folder that is being filled."""

    partial: Path
    identity: str
    """Of the work: only a run with the same one may go on with what it left."""

    @property
    def bytes_there(self) -> int:
        """Bytes of the files that an interrupted run left."""
        return sum(path.stat().st_size for path in self.partial.iterdir() if path.is_file())


@contextmanager
def resumable_output(
    out: Path, stage: str, inputs: Sequence[Path], settings: Any, *, overwrite: bool, resume: bool
) -> Iterator[ResumableOutput]:
    """The partial folder of `out`, published when the block ends well.

    When it fails and some files are finished, these are kept for a run with `resume`; otherwise nothing is.
    What a run with another identity left is an error for `resume` alone, and removed if `overwrite` is given too.
    The identity is that of stage, settings, version, and every input file by name, size and time of change.
    """
    folder = OutputFolder(out, stage, inputs=inputs, overwrite=overwrite, resume=resume)
    try:
        seen = [[str(given.resolve()), _files(given)] for given in inputs]
        identity = digest([stage, settings, versions().get("packtrain"), seen])
        if resume and overwrite and begun_as(folder.partial) != identity:
            folder.clear()
        for left in folder.partial.rglob(".*.tmp"):  # by a run that was killed while it wrote
            left.unlink()
        yield ResumableOutput(folder.partial, identity)
        folder.publish()
    except BaseException:
        if read_journal(folder.partial).count("\n") > 1:
            folder.keep()
            say(f"what is finished stays in {folder.partial}: give --resume to go on")
        else:
            folder.discard()
        raise


def _files(folder: Path) -> list[list[Any]]:
    stats = ((path, path.stat()) for path in sorted(folder.iterdir()) if path.is_file())
    return [[path.name, stat.st_size, stat.st_mtime_ns] for path, stat in stats]
