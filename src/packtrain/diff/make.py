"""Making a diff: what was learnt, without the base's weights."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from packtrain.core.errors import UserError
from packtrain.core.manifest import Manifest, versions
from packtrain.core.progress import say
from packtrain.core.training_record import handed_on
from packtrain.diff import exact_form, float_form
from packtrain.diff.causes import doubts
from packtrain.diff.diff_folder import write_exact_files, write_float_files
from packtrain.diff.float_form import DIFF_DTYPE
from packtrain.diff.manifest import (
    MANIFEST_FILE,
    DiffRecord,
    DiffTensor,
    Fingerprints,
    Recovered,
    Stored,
    read_diff_record,
    stored,
    write_record,
)
from packtrain.diff.output import resumable_output
from packtrain.diff.pairing import ModelFolder, Rules, open_model, pair_with_base
from packtrain.diff.preflight import (
    announce,
    plan,
    refuse_confusion,
    refuse_diff_as_model,
    refuse_tables_apart,
    total_bytes,
)
from packtrain.diff.shard import DiffShard, infos
from packtrain.weights.fingerprint import model_fingerprint
from packtrain.weights.shard_jobs import ShardResult, run_jobs, worker_count
from packtrain.weights.writer import check_free_space, write_index

Form = Literal["exact", "float"]
FORMS: tuple[Form, ...] = ("exact", "float")


@dataclass(frozen=True, slots=True)
class DiffReport:
    """What was made, and what recovering it will give."""

    form: str
    tensors: int
    parameters: int
    """Elements; a tied tensor counts once."""
    bytes_written: int
    share_of_tuned: float
    """`bytes_written` as a share of the tuned model's tensors' bytes."""
    grown_rows: int
    """Token rows that the tuned model has and the base has not."""
    share_equal: float
    """Share of elements that recovery gives back to the bit, 0 to 1; 1 in the exact form."""
    max_abs_difference: float
    """Largest absolute difference between recovered and tuned elements; 0 in the exact form."""
    worst_tensor: str
    """The tensor with that difference; empty when recovery is exact."""
    base_fingerprint: str
    tuned_fingerprint: str
    diff_fingerprint: str
    seconds: float


def make_diff(
    base: Path,
    tuned: Path,
    out: Path,
    *,
    form: Form = "exact",
    overwrite: bool = False,
    resume: bool = False,
    jobs: int | None = None,
    max_shard_bytes: int | None = None,
) -> DiffReport:
    """Write the diff of `tuned` against `base` to the folder `out`, streaming; what it holds.

    `exact` stores steps from float to float, compressed: recovery gives every tuned tensor back to the
    bit. `float` gives the same tensors to the bit as weight_diff.py of stanford_alpaca, which can read
    it: tuned - base in float32 for each name of the tuned model's state dict; rows that the base lacks
    are the mean of its rows; a tied tensor, which stands in the state dict under two names, is
    subtracted from twice. Also written: configuration and tokenizer of `tuned`, `manifest.json` (what is
    needed to verify), a README and `run.json`, with the record of the training if `tuned` has one.

    `jobs` threads work at once (None: one for each processor, 16 at most); a file holds the differences
    of at most `max_shard_bytes` of the tuned model. What an interrupted run with the same inputs left
    is kept if `resume`. Raises UserError before anything is written when the folders do not fit one
    another, when `out` exists and may not be replaced, or when the disk is too small.
    """
    started = time.monotonic()
    if form not in FORMS:
        raise UserError(f"unknown form of diff: {form}", f"there are: {', '.join(FORMS)}")
    refuse_confusion(base, tuned, out, "tuned model")
    if read_diff_record(tuned) is not None:
        raise UserError(
            f"{tuned} is a diff already (it has a {MANIFEST_FILE})", "recover it first: packtrain diff recover"
        )
    exact = form == "exact"
    base_model, tuned_model = open_model(base, as_stored=exact), open_model(tuned, as_stored=exact)
    pairs = pair_with_base(tuned_model, base_model, "tuned model", Rules(once=exact))
    if not exact:
        refuse_tables_apart(tuned_model)
    refuse_diff_as_model(base_model, "base")
    refuse_diff_as_model(tuned_model, "tuned model")
    for doubt in doubts(tuned, tuned_model.config, base, base_model.config):
        say(f"warning: {doubt}")
    shards: Sequence[DiffShard] = (exact_form if exact else float_form).shards(
        base_model, tuned_model, pairs, max_shard_bytes
    )
    training = handed_on(tuned)
    workers, bytes_at_most = worker_count(jobs), sum(shard.bytes_at_most for shard in shards)
    announce(
        "diff",
        plan(
            parameters=sum(pair.info.numel for pair in pairs),
            bytes_read=total_bytes([base_model, tuned_model]),
            bytes_written=bytes_at_most,
            workers=workers,
            bytes_coded=sum(pair.info.nbytes for pair in pairs) if exact else 0,
        ),
    )
    settings = {"form": form, "shards": {s.file_name: [pair.info.name for pair in s.pairs] for s in shards}}
    with resumable_output(out, "diff make", [base, tuned], settings, overwrite=overwrite, resume=resume) as output:
        check_free_space(output.partial, bytes_at_most - output.bytes_there)
        result = run_jobs(output.partial, shards, output.identity, "diff", workers)
        files = (write_exact_files if exact else write_float_files)(tuned, output.partial, base_model)
        if not exact:
            write_index(output.partial, {shard.file_name: infos(shard.pairs, DIFF_DTYPE) for shard in shards})
        record = _record(form, tuned_model, shards, result, files)
        report = _report(record, time.monotonic() - started)
        write_record(output.partial, record)
        Manifest(
            stage="diff make",
            settings={"form": record.form, "growth_rule": record.growth_rule, **training},
            inputs={"base": {"tensors": report.base_fingerprint}, "tuned": {"tensors": report.tuned_fingerprint}},
            outputs={"tensors": report.diff_fingerprint, **record.files},
            figures=asdict(report),
        ).write(output.partial)
    if report.tuned_fingerprint == report.base_fingerprint:
        say("warning: base and tuned model are the same to the bit: nothing was learnt")
    return report


def _record(
    form: Form, tuned: ModelFolder, shards: Sequence[DiffShard], result: ShardResult, files: Mapping[str, str]
) -> DiffRecord:
    facts = result.facts
    tensors = {
        pair.info.name: DiffTensor(
            base=pair.base,
            grown_rows=pair.grown_rows,
            tuned=Stored(**facts["tuned"][pair.info.name]),
            diff=stored(result.written[pair.info.name]),
            file=shard.file_name if form == "exact" else None,
            recovered=Recovered(**facts["recovered"][pair.info.name]),
        )
        for shard in shards
        for pair in shard.pairs
    }
    base = {name: Stored(**each) for name, each in facts.get("base", {}).items()}
    elements = sum(each.tuned.info().numel for each in tensors.values())
    return DiffRecord(
        form=form,
        arithmetic="ulp" if form == "exact" else "float32",
        growth_rule="literal" if form == "exact" else "mean",
        fingerprints=Fingerprints(
            base=model_fingerprint({name: each.record() for name, each in base.items()}),
            tuned=model_fingerprint({name: each.tuned.record() for name, each in tensors.items()}),
            diff=model_fingerprint(result.written),
        ),
        share_equal=sum(each.recovered.equal for each in tensors.values()) / max(1, elements),
        max_abs_difference=max(each.recovered.max_abs_difference for each in tensors.values()),
        tied=dict(tuned.tied),
        base=base,
        tensors=tensors,
        files=files,
        versions=versions(),
    )


def _report(record: DiffRecord, seconds: float) -> DiffReport:
    tensors = record.tensors
    worst = max(tensors, key=lambda name: tensors[name].recovered.max_abs_difference)
    bytes_written = sum(each.diff.info().nbytes for each in tensors.values())
    return DiffReport(
        form=record.form,
        tensors=len(tensors),
        parameters=sum(each.tuned.info().numel for each in tensors.values()),
        bytes_written=bytes_written,
        share_of_tuned=bytes_written / max(1, sum(each.tuned.info().nbytes for each in tensors.values())),
        grown_rows=max(each.grown_rows for each in tensors.values()),
        share_equal=record.share_equal,
        max_abs_difference=record.max_abs_difference,
        worst_tensor=worst if record.max_abs_difference else "",
        base_fingerprint=record.fingerprints.base,
        tuned_fingerprint=record.fingerprints.tuned,
        diff_fingerprint=record.fingerprints.diff,
        seconds=round(seconds, 3),
    )
