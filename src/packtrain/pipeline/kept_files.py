"""What people put into the folder that a stage makes: a card, licences, pictures. It outlives the folder.

Before a stage makes its folder anew, such files get a second name beside the records of the stages; when the new folder
is recorded they go into it. Until then they lie in both places, so a kill at any moment loses none.
"""

import filecmp
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from packtrain.core.beside import BESIDE, is_beside
from packtrain.core.progress import say

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".index.json")
"""Files that would be taken for the new model's, and were made from the former one."""


def keep_files(out: Path, kept: Path, found: Mapping[str, str], recorded: Mapping[str, str]) -> None:
    """Give the files of people in `out` a second name in the folder `kept`, which then holds these alone.

    `found` and `recorded`: the hashes of the folder's files as they are, and as the stage made them.
    """
    shutil.rmtree(kept, ignore_errors=True)
    for name in _of_people(out, found, recorded):
        (kept / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(out / name, kept / name, follow_symlinks=False)
        except OSError:  # a file system without hard links
            shutil.copy2(out / name, kept / name, follow_symlinks=False)


def _of_people(out: Path, found: Mapping[str, str], recorded: Mapping[str, str]) -> Iterator[str]:
    """The files that were added, and the cards that were replaced; of hidden ones those that are published."""
    for name, sha256 in found.items():
        if name not in recorded or (is_beside(name) and recorded[name] != sha256):
            yield name
    for pattern in BESIDE:
        if pattern.startswith("."):
            yield from (file.relative_to(out).as_posix() for file in sorted(out.glob(pattern)) if file.is_file())


def give_back(name: str, out: Path, kept: Path, found: Mapping[str, str], recorded: Mapping[str, str]) -> None:
    """Move what `kept` holds into the folder `out`, which the stage `name` has made; says what.

    A card takes the place of the one that was made. What cannot go there, weights and files whose name is taken, is
    left beside it in `OUT.added-N`.
    """
    if not kept.is_dir():
        return
    moved, left = [], []
    for file in [path for path in sorted(kept.rglob("*")) if not path.is_dir() or path.is_symlink()]:
        each = file.relative_to(kept).as_posix()
        target, free = out / each, is_beside(each)
        taken = os.path.lexists(target)
        if taken and (_alike(file, target) or (free and found.get(each) != recorded.get(each))):
            file.unlink()  # it is there, or a newer one
        elif each.endswith(_WEIGHTS) or (taken and not free):
            left.append(each)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, target)
            moved.append(each)
    if moved:
        say(f"{name}: kept in {out}: {', '.join(moved)}")
    if left:
        aside = unused(out, "added")
        os.rename(kept, aside)
        say(f"{name}: of the former {out.name}, kept in {aside}: {', '.join(left)}")
    else:
        shutil.rmtree(kept)


def _alike(file: Path, other: Path) -> bool:
    try:
        return filecmp.cmp(file, other, shallow=False)
    except OSError:  # a link that leads nowhere from here
        return False


def unused(out: Path, word: str) -> Path:
    """The first of `OUT.WORD-1`, `OUT.WORD-2` ... that is not there."""
    number = 1
    while (aside := out.with_name(f"{out.name}.{word}-{number}")).exists():
        number += 1
    return aside
