"""Encoded conversations on disk, memory-mapped: what training reads without ever holding it.

A folder of flat files, little-endian: `ids.i32` and `learnt.u8` with one entry per token, `offsets.i64` with the end of
each row, `identities.jsonl` with `[dataset, id]` per row and `identity_offsets.i64` with where each of these ends;
`summary.json`, written last, has the counts.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from packtrain.prompts.encode import IGNORED, Example

IDS, LEARNT, OFFSETS = "ids.i32", "learnt.u8", "offsets.i64"
IDENTITIES, IDENTITY_OFFSETS, SUMMARY = "identities.jsonl", "identity_offsets.i64", "summary.json"


class TokenFile(Sequence[Example]):
    """The examples of a folder, each read when it is asked for; `input_ids` and `labels` are arrays."""

    def __init__(self, folder: Path) -> None:
        """ValueError when a file is missing or not as long as `summary.json` says."""
        summary: dict[str, Any] = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        self.dropped = Counter[str](summary["dropped"])
        self.cut_at_limit: int = summary["cut_at_limit"]
        self.conversations: int = summary["conversations"]
        """Records of the encoded file, dropped ones included."""
        self._ids = _mapped(folder / IDS, "<i4", summary["tokens"])
        self._learnt = _mapped(folder / LEARNT, "u1", summary["tokens"])
        self._offsets = _mapped(folder / OFFSETS, "<i8", summary["examples"])
        self._names = _mapped(folder / IDENTITIES, "u1", summary["identity_bytes"])
        self._name_offsets = _mapped(folder / IDENTITY_OFFSETS, "<i8", summary["examples"])

    def __len__(self) -> int:
        return len(self._offsets)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        row = range(len(self))[index]
        place = slice(_end(self._offsets, row - 1), _end(self._offsets, row))
        ids = np.array(self._ids[place], np.int32)
        dataset, identity = self.identity(row)
        return Example(dataset, identity, ids, np.where(self._learnt[place], ids, IGNORED))

    def identity(self, row: int) -> tuple[str, str]:
        """Data set and id of an example, without its tokens."""
        name = self._names[_end(self._name_offsets, row - 1) : _end(self._name_offsets, row)]
        dataset, identity = json.loads(name.tobytes())
        return dataset, identity


def _end(ends: npt.NDArray[Any], row: int) -> int:
    return 0 if row < 0 else int(ends[row])


def _mapped(path: Path, dtype: str, count: int) -> npt.NDArray[Any]:
    if path.stat().st_size != count * np.dtype(dtype).itemsize:
        raise ValueError(f"{path} has {path.stat().st_size} bytes instead of {count * np.dtype(dtype).itemsize}")
    return np.memmap(path, dtype, "r", shape=(count,)) if count else np.zeros(0, dtype)
