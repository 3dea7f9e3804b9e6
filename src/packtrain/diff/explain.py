"""Explaining a diff: what fine-tuning changed, in figures and in sentences."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from packtrain.core.errors import UserError
from packtrain.core.progress import progress
from packtrain.diff.change_figures import ChangeSums, GroupChange, TensorChange, add_up, groups_of
from packtrain.diff.change_rank import ChangeRank, change_rank, choose
from packtrain.diff.changes import Changes, open_changes
from packtrain.diff.findings import Finding, findings
from packtrain.diff.groups import places
from packtrain.weights.shard_jobs import one_torch_thread, worker_count

SAMPLE = 8
"""Matrices whose singular values are computed, unless another number is asked for."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What fine-tuning changed."""

    form: str
    """`exact`, `float`, `float (no manifest)`, a family of diffs without manifest, or `models`."""
    with_base: bool
    """Whether the base was there to compare with."""
    total: GroupChange
    """The whole model."""
    groups: tuple[GroupChange, ...]
    """Embeddings, every layer, final norm, head, others."""
    tensors: tuple[TensorChange, ...]
    """In the same order."""
    ranks: tuple[ChangeRank, ...]
    """Of a sample of the matrices."""
    findings: tuple[Finding, ...]


def explain(
    diff: Path, base: Path | None = None, *, family: str | None = None, sample: int = SAMPLE, jobs: int | None = None
) -> Explanation:
    """What fine-tuning changed: a diff of any form, or a tuned model beside its `base`, read in constant memory.

    Without a base, which only float diffs can do without, what is relative to it is left out. `sample`
    matrices are read a second time for their singular values, one after the other; `jobs` threads do the
    rest (None: one for each processor, 16 at most). UserError when the folders do not fit or are damaged;
    with a manifest every tensor is verified as recovery does it.
    """
    if sample < 0:
        raise UserError(f"cannot sample {sample} matrices", "--sample is a number from 0")
    changes = open_changes(diff, base, family=family)
    tensors = _all_tensors(changes, worker_count(jobs))
    groups = groups_of(tensors)
    ranks = _ranks(changes, tensors, sample)
    return Explanation(
        form=changes.form,
        with_base=changes.base is not None,
        total=add_up("all", None, tensors),
        groups=tuple(groups),
        tensors=tuple(tensors),
        ranks=tuple(ranks),
        findings=tuple(findings(tensors, groups, ranks, changes.untold)),
    )


def _all_tensors(changes: Changes, workers: int) -> list[TensorChange]:
    """The figures of every tensor, by its place in the model; the largest are begun first."""
    by_name = {tensor.info.name: tensor for tensor in changes.tensors}
    place_of, lock = places(by_name), threading.Lock()
    largest_first = sorted(place_of, key=lambda name: -by_name[name].info.nbytes)
    total = sum(tensor.info.nbytes for tensor in changes.tensors)
    with (
        progress("explain", total, unit="bytes") as advance,
        one_torch_thread(),
        ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):

        def figures(name: str) -> TensorChange:
            tensor = by_name[name]
            sums = ChangeSums(tensor)
            for piece in changes.pieces(tensor):
                sums.add(piece)
            with lock:
                advance(tensor.info.nbytes, note=name)
            return sums.result(place_of[name])

        found = {change.name: change for change in pool.map(figures, largest_first)}
    return [found[name] for name in place_of]


def _ranks(changes: Changes, tensors: list[TensorChange], sample: int) -> list[ChangeRank]:
    by_name = {tensor.info.name: tensor for tensor in changes.tensors}
    chosen = choose(tensors, sample)
    ranks = []
    with progress("singular values", len(chosen)) as advance:
        for change in chosen:
            ranks.append(change_rank(changes, by_name[change.name], change))
            advance(note=change.name)
    return ranks
