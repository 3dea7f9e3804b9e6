"""What the user names as raw data - a file, a folder, a data set of the Hub - as the list of what is to be read."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from packtrain.core.errors import UserError
from packtrain.core.progress import say
from packtrain.data.reading.byte_stream import DATA_SUFFIXES, PACKED_SUFFIXES, STDIN
from packtrain.data.reading.hub import HubReference, hub_reference, resolved

_LISTED = 12
"""How many names of a folder's files an error shows."""
_WHAT = "give a file, a folder, - for standard input, or a data set of the Hub: owner/name[:config[:split]][@revision]"


def source_files(path: str, expected: Sequence[str]) -> list[Path | HubReference]:
    """What to read for `path`, in order.

    A file (`-` is standard input) stands for itself. Of a folder come the files that match the names or shell
    patterns in `expected`, in that order, packed or not; when none does, its one data file. What is no local path but
    looks like `owner/name[:config[:split]][@revision]` is a data set of the Hub, at the commit that it is at now.
    Raises UserError when nothing, or more than one thing, can be meant.
    """
    if path == str(STDIN):
        return [STDIN]
    if not path:
        raise UserError("the path of the raw data is empty", _WHAT)
    try:
        local = Path(path).expanduser()
        if local.is_dir():
            return [*_files_of(local, expected)]
        if local.exists():
            return [local]
        reference = hub_reference(path)
        if reference is not None:
            return [resolved(reference)]
        beside = _names(local.parent.iterdir()) if local.parent.is_dir() else ""
    except (OSError, ValueError, RuntimeError) as error:  # not allowed, no possible name, no such home
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}", _WHAT) from error
    raise UserError(f"there is no file or folder {path}" + (f" (beside it: {beside})" if beside else ""), _WHAT)


def _files_of(folder: Path, expected: Sequence[str]) -> list[Path]:
    """The raw files in a folder."""
    matching = {name: _matching(folder, name) for name in expected}
    found = list(dict.fromkeys(file for files in matching.values() for file in files))
    if found:
        missing = ", ".join(name for name, files in matching.items() if not files)
        if missing:
            say(f"{folder}: without {missing}, which is not there")
        return found
    data = [file for file in sorted(folder.iterdir()) if _is_data(file)]
    if len(data) == 1:
        return data
    looked_for = f"{', '.join(expected)} or one data file" if expected else "one data file"
    raise UserError(
        f"{folder} must hold {looked_for}; it holds {_names(folder.iterdir()) or 'nothing'}", "name the file itself"
    )


def _matching(folder: Path, name: str) -> list[Path]:
    """The files called `name` or matching that pattern; of a file that is there packed and unpacked, the unpacked."""
    found: dict[str, Path] = {}
    stem = name.removesuffix(Path(name).suffix)
    for pattern in (name, *(name + suffix for suffix in PACKED_SUFFIXES), f"{stem}.zip"):
        for file in sorted(folder.glob(pattern)):
            if file.is_file():
                found.setdefault(_unpacked_stem(file), file)
    return sorted(found.values())


def _unpacked_stem(file: Path) -> str:
    """The path without the suffixes of packing and container."""
    bare = file.with_suffix("") if file.suffix.lower() in PACKED_SUFFIXES else file
    return str(bare.with_suffix("") if bare.suffix.lower() in DATA_SUFFIXES else bare)


def _is_data(file: Path) -> bool:
    """Whether a folder's file looks like data by its name."""
    bare = file.with_suffix("") if file.suffix.lower() in PACKED_SUFFIXES else file
    known = bare.suffix.lower() in DATA_SUFFIXES or file.suffix.lower() == ".zip"
    return known and not file.name.startswith(".") and file.is_file()


def _names(files: Iterable[Path]) -> str:
    """The first few names, for an error message."""
    names = sorted(file.name for file in files if not file.name.startswith("."))
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
