"""What fine-tuning changed, tensor by tensor and piece by piece, whatever form it was published in.

A change is tuned - base after the base was cast to the tuned tensor's type, as the exact form does it: what
was never trained did not change by a bit, even where the tuned model was saved in another type.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from packtrain.core.errors import UserError
from packtrain.core.progress import say
from packtrain.diff.base_tensor import ranges
from packtrain.diff.causes import doubts
from packtrain.diff.chunk import ChunkCodec
from packtrain.diff.diff_folder import open_diff
from packtrain.diff.diff_or_model import is_model_of, looks_like_diff
from packtrain.diff.manifest import DiffRecord, read_diff_record
from packtrain.diff.opened import OpenedDiff, open_pair
from packtrain.diff.pairing import ROTARY_BUFFER, ModelFolder, Pair, Rules, open_model, pair_with_base
from packtrain.diff.preflight import refuse_confusion, refuse_diff_as_model
from packtrain.diff.ulp import LAYOUTS, canonical_cast
from packtrain.diff.verify import verify
from packtrain.weights.fingerprint import TensorHash
from packtrain.weights.info import TensorInfo, torch_dtype
from packtrain.weights.vocabulary import mean_row


@dataclass(frozen=True, slots=True)
class Piece:
    """Successive elements of one tensor, `[n]` each, valid until the next piece is asked for.

    Elements of new token rows come apart from the others; their base is the mean of the base's rows.
    """

    start: int
    """Where they begin in the tensor, in row-major order."""
    delta: torch.Tensor | None
    """float32; 0 where no bit changed; None where there is nothing to compare with."""
    changed: torch.Tensor | None
    """bool: not the same to the bit; without a base: not zero."""
    tuned: torch.Tensor | None
    """float32 (float64 for wider types); None without a base."""
    base: torch.Tensor | None
    """Likewise, after the cast to the tuned type."""


@dataclass(frozen=True, slots=True)
class ChangedTensor:
    """Header of one tensor of the tuned model."""

    pair: Pair
    base: str | None
    """The base's tensor; None where no base is given, or it has none of that shape."""
    comparable: bool
    """Whether there is anything that it can be compared with."""
    grown_rows: int
    dtype: str | None
    """Type in which the model was tuned; None where no manifest tells it (`info` has that of the sum then)."""

    @property
    def info(self) -> TensorInfo:
        """Name, type and shape in the tuned model."""
        return self.pair.info

    @property
    def old_elements(self) -> int:
        """Elements that are not of new rows: the first ones."""
        return self.info.numel - self.grown_rows * (self.info.shape[1] if self.grown_rows else 0)


class Changes(ABC):
    """All that a tuned model changed. Any number of threads may read different tensors at once."""

    form: str
    """`exact`, `float`, a family of diffs without manifest, or `models` (two folders, no diff)."""
    base: ModelFolder | None
    tensors: Sequence[ChangedTensor]
    """In the order of the files; rotary buffers, which are no weights, are left out."""
    untold: Sequence[str] = ()
    """Tensors of which nothing can be said without the base: tied ones, from which it was subtracted twice."""

    @abstractmethod
    def pieces(self, tensor: ChangedTensor) -> Iterator[Piece]:
        """The whole tensor in row-major order; to be read to its end, where it is verified if it can be."""


def open_changes(diff: Path, base: Path | None = None, *, family: str | None = None) -> Changes:
    """The changes that a diff holds, or a tuned model beside its base; nothing but headers and small tensors is read.

    UserError when `diff` is neither, when it says nothing without a base, or when the two do not fit.
    """
    record = read_diff_record(diff)
    if base is None:
        return _without_base(diff, record, family)
    refuse_confusion(base, diff, None, "tuned model")
    if record is not None or family is not None or not is_model_of(diff, base):
        return _Recovered(open_pair(base, diff, family=family))
    return _TwoModels(diff, base)


def _without_base(diff: Path, record: DiffRecord | None, family: str | None) -> Changes:
    if record is not None and record.form == "exact":
        raise UserError(
            f"{diff} is an exact diff: without the base it says nothing", "give the base that it was made with: --base"
        )
    if record is None and family is None and not looks_like_diff(diff):
        raise UserError(
            f"{diff} is not a diff: it has no manifest, and the weights of its norms are not those of a difference",
            "to compare a tuned model with its base, give the base: --base",
        )
    return _StoredDifferences(open_diff(diff, record), record)


class _StoredDifferences(Changes):
    """A float diff alone."""

    base = None

    def __init__(self, diff: ModelFolder, record: DiffRecord | None) -> None:
        recorded = record.tensors if record is not None else {}
        names = [name for name in diff.own_names() if not name.endswith(ROTARY_BUFFER)]
        if record is not None and (odd := set(diff.own_names()) ^ set(recorded)):
            raise UserError(f"{diff.folder} does not hold what its manifest says: {min(odd)}", "download it again")
        twice = {name for name, each in recorded.items() if len(each.base) > 1} or set(diff.tied.values())
        self.form = "float" if record is not None else "float (no manifest)"
        self.untold = [name for name in names if name in twice]
        self._store = diff.store
        self.tensors = [
            ChangedTensor(
                Pair(TensorInfo(name, recorded[name].tuned.dtype if name in recorded else info.dtype, info.shape), ()),
                None,
                True,
                recorded[name].grown_rows if name in recorded else 0,
                recorded[name].tuned.dtype if name in recorded else None,
            )
            for name, info in diff.store.infos().items()
            if name in names and name not in twice
        ]

    def pieces(self, tensor: ChangedTensor) -> Iterator[Piece]:
        name, start = tensor.info.name, 0
        for first, last in ranges(tensor.info.numel):
            for delta in _divided(self._store.flat(name, first, last).float(), tensor.old_elements - first):
                yield Piece(start, delta, delta != 0, None, None)
                start += len(delta)


class _AgainstBase(Changes):
    """Values of the tuned model against those of the base."""

    base: ModelFolder
    _types_known = True

    @abstractmethod
    def tuned_pieces(self, tensor: ChangedTensor) -> Iterator[torch.Tensor]:
        """The tuned elements in their own type, as flat pieces in their order."""

    def pieces(self, tensor: ChangedTensor) -> Iterator[Piece]:
        dtype, start = torch_dtype(tensor.info.dtype), 0
        wide = torch.float32 if dtype.itemsize <= 4 else torch.float64
        mean = mean_row(self.base.store, tensor.base) if tensor.base and tensor.grown_rows else None
        for whole in self.tuned_pieces(tensor):
            for tuned in _divided(whole, tensor.old_elements - start):
                stop = start + len(tuned)
                if tensor.base is None:
                    yield Piece(start, None, None, tuned.to(wide), None)
                else:
                    if start < tensor.old_elements or mean is None:
                        raw = self.base.store.flat(tensor.base, start, stop)
                    else:
                        raw = mean[(torch.arange(start, stop) - tensor.old_elements) % len(mean)]
                    yield _compare(start, tuned, _cast(raw, dtype), wide)
                start = stop

    def _headers(self, pairs: Sequence[Pair]) -> list[ChangedTensor]:
        return [self._header(pair) for pair in pairs if not pair.info.name.endswith(ROTARY_BUFFER)]

    def _header(self, pair: Pair) -> ChangedTensor:
        """The base's tensor is found even where an exact diff makes no use of it."""
        dtype = pair.info.dtype if self._types_known else None
        info, found = pair.info, self.base.find(pair.base[0] if pair.base else pair.info.name)
        shape = self.base.store.info(found).shape if found is not None else ()
        if found is not None and shape == info.shape:
            return ChangedTensor(pair, found, True, 0, dtype)
        grown = len(shape) == 2 and len(info.shape) == 2 and shape[1] == info.shape[1] and shape[0] < info.shape[0]
        if found is not None and grown:
            return ChangedTensor(pair, found, True, info.shape[0] - shape[0], dtype)
        return ChangedTensor(pair, None, False, 0, dtype)


class _Recovered(_AgainstBase):
    """A diff beside its base: the tuned values are those that recovery gives, and verified as there."""

    def __init__(self, opened: OpenedDiff) -> None:
        self._opened, self.base, self.form = opened, opened.base, opened.form
        self._types_known = opened.record is not None
        self._pair_of = {pair.info.name: pair for pair in opened.pairs}
        self.tensors = self._headers([self._as_tuned(pair) for pair in opened.pairs])

    def _as_tuned(self, pair: Pair) -> Pair:
        """The pair in the type of the tuned model, where a manifest knows it, and not in that of the sum."""
        if self._opened.record is None:
            return pair
        tuned = self._opened.record.tensors[pair.info.name].tuned
        return Pair(TensorInfo(pair.info.name, tuned.dtype, tuned.shape), pair.base, pair.grown_rows)

    def tuned_pieces(self, tensor: ChangedTensor) -> Iterator[torch.Tensor]:
        name, dtype = tensor.info.name, torch_dtype(tensor.info.dtype)
        recovered, digest = self._opened.tensor(self._pair_of[name], ChunkCodec()), TensorHash()
        for piece in recovered.pieces():
            if self._opened.record is not None:
                digest.add(piece)
            yield piece.to(dtype)
        verify(self._opened, name, recovered.base_records(), recovered.diff_record(), digest.hexdigest())


class _TwoModels(_AgainstBase):
    """A tuned model beside its base."""

    form = "models"

    def __init__(self, tuned: Path, base: Path) -> None:
        self.base, model = open_model(base, as_stored=True), open_model(tuned, as_stored=True)
        pairs = pair_with_base(model, self.base, "tuned model", Rules(once=True))
        refuse_diff_as_model(self.base, "base")
        for doubt in doubts(tuned, model.config, base, self.base.config):
            say(f"warning: {doubt}")
        self._store = model.store
        self.tensors = self._headers(pairs)

    def tuned_pieces(self, tensor: ChangedTensor) -> Iterator[torch.Tensor]:
        for start, stop in ranges(tensor.info.numel):
            yield self._store.flat(tensor.info.name, start, stop)


def all_finite(values: torch.Tensor) -> bool:
    """Whether `[n]`, n > 0, holds neither NaN nor infinities (several times as fast as torch.isfinite)."""
    return all(math.isfinite(each) for each in torch.aminmax(values))


def _divided(piece: torch.Tensor, at: int) -> list[torch.Tensor]:
    """The piece as one, or as two where `at` lies within it."""
    return [piece[:at], piece[at:]] if 0 < at < len(piece) else [piece]


def _cast(raw: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """`raw` in the type of the tuned tensor, as the exact form casts it where it does."""
    layout = LAYOUTS.get(str(dtype).removeprefix("torch."))
    if raw.dtype == dtype or layout is None:
        return raw.to(dtype)
    return torch.from_numpy(canonical_cast(raw, layout)).view(dtype)


def _compare(start: int, tuned: torch.Tensor, base: torch.Tensor, wide: torch.dtype) -> Piece:
    changed = torch.from_numpy(_patterns(tuned) != _patterns(base))
    wide_tuned, wide_base = tuned.to(wide), base.to(wide)
    delta = (wide_tuned - wide_base).float()
    if not all_finite(delta):  # equal bits give 0 anyway, but for NaN and infinities
        delta.masked_fill_(~changed, 0.0)
    return Piece(start, delta, changed, wide_tuned, wide_base)


def _patterns(piece: torch.Tensor) -> "np.ndarray[tuple[int, ...], np.dtype[np.unsignedinteger]]":
    patterns: np.ndarray[tuple[int, ...], np.dtype[np.unsignedinteger]] = (
        piece.contiguous().view(torch.uint8).numpy().view(f"u{piece.element_size()}")
    )
    return patterns
