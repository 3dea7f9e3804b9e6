"""`run.json`: beside every output, what it was made from, with what, and what came out.

Inputs and outputs are named with their SHA-256, so any stage can tell whether what it needs is
what it was, and a reader can prove that two results are the same. Environment variables, keys and
tokens are never recorded.
"""

import hashlib
import json
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from packtrain.core.atomic import atomic_file
from packtrain.core.errors import UserError

NAME = "run.json"
_RECORDED = ("packtrain", "torch", "transformers", "tokenizers", "safetensors", "numpy")


def sha256_of_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hashes(path: Path, hash_of: Callable[[Path], str] = sha256_of_file) -> dict[str, str]:
    """SHA-256 of a file, or of every file in a folder by relative name (manifests and hidden files left out)."""
    if path.is_file():
        return {path.name: hash_of(path)}
    found = (file for file in sorted(path.rglob("*")) if file.is_file() and file.name != NAME)
    names = {file: file.relative_to(path) for file in found}
    return {
        name.as_posix(): hash_of(file)
        for file, name in names.items()
        if not any(part.startswith(".") for part in name.parts)
    }


def digest(value: Any) -> str:
    """Hex SHA-256 of a JSON value in canonical form: equal values, equal digests.

    Half a surrogate pair, which JSON can name and UTF-8 cannot, counts by its code.
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide results."""
    return dict(_versions())


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    """The same; to be asked once, because it reads many files."""
    found = [("python", platform.python_version())]
    for package in _RECORDED:
        with suppress(PackageNotFoundError):
            found.append((package, version(package)))
    return tuple(found)


def utc_now() -> str:
    """The time in UTC, to the second, in a form that sorts."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@dataclass(frozen=True)
class Manifest:
    """The record of one stage."""

    stage: str
    settings: Mapping[str, Any]
    """The resolved recipe, or the part of it that the stage depends on."""
    inputs: Mapping[str, Mapping[str, str]]
    """Role of an input (`base`, `train` ...) to its files and their SHA-256."""
    outputs: Mapping[str, str]
    """Files made, relative to the manifest's folder, and their SHA-256."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """What was measured: counts, losses, seconds."""
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=versions)
    finished: str = field(default_factory=utc_now)

    def write(self, folder: Path) -> None:
        """Write `run.json` into `folder`, atomically and last."""
        with atomic_file(folder / NAME) as file:
            json.dump(asdict(self), file, indent=2, ensure_ascii=False)
            file.write("\n")


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest in `folder`; None when there is none; UserError when it cannot be read."""
    path = folder / NAME
    if not path.exists():
        return None
    try:
        return Manifest(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} is not a manifest ({error})", "remove the folder and make it again") from error
