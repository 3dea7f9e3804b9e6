"""Data sets of the Hugging Face Hub: which files a split consists of, fetched into the Hub's cache.

The `datasets` library tells which files a configuration and split consist of; they are read like local ones. So
records stay as they were written (in a table made of them all would have the same fields and types), errors name file
and line, and a second run needs no network. No code of a data set is ever run.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from packtrain.core.atomic import atomic_file
from packtrain.core.errors import UserError
from packtrain.core.manifest import digest
from packtrain.core.progress import say
from packtrain.data.reading.byte_stream import DATA_SUFFIXES, PACKED_SUFFIXES

_REFERENCE = re.compile(
    r"(?P<id>[\w-][\w.-]*/[\w-][\w.-]*)(:(?P<config>[^:@]*)(:(?P<split>[^:@]+))?)?(@(?P<revision>[^@\s]+))?"
)
_DEFAULT_SPLIT = "train"
_TIMEOUT_S = 30.0
_READ = ("json", "csv", "parquet")
"""Kinds of files, as `datasets` calls them, that the containers read."""


@dataclass(frozen=True, slots=True)
class HubReference:
    """A split of a data set on the Hub."""

    id: str
    """`owner/name`."""
    config: str | None = None
    """None: the default one."""
    split: str = _DEFAULT_SPLIT
    revision: str | None = None
    """Branch, tag or commit as given; None: main."""
    resolved_revision: str | None = None
    """The commit that is read."""

    def __str__(self) -> str:
        """How it is written on the command line, at the commit that is read."""
        config = "" if self.config is None and self.split == _DEFAULT_SPLIT else f":{self.config or ''}:{self.split}"
        revision = self.resolved_revision or self.revision
        return self.id + config + (f"@{revision}" if revision else "")


def hub_reference(text: str) -> HubReference | None:
    """What `owner/name[:config[:split]][@revision]` says (`owner/name::split` for the default configuration).

    None when it says none, and when it ends like the name of a data file.
    """
    found = _REFERENCE.fullmatch(text)
    if found is None or Path(text).suffix.lower() in (*DATA_SUFFIXES, *PACKED_SUFFIXES):
        return None
    return HubReference(found["id"], found["config"] or None, found["split"] or _DEFAULT_SPLIT, found["revision"])


def resolved(reference: HubReference) -> HubReference:
    """The same with the commit that its revision means now; without the network, the one that it meant last time.

    Raises UserError when there is no such data set or revision, or when it may not be read.
    """
    from huggingface_hub import HfApi

    with _hub_errors(reference):
        try:
            found = HfApi().dataset_info(reference.id, revision=reference.revision, timeout=_TIMEOUT_S)
        except Exception as error:
            fetched = _fetched(reference, reference.revision)
            if fetched is None or not _is_unreachable(error):
                raise
            say(f"no connection to the Hub: {reference.id} is read from the cache, at commit {fetched.commit}")
            return replace(reference, resolved_revision=fetched.commit)
    return replace(reference, resolved_revision=found.sha)


def hub_files(reference: HubReference) -> tuple[Path, ...]:
    """The files of the split, in order; what is not in the cache is fetched.

    Raises UserError when there is no such configuration or split, or when the network fails.
    """
    if reference.resolved_revision is None:
        reference = resolved(reference)
    fetched = _fetched(reference, reference.resolved_revision)
    if fetched is not None:
        return fetched.files
    from huggingface_hub import hf_hub_download

    with _hub_errors(reference):
        commit = reference.resolved_revision
        names = _names(reference)
        files = [hf_hub_download(reference.id, name, repo_type="dataset", revision=commit) for name in names]
        for revision in (reference.revision, commit):
            with atomic_file(_note(reference, revision)) as note:
                json.dump({"commit": commit, "files": names}, note)
    return tuple(map(Path, files))


def _names(reference: HubReference) -> list[str]:
    """The files of the split inside the repository, as the data set's card or its layout has it."""
    from datasets import load_dataset_builder

    prefix = f"hf://datasets/{reference.id}"
    builder = load_dataset_builder(prefix, reference.config, revision=reference.resolved_revision)
    kind = builder.info.builder_name
    if kind not in _READ:
        raise UserError(f"{reference} consists of {kind} files", f"what can be read: {', '.join(_READ)}")
    splits = {str(split): list(map(str, files)) for split, files in (builder.config.data_files or {}).items()}
    if reference.split not in splits:
        raise UserError(
            f"{reference} has no split {reference.split} (found: {', '.join(splits) or 'none'})",
            f"name one as in {reference.id}:{reference.config or ''}:SPLIT",
        )
    prefix = f"{prefix}@{reference.resolved_revision}/"
    elsewhere = next((file for file in splits[reference.split] if not file.startswith(prefix)), None)
    if elsewhere is not None:
        raise UserError(f"{reference} keeps its data elsewhere: {elsewhere}", "fetch the file, and give the file")
    return [file.removeprefix(prefix) for file in splits[reference.split]]


@dataclass(frozen=True, slots=True)
class _Fetched:
    """A split that was fetched before, all of it."""

    commit: str
    files: tuple[Path, ...]


def _fetched(reference: HubReference, revision: str | None) -> _Fetched | None:
    """What was noted for the split at `revision`; None when nothing was or when a file has left the cache."""
    from huggingface_hub import try_to_load_from_cache

    try:
        note = json.loads(_note(reference, revision).read_text(encoding="utf-8"))
        commit, names = str(note["commit"]), list(map(str, note["files"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    files = [try_to_load_from_cache(reference.id, name, repo_type="dataset", revision=commit) for name in names]
    whole = tuple(Path(file) for file in files if isinstance(file, str))
    return _Fetched(commit, whole) if len(whole) == len(names) else None


def _note(reference: HubReference, revision: str | None) -> Path:
    """Where in the cache it is noted which files the split has: a folder there may hold only some of them."""
    from huggingface_hub.constants import HF_HOME

    key = digest([reference.id, reference.config, reference.split, revision])
    return Path(HF_HOME) / "packtrain" / f"{key}.json"


def _is_unreachable(error: Exception) -> bool:
    """Whether there was no answer from the Hub: no network, offline mode, or a fault on its side."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code >= 500
    http_error = HfHubHTTPError.__mro__[1]  # of the HTTP library, which differs between versions
    return isinstance(error, http_error | ConnectionError | LocalEntryNotFoundError)


@contextmanager
def _hub_errors(reference: HubReference) -> Iterator[None]:
    """Raise whatever goes wrong on the way to the Hub as a UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # several libraries, each with errors of its own
        raise _hub_error(reference, error) from error


def _hub_error(reference: HubReference, error: Exception) -> UserError:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    reason = " ".join(str(error).split())[:300]
    if isinstance(error, GatedRepoError):
        return UserError(
            f"the data set {reference.id} is gated",
            f"agree to its terms on huggingface.co/datasets/{reference.id}, then set HF_TOKEN to a token of yours",
        )
    if isinstance(error, RepositoryNotFoundError):
        return UserError(
            f"there is neither a file or folder nor a data set on the Hub called {reference.id}",
            "check the name; a private data set needs HF_TOKEN",
        )
    if isinstance(error, RevisionNotFoundError):
        return UserError(f"the data set {reference.id} has no revision {reference.revision}", "name a branch or commit")
    if _is_unreachable(error):
        return UserError(
            f"{reference} is no local file and not in the Hub's cache, and the connection to the Hub fails ({reason})",
            "check the name, the network, HF_ENDPOINT and HF_HUB_OFFLINE; what was read once needs no network",
        )
    return UserError(
        f"{reference} cannot be read from the Hub ({reason})",
        "check configuration, split and revision; of a data set that needs code the Hub often has a copy without: "
        f"{reference.id}@refs/convert/parquet",
    )
