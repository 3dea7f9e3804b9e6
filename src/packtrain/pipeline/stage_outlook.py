"""What has to be done with a stage, and why: told from its record, its settings, its inputs and its output."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from packtrain.core.atomic import atomic_file
from packtrain.core.beside import without_beside
from packtrain.core.manifest import digest, read_manifest, sha256_of_file
from packtrain.core.manifest import hashes as hash_files

UNCHANGED, EDITED = "unchanged", "edited by hand, left as it is"
Action = Literal["skip", "run", "resume", "depends", "blocked"]
"""`depends`: what an earlier stage makes decides. `blocked`: something is there that no run here made."""
_SHOWN = 3
"""Changed keys and files that a reason names."""
_SHOWN_CHARACTERS = 40
_NOTHING = "nothing"


def _no_trace() -> str:
    return ""


@dataclass(frozen=True)
class Reads:
    """What a stage reads of an input folder."""

    names: Callable[[str], bool]
    """Whether a file of this name, relative to the folder, is read."""
    content: Callable[[Path], str] | None = None
    """Digest of what in a file decides the output: equal ones are as good as equal bytes. None: the bytes decide."""


@dataclass(frozen=True)
class Stage:
    """One step of a pipeline: files in, a folder out."""

    name: str
    out: Path
    settings: Mapping[str, Any]
    """The part of the recipe that decides the output."""
    inputs: Mapping[str, Path]
    """Role to file or folder. Of a folder everything is read but cards and licences (`core.beside`)."""
    make: Callable[[bool], Mapping[str, Any]]
    """Makes `out` (replacing it if it is there) and returns its figures; the argument says whether an
    interrupted run of the same settings and inputs may be resumed."""
    resumable: bool = False
    adoptable: bool = False
    """Whether its manifest holds all its figures, so that a crash right after it was published costs nothing."""
    edited_by_hand: bool = False
    """Whether people are expected to edit the output: then an edit is kept."""
    reads: Mapping[str, Reads] = field(default_factory=dict)
    """Role to what is read, of input folders of which less is."""
    what: str = ""
    """What it does, in a few words."""
    left: Callable[[], str] = _no_trace
    """How far an interrupted run came, as in `after step 40`; "" where nobody counted."""


class FileHashes:
    """SHA-256 of files, remembered by path, size and modification time, so that models are not read at every run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, list[Any]] = json.loads(path.read_text()) if path.exists() else {}

    def of(self, place: Path) -> dict[str, str]:
        """As `core.manifest.hashes`, reading only what changed."""
        return hash_files(place, self._of_file)

    def of_content(self, file: Path, content: Callable[[Path], str]) -> str:
        """Digest of the content of a file, remembered likewise."""
        return self._of_file(file, content)

    def _of_file(self, file: Path, content: Callable[[Path], str] | None = None) -> str:
        state = file.stat()
        key, stamp = str(file.resolve()), [state.st_size, state.st_mtime_ns]
        key = f"{key}: {content.__name__}" if content else key
        remembered = self.known.get(key)
        if remembered is None or remembered[:2] != stamp:
            remembered = self.known[key] = [*stamp, (content or sha256_of_file)(file)]
        return str(remembered[2])

    def save(self) -> None:
        """Remember for the next run."""
        with atomic_file(self.path) as file:
            json.dump(self.known, file)


@dataclass(frozen=True)
class Present:
    """Settings of a stage, and the hashes of its inputs by role; None for one that is not there yet."""

    settings: Mapping[str, Any]
    inputs: Mapping[str, Mapping[str, str] | None]
    contents: Mapping[str, Mapping[str, str]]
    """Digests of what decides the output in inputs whose bytes may change beside that, by role and name."""

    @property
    def digest(self) -> str:
        """Of both, as an interrupted run has noted it."""
        return digest(self.as_json())

    def as_json(self) -> dict[str, Any]:
        """Both as plain JSON values."""
        return {"settings": self.settings, "inputs": self.inputs}


@dataclass(frozen=True)
class Outlook:
    """What is to be done with a stage."""

    action: Action
    reason: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    """Of a stage that is skipped."""
    adopted: bool = False
    """Whether it was finished by a run that could not note it any more."""
    edited: bool = False
    """Whether its output was edited by hand and will be made anew all the same."""


def look_at(stage: Stage, hashes: FileHashes, coming: Mapping[Path, str] | None = None) -> Present:
    """Settings and inputs as they are now; inputs that lie in the folders `coming` are still to be made."""
    found: dict[str, dict[str, str] | None] = {}
    contents: dict[str, dict[str, str]] = {}
    for role, place in stage.inputs.items():
        if _maker(place, coming or {}) or not place.exists():
            found[role] = None
            continue
        files = found[role] = _read_of(stage, role, hashes.of(place))
        if role in stage.reads and (content := stage.reads[role].content):
            contents[role] = {name: hashes.of_content(place / name, content) for name in files}
    return Present(json.loads(json.dumps(stage.settings)), found, contents)


def _read_of(stage: Stage, role: str, files: Mapping[str, str]) -> dict[str, str]:
    """Those of the files of an input, name to hash, which the stage reads."""
    if not stage.inputs[role].is_dir():
        return dict(files)
    reads = stage.reads.get(role)
    return {name: sha256 for name, sha256 in without_beside(files).items() if reads is None or reads.names(name)}


def outlook(stage: Stage, records: Path, hashes: FileHashes, coming: Mapping[Path, str]) -> Outlook:
    """What has to be done with a stage when the stages that make the folders `coming` are done before."""
    record, started = read_json(records / f"{stage.name}.json"), read_json(records / f"{stage.name}.started")
    if record is None and started is None:
        if stage.out.exists():
            return Outlook("blocked", f"{stage.out} exists, but no run here made it")
        return Outlook("run", "not made yet")
    now = look_at(stage, hashes, coming)
    found = None if record is None else _recorded(stage, record, now, hashes, coming)
    if started is None or (found is not None and found.action == "skip"):
        return found or Outlook("run", "not made yet")
    makers = _makers(stage, coming)
    if makers:
        return found or Outlook("run", f"interrupted, and {' and '.join(makers)} comes first: begins anew")
    edited = found is not None and found.edited
    return replace(_interrupted(stage, started, now), edited=edited)


def _interrupted(stage: Stage, started: Any, now: Present) -> Outlook:
    """The outlook of a stage that a run has begun and not noted as done."""
    if started.get("digest") != now.digest:
        return Outlook("run", "interrupted, and settings or inputs are others now: begins anew")
    figures = _figures_since(stage, started)
    if figures is not None:
        return Outlook("skip", "finished by the run before", figures, adopted=True)
    if not stage.resumable:
        return Outlook("run", "interrupted: begins anew")
    partial = stage.out.with_name(f"{stage.out.name}.partial")
    if not partial.exists():
        return Outlook("resume", "interrupted before anything could be kept")
    return Outlook("resume", f"interrupted, resuming {stage.left() or 'with what is complete'}")


def _recorded(stage: Stage, record: Any, now: Present, hashes: FileHashes, coming: Mapping[Path, str]) -> Outlook:
    """The outlook of a stage that was done before.

    Files that were added to its output do not count, nor does another card or licence; but to replace an output that
    people edit, and where they added files, is to replace an edited one.
    """
    makers = _makers(stage, coming)
    there = stage.out.exists()
    found = hashes.of(stage.out) if there else {}
    by_hand, recorded = stage.edited_by_hand, record["outputs"]
    counting = recorded if by_hand else without_beside(recorded)
    touched = [name for name, expected in counting.items() if found.get(name) != expected]
    edited = there and by_hand and bool(touched or found.keys() - recorded.keys())
    settings = list(_differences(record["settings"], now.settings))
    inputs = list(_changed_inputs(stage, record, now))
    if settings:
        return Outlook("run", f"changed: {_some(settings)}", edited=edited)
    if inputs:
        return Outlook("run", f"changed input: {', '.join(inputs)}", edited=edited)
    if not there:
        return Outlook("run", "its output is gone")
    if touched and not by_hand:
        return Outlook("run", f"its output was changed: {_some(touched)}")
    if makers:
        return Outlook("depends", f"only if {' or '.join(makers)} makes something else than before", edited=edited)
    if any(files is None for files in now.inputs.values()):
        absent = [role for role, files in now.inputs.items() if files is None]
        return Outlook("run", f"its input is not there: {', '.join(absent)}")
    return Outlook("skip", EDITED if touched else UNCHANGED, record["figures"])


def _changed_inputs(stage: Stage, record: Any, now: Present) -> Iterator[str]:
    """Each input that is there and is another one, with its files: `data (train.jsonl)`."""
    for role, files in now.inputs.items():
        before = record["inputs"].get(role)
        if before is not None:
            before = _read_of(stage, role, before)
        same = role in now.contents and record.get("contents", {}).get(role) == now.contents[role]
        if files is not None and before != files and not same:
            yield f"{role}{_files(before or {}, files)}"
    yield from (role for role in record["inputs"] if role not in now.inputs)


def read_json(file: Path, otherwise: Any = None) -> Any:
    """The value in a JSON file, or the other one where there is no file."""
    return json.loads(file.read_text()) if file.exists() else otherwise


def _maker(place: Path, coming: Mapping[Path, str]) -> str | None:
    """The stage that will make the file or folder; None when it is there for good."""
    return next((maker for folder, maker in coming.items() if place.is_relative_to(folder)), None)


def _makers(stage: Stage, coming: Mapping[Path, str]) -> list[str]:
    """The stages that will make inputs of this one."""
    return list(dict.fromkeys(maker for place in stage.inputs.values() if (maker := _maker(place, coming))))


def _figures_since(stage: Stage, started: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The figures of an output that was published after the stage was started; None when there is none."""
    if not stage.out.exists():
        return None
    if "figures" in started:
        figures: Mapping[str, Any] = started["figures"]
        return figures
    manifest = read_manifest(stage.out) if stage.adoptable else None
    return manifest.figures if manifest is not None and manifest.finished >= started["time"] else None


def _differences(before: Any, now: Any, key: str = "") -> Iterator[str]:
    """Each value that differs, as `sources.dolly.path a.json -> b.json`."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in dict.fromkeys([*before, *now]):
            yield from _differences(before.get(name), now.get(name), f"{key}.{name}" if key else name)
    elif before != now:
        text = any(isinstance(value, str) and "\n" in value for value in (before, now))
        yield f"{key}, another text" if text else f"{key} {_value(before)} -> {_value(now)}"


def _value(value: Any) -> str:
    text = _NOTHING if value in (None, "") else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _files(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """The files of an input that changed, in brackets."""
    changed = [name for name in dict.fromkeys([*before, *now]) if before.get(name) != now.get(name)]
    return f" ({_some(changed)})" if before else ""


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
