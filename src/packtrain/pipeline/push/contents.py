"""Which files of an output folder are published: those that its `run.json` vouches for, the card and the licences."""

import fnmatch
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from packtrain.core.beside import CARD, fits_path, is_beside
from packtrain.core.errors import UserError
from packtrain.core.manifest import NAME, Manifest, read_manifest, sha256_of_file
from packtrain.core.progress import progress

NEVER = (
    *("optimizer.*", "scheduler.*", "scaler.*", "rng_state*", "training_args.bin", "trainer_state.json"),
    *("*.distcp", "*_optim_states.pt", "*_model_states.pt", "checkpoint-*", "checkpoints", "global_step*"),
    *("*.partial", "*.tmp", "*.incomplete", "*.lock"),
)
"""Names, of files or folders, that are states of a run and not its result."""
OF_THIS_MACHINE = ("tensorboard", "wandb", "__pycache__", ".*")
"""Names, of files or folders, that say more of the machine than of the model: they stay here."""
_FINGERPRINT = "tensors"
"""What stands among the outputs in a manifest for all tensors at once (core/manifest.py, weights/fingerprint.py)."""


@dataclass(frozen=True, slots=True)
class File:
    """A file that is to be published."""

    name: str
    """In the folder and in the repository, with `/`."""
    path: Path
    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What a folder holds, apart for what is published and what stays."""

    manifest: Manifest
    files: tuple[File, ...]
    """In the order of their names."""
    left_out: tuple[str, ...]
    """Files that are not published."""


def contents(folder: Path, include: Sequence[str] = ()) -> Contents:
    """The files of `folder` that are published, each hashed and compared with the folder's `run.json`.

    Published are the outputs that `run.json` lists, `run.json`, what people put beside them (`core.beside`), and files
    whose name or path a pattern in `include` fits (`*.png`); what else is there is left out. UserError when the folder
    is no finished output of packtrain, when a file is missing or is not what it was, when a state of a run is among the
    files, and for a pattern that fits nothing.
    """
    manifest = _manifest(folder)
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    _check_links(folder, found)
    wanted = [name for name in found if _is_published(name, manifest, include)]
    for pattern in include:
        if not any(_fits(name, [pattern]) for name in found):
            raise UserError(f"no file of {folder} is called {pattern}", "--include takes a name, a path or a pattern")
    states = [name for name in wanted if _has_part(name, NEVER)]
    if states:
        raise UserError(
            f"{folder} holds states of a run, which are not for publishing: {_some(states)}",
            "move them away; what is published is the finished folder that --out named",
        )
    return _compared(folder, manifest, [(name, found[name]) for name in wanted], found.keys() - set(wanted))


def _manifest(folder: Path) -> Manifest:
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder", "give the output folder of packtrain train, diff make, data mix ...")
    if folder.name.endswith(".partial") or (folder / ".stage").exists():
        raise UserError(f"{folder} is not finished", "finish the command that makes it with --resume")
    manifest = read_manifest(folder)
    if manifest is None:
        inside = [path.parent.name for path in sorted(folder.glob(f"*/{NAME}"))]
        hint = f"perhaps you mean one in it: {', '.join(inside)}" if inside else f"what packtrain makes holds a {NAME}"
        raise UserError(f"{folder} was not made by packtrain: it has no {NAME}", hint)
    return manifest


def _check_links(folder: Path, found: dict[str, Path]) -> None:
    """Raise UserError for a file that lies elsewhere: a link would publish what the folder does not show."""
    outside = [name for name, path in found.items() if not path.resolve().is_relative_to(folder.resolve())]
    if outside:
        raise UserError(f"links out of {folder}: {_some(outside)}", "put the files themselves there")


def _is_published(name: str, manifest: Manifest, include: Sequence[str]) -> bool:
    if _fits(name, include) or is_beside(name) or name == NAME:
        return True
    if _has_part(name, OF_THIS_MACHINE):
        return False
    return name in manifest.outputs or (_FINGERPRINT in manifest.outputs and _is_weight(name))


def _is_weight(name: str) -> bool:
    """Whether a file holds tensors, or says which file does, or how they are verified."""
    weights = ("*.safetensors", "*.bin", "*.safetensors.index.json", "*.bin.index.json")
    return fits_path(name, (*weights, "manifest.json", "recovery.json"))


def _fits(name: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern fits the path or its last part."""
    return any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns for text in (name, name.rpartition("/")[2]))


def _has_part(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(part, pattern) for pattern in patterns for part in name.split("/"))


def _compared(folder: Path, manifest: Manifest, wanted: list[tuple[str, Path]], others: Collection[str]) -> Contents:
    recorded = {name: stated for name, stated in manifest.outputs.items() if name != _FINGERPRINT}
    kept = {name for name, _ in wanted}
    here = kept | set(others)
    wrong = [f"{name} is missing" for name in recorded if name not in here and not _has_part(name, OF_THIS_MACHINE)]
    sizes = {path: path.stat().st_size for _, path in wanted}
    files = []
    with progress("hashing", sum(sizes.values()), unit="bytes") as advance:
        for name, path in wanted:
            files.append(File(name, path, sizes[path], sha256_of_file(path)))
            if name in recorded and name != CARD and files[-1].sha256 != recorded[name]:
                wrong.append(f"{name} has other bytes than recorded")
            advance(sizes[path], note=name)
    if wrong:
        raise UserError(
            f"{folder} is not what its {NAME} says: {_some(wrong)}",
            "make it again, or copy it again: somebody else can only trust what the record fits",
        )
    if not any(name in kept for name in recorded) and _FINGERPRINT not in manifest.outputs:
        raise UserError(f"{folder} holds nothing that its {NAME} lists", "publish the folder that a stage made")
    return Contents(manifest, tuple(files), tuple(sorted(others)))


def _some(names: Sequence[str], shown: int = 5) -> str:
    """The first few, and how many more there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
