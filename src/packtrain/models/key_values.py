"""Keys and values of the rows that a model is working on, in storage that grows in place.

transformers' own cache is laid out anew for every token. Here each layer has room to spare, a shared beginning is held
once for all rows that have it, finished rows can leave and new ones join. Rows are right-aligned: their newest token is
in the last column. Columns that a row does not use are zero, and False in `mask`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from transformers.cache_utils import Cache

if TYPE_CHECKING:

    class DynamicLayer:
        """What is used of the layer of transformers' cache."""

        keys: torch.Tensor | None
        values: torch.Tensor | None
        is_initialized: bool

else:
    from transformers.cache_utils import DynamicLayer

SPARE_COLUMNS = 64
"""Tokens that storage has room for when it is laid out anew."""


class StoredLayer(DynamicLayer):
    """Keys and values of one layer, `[rows, heads, columns, width]` each."""

    def __init__(self, given: tuple[torch.Tensor, torch.Tensor] | None = None, spare: int = SPARE_COLUMNS) -> None:
        """Begin with `given` keys and values; a single row of them stands for as many as the first update has."""
        super().__init__()
        self.spare = spare
        self.columns = 0
        self._storage: tuple[torch.Tensor, torch.Tensor] | None = None
        if given is not None:
            self._storage, self.columns = given, given[0].shape[-2]
            self.keys, self.values, self.is_initialized = *given, True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All keys and values with the new ones `[rows, heads, new columns, width]` behind them."""
        end = self.columns + key_states.shape[-2]
        pair = (key_states, value_states)
        old = self._storage
        if old is None or old[0].shape[-2] < end or old[0].shape[0] != key_states.shape[0]:
            room = [(*states.shape[:2], end + self.spare, states.shape[-1]) for states in pair]
            new = (pair[0].new_empty(room[0]), pair[1].new_empty(room[1]))
            if old is not None:
                for target, source in zip(new, old, strict=True):
                    target[:, :, : self.columns] = source[:, :, : self.columns]
            self._storage = old = new
        for target, states in zip(old, pair, strict=True):
            target[:, :, self.columns : end] = states
        self.columns, self.is_initialized = end, True
        keys, values = (stored[:, :, :end] for stored in old)
        self.keys, self.values = keys, values
        return keys, values

    def get_seq_length(self) -> int:
        """Columns there are."""
        return self.columns

    def view(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of all columns there are."""
        if self._storage is None:
            raise ValueError("nothing is stored yet")
        keys, values = (stored[:, :, : self.columns] for stored in self._storage)
        return keys, values


@dataclass(slots=True)
class KeyValues:
    """What a model remembers of some rows."""

    cache: Any
    """A transformers cache of StoredLayers."""
    mask: torch.Tensor
    """bool `[rows, columns]`: where a row has a token."""
    lengths: torch.Tensor
    """`[rows]` tokens of each row, a shared beginning counted, which is the position of its next one."""
    beginnings: tuple["KeyValues | None", ...] = ()
    """What each row begins with before its own columns: a memory of one row; empty when no row shares any."""

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self.mask.shape[0]

    @property
    def columns(self) -> int:
        """How many columns there are."""
        return self.mask.shape[1]

    def bytes_per_token(self) -> int:
        """Bytes that one token of one row takes in all layers."""
        each = [tensor for pair in self.pairs() for tensor in pair]
        return sum(tensor.shape[1] * tensor.shape[3] * tensor.element_size() for tensor in each)

    def pairs(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Keys and values of each layer."""
        return [layer.view() for layer in self.cache.layers]

    def runs(self) -> list[tuple["KeyValues | None", int]]:
        """Beginnings, and how many rows one after another have each; empty when no row shares any."""
        found = [list(run) for _, run in groupby(self.beginnings, key=id)]
        return [(run[0], len(run)) for run in found]

    def shared_by(self, count: int, spare: int = SPARE_COLUMNS) -> "KeyValues":
        """Memory of `count` rows that begin with this one row and have nothing of their own yet."""
        new = nothing(count, self.mask.device, spare)
        return KeyValues(new.cache, new.mask, self.lengths.expand(count), (self,) * count)

    def for_rows(self, count: int, spare: int = SPARE_COLUMNS) -> "KeyValues":
        """The same memory of one row for `count` rows, copied only when they go on; this one stays as it is."""
        cache = Cache(layers=[StoredLayer(pair, spare) for pair in self.pairs()])
        return KeyValues(cache, self.mask.expand(count, -1), self.lengths.expand(count))

    def keep(self, rows: Sequence[int]) -> "KeyValues":
        """These rows alone, without the columns that none of them uses."""
        index = torch.tensor(rows, device=self.mask.device)
        mask = self.mask[index]
        used = mask.any(dim=0).nonzero()
        first = int(used[0]) if len(used) else self.columns
        layers = [StoredLayer((keys[index, :, first:], values[index, :, first:])) for keys, values in self.pairs()]
        beginnings = tuple(self.beginnings[row] for row in rows) if self.beginnings else ()
        return KeyValues(Cache(layers=layers), mask[:, first:], self.lengths[index], beginnings)


def nothing(rows: int, device: torch.device, spare: int = SPARE_COLUMNS) -> KeyValues:
    """What a model remembers of `rows` rows before it has seen anything."""
    cache = Cache(layer_class_to_replicate=partial(StoredLayer, spare=spare))
    empty = torch.zeros(rows, 0, dtype=torch.bool, device=device)
    return KeyValues(cache, empty, torch.zeros(rows, dtype=torch.long, device=device))


def joined(parts: Sequence[KeyValues]) -> KeyValues:
    """The rows of all parts, in order, right-aligned."""
    if len(parts) == 1:
        return parts[0]
    columns = max(part.columns for part in parts)
    rows = sum(part.rows for part in parts)
    mask = torch.zeros(rows, columns, dtype=torch.bool, device=parts[0].mask.device)
    layers = []
    for stored in zip(*(part.cache.layers for part in parts), strict=True):
        pair = []
        for tensors in zip(*(layer.view() for layer in stored), strict=True):
            shape = (rows, tensors[0].shape[1], columns + SPARE_COLUMNS, tensors[0].shape[3])
            whole, row = tensors[0].new_zeros(shape), 0
            for tensor in tensors:
                whole[row : row + tensor.shape[0], :, columns - tensor.shape[2] : columns] = tensor
                row += tensor.shape[0]
            pair.append(whole)
        layers.append((pair[0], pair[1]))
    row = 0
    for part in parts:
        mask[row : row + part.rows, columns - part.columns :] = part.mask
        row += part.rows
    cache = Cache(layers=[_with_room(pair, columns) for pair in layers])
    beginnings = tuple(one for part in parts for one in part.beginnings or (None,) * part.rows)
    if not any(beginnings):
        beginnings = ()
    return KeyValues(cache, mask, torch.cat([part.lengths for part in parts]), beginnings)


def _with_room(pair: tuple[torch.Tensor, torch.Tensor], columns: int) -> StoredLayer:
    layer = StoredLayer(pair)
    layer.columns = columns
    return layer
