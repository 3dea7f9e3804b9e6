"""Proves that one flipped bit anywhere in a base's tensors or in a diff is told, with the tensor or file that has it.

`PACKTRAIN_FLIPS=400` flips that many, one after the other; which one, follows from its number.
"""

import contextlib
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from packtrain.core.errors import UserError
from packtrain.diff.check import check
from packtrain.diff.make import make_diff
from packtrain.diff.recover import recover

FLIPS = int(os.environ.get("PACKTRAIN_FLIPS", "24"))
CASES = [("exact", "safetensors"), ("float", "shards"), ("exact", "shards"), ("float", "safetensors")]
KINDS = ("data of the base", "header of the base", "data of the diff", "header of the diff", "manifest", "other file")
UNPROTECTED = ("README.md", "run.json")
"""Files of a diff that are meant to be edited, or that nothing is read from."""


class Flip(NamedTuple):
    """A bit, and what it belongs to."""

    path: Path
    bit: int
    named: str
    """The tensor or file that must be named."""


class Pair(NamedTuple):
    """A base, its diff and what recovery gives."""

    base: Path
    diff: Path
    tensors: dict[str, bytes]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory, llama_pair: Callable[..., tuple[Path, Path]]) -> list[Pair]:
    """A pair for each of `CASES`."""
    found = []
    for form, files in CASES:
        work = tmp_path_factory.mktemp("flips")
        base, tuned = llama_pair(work, torch.bfloat16, files)
        (tuned / "tokenizer.json").write_text('{"a": 1}')
        bound = 20_000 if files == "shards" else None
        make_diff(base, tuned, work / "diff", form=form, max_shard_bytes=bound)
        recover(base, work / "diff", work / "out")
        found.append(Pair(base, work / "diff", tensors(work / "out")))
    return found


def tensors(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def draw(pair: Pair, kind: str, chance: random.Random) -> Flip:
    """A bit of one kind, drawn evenly from those of a file that is drawn first."""
    what, _, side = kind.partition(" of the ")
    if what in ("data", "header"):
        path = chance.choice(sorted((pair.base if side == "base" else pair.diff).glob("*.safetensors")))
        data = path.read_bytes()
        data_begin = 8 + int.from_bytes(data[:8], "little")
        if what == "header":
            return Flip(path, chance.randrange(8 * data_begin), str(path))
        bit = chance.randrange(8 * data_begin, 8 * len(data))
        entries = json.loads(data[8:data_begin])
        del entries["__metadata__"]
        place = bit // 8 - data_begin
        [name] = (n for n, e in entries.items() if e["data_offsets"][0] <= place < e["data_offsets"][1])
        return Flip(path, bit, name)
    if what == "manifest":
        path = pair.diff / "manifest.json"
    else:
        files = [path for path in pair.diff.rglob("*") if path.is_file() and path.suffix != ".safetensors"]
        path = chance.choice(sorted(path for path in files if path.name not in (*UNPROTECTED, "manifest.json")))
    return Flip(path, chance.randrange(8 * path.stat().st_size), str(path))


def means_the_same(before: bytes, after: bytes, path: Path) -> bool:
    """Whether a flip is within what says nothing about tensors: a header's `__metadata__`, an index's `metadata`."""
    if path.suffix == ".safetensors":
        length = int.from_bytes(before[:8], "little")
        if after[:8] != before[:8]:
            return False
        before, after, key = before[8 : 8 + length], after[8 : 8 + length], "__metadata__"
    else:
        key = "metadata"
    try:
        contents = json.loads(before), json.loads(after)
    except ValueError:
        return False
    for content in contents:
        content.pop(key, None)
    return bool(contents[0] == contents[1])


def mentions(message: str, flip: Flip, before: bytes, after: bytes) -> bool:
    """Whether the tensor or file is named; a flip in a header may show as a tensor that is now called otherwise."""
    if flip.named in message or (flip.named == str(flip.path) and flip.path.name in message):
        return True
    if flip.named != str(flip.path) or flip.path.suffix != ".safetensors":
        return False
    names = set()
    for data in (before, after):
        with contextlib.suppress(ValueError):
            names |= set(json.loads(data[8 : 8 + int.from_bytes(before[:8], "little")]))
    return any(name in message for name in names)


@pytest.mark.parametrize("number", range(FLIPS))
def test_a_flipped_bit_is_told(pairs: list[Pair], tmp_path: Path, number: int) -> None:
    pair, kind = pairs[number % len(CASES)], KINDS[number // len(CASES) % len(KINDS)]
    flip = draw(pair, kind, random.Random(number))
    before = flip.path.read_bytes()
    after = bytearray(before)
    after[flip.bit // 8] ^= 1 << flip.bit % 8
    flip.path.write_bytes(after)
    try:
        recover(pair.base, pair.diff, tmp_path / "out")
        told = None
    except UserError as error:
        told = error.message
    try:
        problems = [f"{problem.name} in {flip.path}" for problem in check(pair.diff, pair.base).problems]
    except UserError as error:
        problems = [error.message]
    finally:
        flip.path.write_bytes(before)
    print(f"{kind}, bit {flip.bit} of {flip.path.name}: {told}")
    if told is None:
        assert means_the_same(before, bytes(after), flip.path), (flip, before[flip.bit // 8 - 20 : flip.bit // 8 + 20])
        assert tensors(tmp_path / "out") == pair.tensors
        return
    assert mentions(told, flip, before, bytes(after)), (flip, told)
    assert any(mentions(problem, flip, before, bytes(after)) for problem in problems), (flip, problems)
    assert not (tmp_path / "out").exists()
