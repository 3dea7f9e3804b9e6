"""Where the raw files of a source are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packtrain.core.manifest import hashes, sha256_of_file
from packtrain.core.progress import progress
from packtrain.core.recipe import Source
from packtrain.data.format import open_format
from packtrain.data.reading.byte_stream import STDIN
from packtrain.data.reading.containers import input_bytes, read_chunks, records_of
from packtrain.data.reading.hub import HubReference, hub_reference
from packtrain.data.reading.source_files import source_files
from packtrain.data.records import Record


@dataclass(frozen=True, slots=True)
class Located:
    """The raw files of a source, in the order in which they are read."""

    path: Path
    """What the user gave, a beginning `~` resolved."""
    files: Sequence[Path | HubReference]
    """Empty when the format reads `path` in its own way."""
    missing: bool = False

    @property
    def local(self) -> list[Path]:
        """The inputs on this machine."""
        files = [file for file in self.files if isinstance(file, Path) and file != STDIN]
        return files or ([self.path] if self.path.exists() else [])

    @property
    def is_stdin(self) -> bool:
        """Whether the records come from standard input or another pipe, which can be read once."""
        return any(isinstance(file, Path) and _is_pipe(file) for file in self.files)

    def state(self) -> list[list[object]]:
        """What changes when an input does, without reading it: paths, sizes and times of change; commits on the Hub."""
        found: list[list[object]] = [[str(file)] for file in self.files if isinstance(file, HubReference)]
        folders = [path for path in self.local if path.is_dir()]
        inside = (file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file())
        for path in (*(place for place in self.local if not _is_pipe(place)), *inside):
            status = path.stat()
            found.append([str(path.resolve()), status.st_size, status.st_mtime_ns])
        return found

    def hashes(self) -> dict[str, str]:
        """SHA-256 of each local file by name; the commit of a data set on the Hub; nothing for a pipe."""
        if not self.files:
            return hashes(self.path)
        found = {}
        for file in self.files:
            if isinstance(file, HubReference):
                found[str(file)] = f"commit {file.resolved_revision}"
            elif not _is_pipe(file):
                found[file.name] = sha256_of_file(file)
        return found


def _is_pipe(path: Path) -> bool:
    return path == STDIN or (path.exists() and not path.is_file() and not path.is_dir())


def locate(source: Source) -> Located:
    """The raw files of a source; `missing` when there is nothing at its path. UserError for a folder without them."""
    form = open_format(source.format)
    path = source.file
    somewhere = path.exists() or path == STDIN or hub_reference(source.path) is not None
    if not somewhere:
        return Located(path, [], missing=True)
    if form.reads_its_own:
        return Located(path, [])
    return Located(path, source_files(source.path, form.about.files))


def on_the_hub(source: Source) -> bool:
    """Whether a source is a data set of the Hub rather than a file or folder here."""
    return not source.file.exists() and hub_reference(source.path) is not None


def records_at(path: str, expected: Sequence[str]) -> Iterator[Record]:
    """The records of the raw files at `path`, read again in this process while a bar advances."""
    files = source_files(path, expected)
    with progress("counting with other options", input_bytes(files), unit="bytes") as advance:
        for chunk in read_chunks(files):
            yield from records_of(chunk)
            advance(chunk.input_bytes)
