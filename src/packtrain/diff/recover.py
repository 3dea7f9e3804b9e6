"""Recovering a tuned model from its base and a published diff."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from packtrain.core.manifest import Manifest
from packtrain.core.training_record import handed_on
from packtrain.diff.chunk import ChunkCodec
from packtrain.diff.manifest import RecoveryRecord, Stored, stored, write_record
from packtrain.diff.model_files import add_format, copy_model_files, format_to_add
from packtrain.diff.opened import OpenedDiff, open_pair
from packtrain.diff.output import resumable_output
from packtrain.diff.pairing import Pair
from packtrain.diff.preflight import Plan, announce, default_shard_bytes, plan, total_bytes
from packtrain.diff.shard import infos
from packtrain.diff.sums import SumReport, check_sum, expected_sum
from packtrain.diff.verify import verify
from packtrain.weights.cast import cast, check_dtype
from packtrain.weights.fingerprint import TensorHash, model_fingerprint
from packtrain.weights.info import torch_dtype
from packtrain.weights.shard_file import ShardFile
from packtrain.weights.shard_jobs import Advance, ShardResult, run_jobs, worker_count
from packtrain.weights.writer import aligned, check_free_space, plan_shards, write_index


@dataclass(frozen=True, slots=True)
class RecoverReport:
    """What was recovered."""

    form: str
    """`exact`, `float`, or the family of a diff that has no manifest."""
    verified: bool
    """Base, diff and result were checked against the manifest, tensor by tensor."""
    dtype: str
    """Of the tensors written; `several` when they are of several types."""
    tensors: int
    parameters: int
    """Elements; a tied tensor counts once."""
    bytes_written: int
    grown_rows: int
    """Token rows that the base lacked."""
    share_equal: float | None
    """Share of elements equal to the tuned ones to the bit (before a cast to another `dtype`), as recorded
    when the diff was made; None without a manifest."""
    max_abs_difference: float | None
    """Largest absolute difference from the tuned elements, likewise."""
    weight_sum: float | None
    """Sum of all weights, where one was expected."""
    fingerprint: str
    """Of the recovered tensors (weights/fingerprint.py)."""
    seconds: float


def recover(
    base: Path,
    diff: Path,
    out: Path,
    *,
    dtype: str | None = None,
    family: str | None = None,
    expect_sum: float | str | None = None,
    template: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    jobs: int | None = None,
    max_shard_bytes: int | None = None,
) -> RecoverReport:
    """Write the model that `diff` describes against `base` to the folder `out`, streaming; what was done.

    Reads both forms of `make_diff`, and the diffs of older scripts, which have no manifest: `family`
    (families.py; None: as the files show) says by which rules. The result is written in `dtype` (one of those
    of weights/cast.py; None: exact diffs as the tuned model was, float ones in the type of their arithmetic), sums
    being rounded at the end. Configuration and tokenizer come from the diff; `recovery.json` and
    `run.json` say what the result is and came from, and how it was trained if the diff says it.

    Headers and small tensors are compared before anything is written. With a manifest each tensor of base,
    diff and result is also checked against its SHA-256 while streaming. `expect_sum` is the sum of all
    weights, or a model whose published sum is known (sums.py). `template` is the prompt format to store, a shipped one
    or a Jinja file, where the diff brings none, as those of 2023. `jobs` threads work at once (None: one for
    each processor, 16 at most); files hold at most `max_shard_bytes`. Raises UserError that names the
    first tensor that is wrong, and where; an earlier `out` stays untouched. Files that are finished when
    the work stops are kept, and verified and used by a run with `resume`.
    """
    started = time.monotonic()
    check_dtype(dtype)
    opened = open_pair(base, diff, out=out, family=family)
    expected_sum(opened, expect_sum)  # a word that is no sum is found now and not at the end
    added = format_to_add(opened.model_files, template)
    training = handed_on(diff)
    workers = worker_count(jobs)
    shards = _shards(opened, dtype, max_shard_bytes)
    bytes_written = sum(shard.nbytes for shard in shards)
    announce("recover", recovery_plan(opened, bytes_written, workers))
    settings = {
        "dtype": dtype,
        "form": opened.form,
        "shards": {s.file_name: [pair.info.name for pair in s.pairs] for s in shards},
    }
    with resumable_output(out, "diff recover", [base, diff], settings, overwrite=overwrite, resume=resume) as output:
        check_free_space(output.partial, bytes_written - output.bytes_there)
        result = run_jobs(output.partial, shards, output.identity, "recover", workers)
        write_index(output.partial, {shard.file_name: infos(shard.pairs, dtype) for shard in shards})
        files = copy_model_files(opened.model_files, output.partial, dtype or opened.stated_dtype)
        files |= add_format(output.partial, added)
        checked = check_sum(output.partial, opened, expect_sum)
        report = _report(opened, result, checked, time.monotonic() - started)
        recovery = RecoveryRecord(
            verified=report.verified,
            base_fingerprint=_fingerprint(result, "base"),
            diff_fingerprint=_fingerprint(result, "diff"),
            tensors={name: stored(each) for name, each in result.written.items()},
            files=files,
        )
        write_record(output.partial, recovery)
        Manifest(
            stage="diff recover",
            settings={"form": report.form, "dtype": report.dtype, **training},
            inputs={
                "base": {"tensors": recovery.base_fingerprint},
                "diff": {"tensors": recovery.diff_fingerprint},
            },
            outputs={"tensors": report.fingerprint, **files},
            figures=asdict(report),
        ).write(output.partial)
    return report


def plan_recovery(
    base: Path, diff: Path, *, dtype: str | None = None, family: str | None = None, jobs: int | None = None
) -> Plan:
    """What recovering would take, after all that can be checked in seconds; nothing is written."""
    check_dtype(dtype)
    opened = open_pair(base, diff, family=family)
    written = sum(info.nbytes for info in infos(opened.pairs, dtype))
    return recovery_plan(opened, written, worker_count(jobs))


def recovery_plan(opened: OpenedDiff, bytes_written: int, workers: int) -> Plan:
    """What recovering takes."""
    exact = opened.record is not None and opened.record.form == "exact"
    return plan(
        parameters=sum(pair.info.numel for pair in opened.pairs),
        bytes_read=total_bytes([opened.base, opened.diff]),
        bytes_written=bytes_written,
        workers=workers,
        bytes_coded=sum(pair.info.nbytes for pair in opened.pairs) if exact else 0,
    )


@dataclass(frozen=True)
class _Shard:
    """One file of the recovered model."""

    file_name: str
    opened: OpenedDiff
    pairs: list[Pair]
    dtype: str | None

    @property
    def nbytes(self) -> int:
        return sum(info.nbytes for info in infos(self.pairs, self.dtype))

    def run(self, folder: Path, advance: Advance) -> ShardResult:
        facts: dict[str, dict[str, object]] = {"base": {}, "diff": {}}
        codec = ChunkCodec()
        fast = self.opened.record is None
        with ShardFile(folder / self.file_name, infos(self.pairs, self.dtype), fast_hash=fast) as file:
            for pair, planned in zip(self.pairs, infos(self.pairs, self.dtype), strict=True):
                name, tensor = pair.info.name, self.opened.tensor(pair, codec)
                dtype = torch_dtype(planned.dtype)
                uncast = (
                    TensorHash() if self.opened.record is not None and dtype != torch_dtype(pair.info.dtype) else None
                )
                for piece in tensor.pieces():
                    if uncast is not None:
                        uncast.add(piece)
                    file.write(name, cast(piece, dtype, name))
                    advance(piece.numel() * dtype.itemsize, name)
                base_records, diff_record = tensor.base_records(), tensor.diff_record()
                sha256 = uncast.hexdigest() if uncast is not None else file.records[name].sha256
                verify(self.opened, name, base_records, diff_record, sha256)
                facts["diff"][name] = stored(diff_record).model_dump(mode="json")
                for base_name, record in base_records.items():
                    facts["base"][base_name] = stored(record).model_dump(mode="json")
        return ShardResult(file.records, facts)


def _shards(opened: OpenedDiff, dtype: str | None, max_shard_bytes: int | None) -> list[_Shard]:
    headers = aligned(infos(opened.pairs, dtype))
    bound = max_shard_bytes or default_shard_bytes(sum(info.nbytes for info in headers))
    pair_of = {pair.info.name: pair for pair in opened.pairs}
    return [
        _Shard(file_name, opened, [pair_of[info.name] for info in shard], dtype)
        for file_name, shard in plan_shards(headers, bound).items()
    ]


def _fingerprint(result: ShardResult, kind: str) -> str:
    """Of the base or the diff."""
    return model_fingerprint({name: Stored(**each).record() for name, each in result.facts.get(kind, {}).items()})


def _report(opened: OpenedDiff, result: ShardResult, checked: SumReport | None, seconds: float) -> RecoverReport:
    dtypes = {record.dtype for record in result.written.values()}
    record = opened.record
    return RecoverReport(
        form=opened.form,
        verified=record is not None,
        dtype=dtypes.pop() if len(dtypes) == 1 else "several",
        tensors=len(result.written),
        parameters=sum(pair.info.numel for pair in opened.pairs),
        bytes_written=sum(stored(each).info().nbytes for each in result.written.values()),
        grown_rows=max(pair.grown_rows for pair in opened.pairs),
        share_equal=record.share_equal if record is not None else None,
        max_abs_difference=record.max_abs_difference if record is not None else None,
        weight_sum=checked.found if checked is not None else None,
        fingerprint=model_fingerprint(result.written),
        seconds=round(seconds, 3),
    )
