"""What a diff and its recovery take before there is a tuned model: bytes, time and memory, from measured figures.

All figures are of docs/performance.md, section on weight diffs. Once the models are there, preflight.py knows better.
"""

from dataclasses import dataclass
from typing import Literal

from packtrain.diff.preflight import WORKER_BYTES
from packtrain.weights.info import torch_dtype
from packtrain.weights.shard_jobs import MAX_WORKERS

EXACT_SHARE = {"float32": 0.6736, "bfloat16": 0.3463, "float16": 0.5342}
"""Exact diff as a share of the tuned tensors' bytes, for updates of RMS 6e-4 (bench/diff_size.py); real pairs of tiny
models took 0.70 to 0.72, 0.39 to 0.45 and 0.57 to 0.63."""
FLOAT_BYTES = 4
"""Of a weight in the float form, whatever the tuned model's type."""
MAKE_BYTES_PER_S, RECOVER_BYTES_PER_S = 244e6, 273e6
"""Tuned bytes for each thread, in bfloat16 and the exact form (bench/diff.py exact); taken for the others as well."""
DISK_BYTES_PER_S = 1e9
"""Read and written together: assumed."""
PROCESS_BYTES = 252_000_000
"""Python and what it loads: the measured peak of 348 MB less two threads' own."""


@dataclass(frozen=True, slots=True)
class DiffSizes:
    """What both ways take."""

    tuned_bytes: int
    diff_bytes: int
    make_seconds: float
    recover_seconds: float
    """Comparing the result with the tuned model, as `packtrain run` does, included."""
    peak_bytes: int
    """Of memory, each way; it does not depend on the model's size."""


def plan_sizes(
    weights: int, base_bytes: int, dtype: str, form: Literal["exact", "float"], threads: int = MAX_WORKERS
) -> DiffSizes:
    """What the diff of a model of so many weights takes, its tuned files being of `dtype`.

    An estimate: as fast as the processor or the disk, whichever is slower.
    """
    tuned = torch_dtype(dtype).itemsize * weights
    diff = round(EXACT_SHARE[dtype] * tuned) if form == "exact" else FLOAT_BYTES * weights
    make = max(tuned / (MAKE_BYTES_PER_S * threads), (base_bytes + tuned + diff) / DISK_BYTES_PER_S)
    recover = max(tuned / (RECOVER_BYTES_PER_S * threads), (base_bytes + diff + tuned) / DISK_BYTES_PER_S)
    compare = 2 * tuned / DISK_BYTES_PER_S
    return DiffSizes(tuned, diff, make, recover + compare, PROCESS_BYTES + threads * WORKER_BYTES)
