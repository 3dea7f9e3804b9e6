"""A base and a diff, opened and compared by their headers: the tuned model, tensor by tensor, on demand."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch

from packtrain.core.errors import UserError
from packtrain.core.progress import say
from packtrain.diff.causes import doubts, likely_cause
from packtrain.diff.chunk import ChunkCodec
from packtrain.diff.diff_folder import check_files, model_files_of, open_diff
from packtrain.diff.exact_form import ExactTensor
from packtrain.diff.families import Family, family_named, guess_family
from packtrain.diff.float_form import FloatTensor
from packtrain.diff.manifest import DiffRecord, read_diff_record
from packtrain.diff.pairing import ModelFolder, Pair, Rules, open_model, pair_with_base
from packtrain.diff.preflight import check_sample, refuse_confusion, refuse_diff_as_model, refuse_model_as_diff
from packtrain.diff.recorded_pairing import pair_by_record
from packtrain.weights.fingerprint import TensorRecord


class TunedTensor(Protocol):
    """One tensor of the tuned model, computed from base and diff."""

    pair: Pair

    def pieces(self) -> Iterator[torch.Tensor]:
        """Its elements in row-major order as flat pieces, each valid until the next one is asked for."""

    def base_records(self) -> dict[str, TensorRecord]:
        """Records of the base's tensors that were read, after all pieces."""

    def diff_record(self) -> TensorRecord:
        """Record of the diff's tensor, likewise."""


@dataclass(frozen=True)
class OpenedDiff:
    """A diff beside its base; nothing but headers and small tensors has been read."""

    base: ModelFolder
    diff: ModelFolder
    record: DiffRecord | None
    """The manifest; None for a diff of older scripts, which nothing can verify."""
    family: Family | None
    """Whose rules a diff without a manifest follows."""
    pairs: list[Pair]
    """Every tensor of the tuned model: its header as recovery gives it, and what of the base belongs to it."""

    @property
    def form(self) -> str:
        """`exact`, `float`, or the family of a diff without a manifest."""
        return self.record.form if self.record is not None else f"{self.family_name} (no manifest)"

    @property
    def family_name(self) -> str:
        """Of a diff without a manifest; empty otherwise."""
        return self.family.name if self.family is not None else ""

    @property
    def stated_dtype(self) -> str | None:
        """What the recovered configuration is to state; None: what the tuned model's stated."""
        if self.record is not None:
            return None if self.record.form == "exact" else self.record.arithmetic
        return self.family.arithmetic if self.family is not None else None

    @property
    def model_files(self) -> Path:
        """The folder of the tuned model's configuration and tokenizer."""
        return model_files_of(self.diff.folder, self.record)

    def tensor(self, pair: Pair, codec: ChunkCodec) -> TunedTensor:
        """One tensor of the tuned model. `codec` belongs to the thread that reads it."""
        if self.record is not None and self.record.form == "exact":
            return ExactTensor(self.base, self.diff, pair, codec)
        growth = self.family.growth if self.family is not None else "mean"
        return FloatTensor(self.base, self.diff, pair, growth, pair.info.dtype, fast_hash=self.record is None)


def open_pair(base: Path, diff: Path, *, out: Path | None = None, family: str | None = None) -> OpenedDiff:
    """Base and diff, compared by their headers and small tensors, in seconds at any size.

    UserError that names the first tensor or file that is wrong and the likely cause; doubts that prove
    nothing are printed. `family` (families.py) says whose diff it is when there is no manifest to say it.
    """
    refuse_confusion(base, diff, out, "diff")
    record = read_diff_record(diff)
    if record is not None and family is not None:
        raise UserError(f"{diff} has a manifest: it needs no --family", "leave --family out")
    exact = record is not None and record.form == "exact"
    base_model, diff_model = open_model(base, as_stored=exact), open_diff(diff, record)
    refuse_diff_as_model(base_model, "base")
    if record is not None:
        pairs = pair_by_record(diff_model, base_model, record)
        check_files(diff, record.files)
        check_sample(base_model, record, likely_cause(diff_model.config, base_model.config))
        return OpenedDiff(base_model, diff_model, record, None, pairs)
    rules = family_named(family, diff_model.store) if family else guess_family(diff, diff_model.store, base_model.store)
    pairs = [
        _in_type(pair, rules.arithmetic)
        for pair in pair_with_base(
            diff_model,
            base_model,
            "diff",
            Rules(rules.max_grown_rows, keeps_what_differs=rules.keeps_what_differs, prefix=rules.prefix),
        )
    ]
    refuse_model_as_diff(diff_model, base_model)
    for doubt in doubts(diff, diff_model.config, base, base_model.config):
        say(f"warning: {doubt}")
    return OpenedDiff(base_model, diff_model, None, rules, pairs)


def _in_type(pair: Pair, dtype: str) -> Pair:
    return replace(pair, info=replace(pair.info, dtype=dtype))
