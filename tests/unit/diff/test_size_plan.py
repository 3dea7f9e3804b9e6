"""What a diff takes before there is a tuned model."""

import pytest

from packtrain.diff.preflight import WORKER_BYTES
from packtrain.diff.size_plan import DISK_BYTES_PER_S, MAKE_BYTES_PER_S, PROCESS_BYTES, RECOVER_BYTES_PER_S, plan_sizes


def test_the_exact_form_takes_the_measured_share() -> None:
    found = plan_sizes(1_000_000_000, 2_000_000_000, "bfloat16", "exact", threads=1)
    assert (found.tuned_bytes, found.diff_bytes) == (2_000_000_000, 692_600_000)
    assert found.make_seconds == pytest.approx(2e9 / MAKE_BYTES_PER_S)
    assert found.recover_seconds == pytest.approx(2e9 / RECOVER_BYTES_PER_S + 4e9 / DISK_BYTES_PER_S)


def test_with_many_threads_the_disk_decides() -> None:
    found = plan_sizes(1_000_000_000, 2_000_000_000, "float32", "exact", threads=16)
    assert found.make_seconds == pytest.approx((2e9 + 4e9 + found.diff_bytes) / DISK_BYTES_PER_S)


def test_the_float_form_is_as_large_as_float32() -> None:
    for dtype in ("float32", "bfloat16", "float16"):
        assert plan_sizes(1000, 2000, dtype, "float").diff_bytes == 4000


def test_memory_depends_on_threads_alone() -> None:
    small, large = (plan_sizes(weights, 2 * weights, "float32", "exact", 2) for weights in (10**6, 65 * 10**9))
    assert small.peak_bytes == large.peak_bytes == PROCESS_BYTES + 2 * WORKER_BYTES == 348_000_000
