"""Making a diff: what was learnt, without the base's weights."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from packtrain.core.atomic import output_folder
from packtrain.core.errors import UserError
from packtrain.core.manifest import Manifest, versions
from packtrain.core.progress import progress
from packtrain.diff.agreement import Agreement
from packtrain.diff.base_tensor import BaseSide, ranges
from packtrain.diff.codec import FLOAT, DiffForm
from packtrain.diff.manifest import (
    DIFF_FILE,
    DiffRecord,
    DiffTensor,
    Fingerprints,
    Recovered,
    read_diff_record,
    stored,
    write_record,
)
from packtrain.diff.model_files import copy_model_files
from packtrain.diff.pairing import ModelFolder, Pair, open_model, pair_with_base, refuse_confusion
from packtrain.weights.fingerprint import TensorHash, TensorRecord, model_fingerprint
from packtrain.weights.info import TensorInfo
from packtrain.weights.writer import ShardWriter


@dataclass(frozen=True, slots=True)
class DiffReport:
    """What was made, and what recovering it will give."""

    form: str
    tensors: int
    parameters: int
    """Elements; a tied tensor counts once."""
    bytes_written: int
    grown_rows: int
    """Token rows that the tuned model has and the base has not."""
    share_equal: float
    """Share of elements that recovery gives back to the bit, 0 to 1."""
    max_abs_difference: float
    """Largest absolute difference between recovered and tuned elements."""
    worst_tensor: str
    """The tensor with that difference; empty when recovery is exact."""
    base_fingerprint: str
    tuned_fingerprint: str
    diff_fingerprint: str
    seconds: float


def make_diff(base: Path, tuned: Path, out: Path, *, overwrite: bool = False) -> DiffReport:
    """Write the diff of `tuned` against `base` to the folder `out`, streaming; what it holds.

    Same tensors to the bit as weight_diff.py of stanford_alpaca: tuned - base in float32 for each name
    of the tuned model's state dict; rows that the base lacks are the mean of its rows; a tied tensor,
    which stands in the state dict under two names, is subtracted from twice. Also written: configuration
    and tokenizer of `tuned`, `diff.json` (what is needed to verify) and `run.json`.

    Raises UserError before anything is written when the folders do not fit one another, when `out`
    exists and may not be replaced, or when the disk is too small. A failure leaves nothing behind.
    """
    started = time.monotonic()
    refuse_confusion(base, tuned, out, "tuned model")
    if read_diff_record(tuned) is not None:
        raise UserError(f"{tuned} is a diff already (it has a {DIFF_FILE})", "recover it first: packtrain diff recover")
    base_model, tuned_model = open_model(base), open_model(tuned)
    pairs = pair_with_base(tuned_model, base_model, "tuned model", max_grown_rows=None)
    with output_folder(out, "diff make", inputs=[base, tuned], overwrite=overwrite) as partial:
        record = _write(base_model, tuned_model, pairs, partial)
        report = _report(record, pairs, time.monotonic() - started)
        write_record(partial, record)
        Manifest(
            stage="diff make",
            settings={"form": record.form, "growth_rule": record.growth_rule},
            inputs={"base": {"tensors": report.base_fingerprint}, "tuned": {"tensors": report.tuned_fingerprint}},
            outputs={"tensors": report.diff_fingerprint, **record.files},
            figures=asdict(report),
        ).write(partial)
    return report


def _write(base: ModelFolder, tuned: ModelFolder, pairs: list[Pair], partial: Path) -> DiffRecord:
    form = FLOAT
    plan = [TensorInfo(pair.info.name, form.diff_dtype, pair.info.shape) for pair in pairs]
    base_records: dict[str, TensorRecord] = {}
    tuned_records: dict[str, TensorRecord] = {}
    recovered: dict[str, Recovered] = {}
    total = Agreement()
    with ShardWriter(partial, plan) as writer, progress("diff", len(pairs)) as advance:
        for pair in pairs:
            name = pair.info.name
            side = BaseSide(base, pair)
            tuned_records[name], recovered[name] = _write_tensor(form, tuned, pair, side, writer, total)
            base_records |= side.records()
            advance(note=name)
    tensors = {
        pair.info.name: DiffTensor(
            base=pair.base,
            grown_rows=pair.grown_rows,
            tuned=stored(tuned_records[pair.info.name]),
            diff=stored(writer.records[pair.info.name]),
            recovered=recovered[pair.info.name],
        )
        for pair in pairs
    }
    return DiffRecord(
        form=form.name,
        fingerprints=Fingerprints(
            base=model_fingerprint(base_records),
            tuned=model_fingerprint(tuned_records),
            diff=model_fingerprint(writer.records),
        ),
        share_equal=total.share_equal,
        max_abs_difference=total.max_abs_difference,
        tied=dict(tuned.tied),
        base={name: stored(record) for name, record in base_records.items()},
        tensors=tensors,
        files=copy_model_files(tuned.folder, partial, form.diff_dtype),
        versions=versions(),
    )


def _write_tensor(
    form: DiffForm, tuned: ModelFolder, pair: Pair, side: BaseSide, writer: ShardWriter, total: Agreement
) -> tuple[TensorRecord, Recovered]:
    """Write one tensor of the diff; the record of the tuned tensor, and what recovery will make of it."""
    name = pair.info.name
    tuned_hash, recovered_hash, agreement = TensorHash(), TensorHash(), Agreement()
    for start, stop in ranges(pair.info.numel):
        tuned_piece = tuned.store.flat(name, start, stop)
        base_pieces = side.pieces(start, stop) if pair.base else []
        diff_piece = tuned_piece.float()
        for base_piece in base_pieces:
            diff_piece = form.encode(diff_piece, base_piece)
        writer.write(name, diff_piece)
        for base_piece in base_pieces:
            diff_piece = form.decode(diff_piece, base_piece)
        tuned_hash.add(tuned_piece)
        recovered_hash.add(diff_piece)
        agreement.add(diff_piece, tuned_piece.float())
    total.include(agreement)
    outcome = Recovered(
        sha256=recovered_hash.hexdigest(),
        equal=agreement.equal,
        max_abs_difference=agreement.max_abs_difference,
    )
    return TensorRecord(pair.info.dtype, pair.info.shape, tuned_hash.hexdigest()), outcome


def _report(record: DiffRecord, pairs: list[Pair], seconds: float) -> DiffReport:
    worst = max(record.tensors, key=lambda name: record.tensors[name].recovered.max_abs_difference)
    parameters = sum(pair.info.numel for pair in pairs)
    return DiffReport(
        form=record.form,
        tensors=len(pairs),
        parameters=parameters,
        bytes_written=sum(TensorInfo("", t.diff.dtype, t.diff.shape).nbytes for t in record.tensors.values()),
        grown_rows=max(pair.grown_rows for pair in pairs),
        share_equal=record.share_equal,
        max_abs_difference=record.max_abs_difference,
        worst_tensor=worst if record.max_abs_difference else "",
        base_fingerprint=record.fingerprints.base,
        tuned_fingerprint=record.fingerprints.tuned,
        diff_fingerprint=record.fingerprints.diff,
        seconds=round(seconds, 3),
    )
