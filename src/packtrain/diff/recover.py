"""Recovering a tuned model from its base and a published diff."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from packtrain.core.atomic import output_folder
from packtrain.core.errors import UserError
from packtrain.core.manifest import Manifest, sha256_of_file
from packtrain.core.progress import progress
from packtrain.diff.base_tensor import BaseSide, ranges
from packtrain.diff.codec import FLOAT, DiffForm, form_named
from packtrain.diff.manifest import (
    DIFF_FILE,
    DiffRecord,
    RecoveryRecord,
    read_diff_record,
    stored,
    write_record,
)
from packtrain.diff.model_files import copy_model_files
from packtrain.diff.pairing import (
    ModelFolder,
    Pair,
    open_model,
    pair_by_record,
    pair_with_base,
    refuse_confusion,
)
from packtrain.weights.fingerprint import TensorHash, TensorRecord, model_fingerprint
from packtrain.weights.info import TensorInfo, torch_dtype
from packtrain.weights.writer import ShardWriter

DTYPES = ("float32", "bfloat16", "float16")
"""Types in which a recovered model may be written."""

ALPACA_GROWN_ROWS = 1
"""Token rows that weight_diff.py of stanford_alpaca and open-instruct add to a base: `[PAD]`."""


@dataclass(frozen=True, slots=True)
class RecoverReport:
    """What was recovered."""

    form: str
    """`float`, or `float (no diff.json)` for a diff of the original scripts."""
    verified: bool
    """Base, diff and result were checked against `diff.json`, tensor by tensor."""
    dtype: str
    tensors: int
    parameters: int
    """Elements; a tied tensor counts once."""
    bytes_written: int
    grown_rows: int
    """Token rows that the base lacked."""
    share_equal: float | None
    """Share of elements equal to the tuned ones to the bit (in float32, before the cast to `dtype`), as recorded
    when the diff was made; None without `diff.json`."""
    max_abs_difference: float | None
    """Largest absolute difference from the tuned elements, likewise."""
    fingerprint: str
    """Of the recovered tensors (weights/fingerprint.py)."""
    seconds: float


def recover(base: Path, diff: Path, out: Path, *, dtype: str = "float32", overwrite: bool = False) -> RecoverReport:
    """Write the model that `diff` describes against `base` to the folder `out`, streaming; what was done.

    Reads the diffs of `make_diff` and those of weight_diff.py of stanford_alpaca and open-instruct, which
    have no `diff.json`: base + diff in float32, a missing token row being the mean of the others, a tied
    tensor added to once for each of its names, rotary buffers computed where the base has none. The sums
    are then rounded to `dtype` (one of `DTYPES`). Configuration (stating `dtype`) and tokenizer
    come from the diff; `recovery.json` and `run.json` say what the result is and came from.

    Headers are compared before anything is written. With `diff.json` each tensor of base, diff and result
    is also checked against its SHA-256 while streaming. Raises UserError that names the first tensor that
    is wrong, and where; a failure leaves nothing behind and an earlier `out` untouched.
    """
    started = time.monotonic()
    if dtype not in DTYPES:
        raise UserError(f"unknown dtype: {dtype}", f"there are: {', '.join(DTYPES)}")
    refuse_confusion(base, diff, out, "diff")
    record = read_diff_record(diff)
    form = FLOAT if record is None else form_named(record.form)
    base_model, diff_model = open_model(base), open_model(diff)
    if record is None:
        pairs = pair_with_base(diff_model, base_model, "diff", ALPACA_GROWN_ROWS)
    else:
        pairs = pair_by_record(diff_model, base_model, record)
        check_files(diff, record.files)
    with output_folder(out, "diff recover", inputs=[base, diff], overwrite=overwrite) as partial:
        recovery = _Recovery(base_model, diff_model, record, form, dtype)
        recovered = recovery.write(pairs, partial)
        files = copy_model_files(diff, partial, dtype)
        base_fingerprint = model_fingerprint(recovery.base_records)
        diff_fingerprint = model_fingerprint(recovery.diff_records)
        report = RecoverReport(
            form=form.name if record is not None else f"{form.name} (no {DIFF_FILE})",
            verified=record is not None,
            dtype=dtype,
            tensors=len(pairs),
            parameters=sum(pair.info.numel for pair in pairs),
            bytes_written=sum(TensorInfo("", each.dtype, each.shape).nbytes for each in recovered.values()),
            grown_rows=max(pair.grown_rows for pair in pairs),
            share_equal=record.share_equal if record is not None else None,
            max_abs_difference=record.max_abs_difference if record is not None else None,
            fingerprint=model_fingerprint(recovered),
            seconds=round(time.monotonic() - started, 3),
        )
        write_record(
            partial,
            RecoveryRecord(
                verified=report.verified,
                base_fingerprint=base_fingerprint,
                diff_fingerprint=diff_fingerprint,
                tensors={name: stored(each) for name, each in recovered.items()},
                files=files,
            ),
        )
        Manifest(
            stage="diff recover",
            settings={"form": report.form, "dtype": dtype},
            inputs={"base": {"tensors": base_fingerprint}, "diff": {"tensors": diff_fingerprint}},
            outputs={"tensors": report.fingerprint, **files},
            figures=asdict(report),
        ).write(partial)
    return report


class _Recovery:
    """The streaming part: adds, checks and writes tensor after tensor."""

    def __init__(
        self, base: ModelFolder, diff: ModelFolder, record: DiffRecord | None, form: DiffForm, dtype: str
    ) -> None:
        self._base, self._diff, self._record, self._form, self._dtype = base, diff, record, form, dtype
        self.base_records: dict[str, TensorRecord] = {}
        self.diff_records: dict[str, TensorRecord] = {}

    def write(self, pairs: list[Pair], partial: Path) -> dict[str, TensorRecord]:
        """Record of every tensor written to `partial`."""
        plan = [TensorInfo(pair.info.name, self._dtype, pair.info.shape) for pair in pairs]
        with ShardWriter(partial, plan) as writer, progress("recover", len(pairs)) as advance:
            for pair in pairs:
                self._write_tensor(pair, writer)
                advance(note=pair.info.name)
        return writer.records

    def _write_tensor(self, pair: Pair, writer: ShardWriter) -> None:
        name, dtype = pair.info.name, torch_dtype(self._dtype)
        side = BaseSide(self._base, pair)
        diff_hash, sum_hash = TensorHash(), TensorHash()
        cast = self._record is not None and self._dtype != self._record.arithmetic
        for start, stop in ranges(pair.info.numel):
            piece = self._diff.store.flat(name, start, stop)
            diff_hash.add(piece)
            piece = piece.float()
            for base_piece in side.pieces(start, stop):
                piece = self._form.decode(piece, base_piece)
            if cast:
                sum_hash.add(piece)
            writer.write(name, piece.to(dtype))
        diff_record = TensorRecord(pair.info.dtype, pair.info.shape, diff_hash.hexdigest())
        self.diff_records[name] = diff_record
        base_records = side.records()
        self.base_records |= base_records
        if self._record is not None:
            written = writer.records[name].sha256
            summed = sum_hash.hexdigest() if cast else written
            self._verify(self._record, name, diff_record, base_records, summed)

    def _verify(
        self,
        record: DiffRecord,
        name: str,
        diff_record: TensorRecord,
        base_records: Mapping[str, TensorRecord],
        sum_sha256: str,
    ) -> None:
        for base_name, base_record in base_records.items():
            if base_record.sha256 != record.base[base_name].sha256:
                raise UserError(
                    f"wrong base: tensor {base_name} of {self._base.folder} is not the one that the diff was made with",
                    "give exactly that base model; if it is, its files are damaged: download them again",
                )
        if diff_record.sha256 != record.tensors[name].diff.sha256:
            raise UserError(
                f"damaged diff: tensor {name} of {self._diff.folder} is not what {DIFF_FILE} says",
                "download the diff again",
            )
        if sum_sha256 != record.tensors[name].recovered.sha256:
            raise UserError(
                f"recovered tensor {name} is not what {DIFF_FILE} predicts, though base and diff are right",
                "memory or processor of this machine may be faulty: try again, or on another one",
            )


def check_files(folder: Path, files: Mapping[str, str]) -> None:
    """UserError naming the first file of `folder` whose SHA-256 is not the recorded one."""
    for name, sha256 in files.items():
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} is missing", "download the folder again, whole")
        if sha256_of_file(folder / name) != sha256:
            raise UserError(f"{folder / name} is not the file that was published", "download it again")
