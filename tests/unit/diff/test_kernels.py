"""Proves that the compiled loops and NumPy give the same bytes, and that the package works without the former."""

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from packtrain.diff import sorted_steps as steps_module
from packtrain.diff.chunk import HEADER, ChunkCodec
from packtrain.diff.kernels import LIBRARY, Kernels, compiled
from packtrain.diff.sorted_steps import CompiledSteps, NumpySteps
from packtrain.diff.ulp import LAYOUTS, FloatLayout

ROOT = Path(__file__).parents[3]

needs_kernels = pytest.mark.skipif(compiled() is None, reason="the package was built without a C compiler")


def random_patterns(layout: FloatLayout, count: int, seed: int) -> np.ndarray[Any, Any]:
    """Any pattern at all, NaN and infinities included."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 1 << layout.bits, count, dtype=layout.unsigned).view(layout.signed)


def near(base: np.ndarray[Any, Any], seed: int) -> np.ndarray[Any, Any]:
    """A few steps away."""
    return base + np.random.default_rng(seed).integers(-20, 21, len(base)).astype(base.dtype)


def test_there_are_compiled_loops_where_there_is_a_compiler() -> None:
    assert compiled() is not None or shutil.which("cc") is None


@needs_kernels
@pytest.mark.parametrize("dtype", list(LAYOUTS))
@pytest.mark.parametrize("count", [0, 1, 2047, 2048, 2049, 70_000, 200_001])
def test_same_values_and_back(dtype: str, count: int) -> None:
    layout, kernels = LAYOUTS[dtype], compiled()
    assert kernels is not None
    base = random_patterns(layout, count, 1)
    for tuned in (random_patterns(layout, count, 2), near(base, 3), base.copy()):
        for fold in (0, 5 << layout.mantissa_bits, layout.magnitude_mask):
            arrays = np.empty((2, 3, count), layout.signed)
            ours, theirs = CompiledSteps(kernels, base, layout, arrays[0]), NumpySteps(base, layout, arrays[1])
            assert np.array_equal(ours.counts, theirs.counts)
            values = ours.sort(tuned, fold).copy()
            assert np.array_equal(values, theirs.sort(tuned, fold))
            assert np.array_equal(ours.unsort(values, fold), tuned)
            assert np.array_equal(theirs.unsort(values, fold), tuned)


@needs_kernels
@pytest.mark.parametrize("dtype", list(LAYOUTS))
def test_same_chunks(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = LAYOUTS[dtype]
    rng = np.random.default_rng(5)
    base = (rng.standard_normal(100_000) * 0.02).astype(np.float32).view(np.int32)
    base = base if layout.bits == 32 else (base >> 16).astype(np.int16)
    tuned = near(base, 6)
    fast = b"".join(ChunkCodec().difference(tuned, base, layout))
    monkeypatch.setattr(steps_module, "compiled", lambda: None)
    assert b"".join(ChunkCodec().difference(tuned, base, layout)) == fast
    body = memoryview(fast)[HEADER.size :]
    back = ChunkCodec().read(fast[: HEADER.size], body, len(base), base, layout, base.itemsize)
    assert np.array_equal(back, tuned)


@needs_kernels
def test_arrays_that_do_not_fit_are_refused() -> None:
    layout, kernels = LAYOUTS["bfloat16"], compiled()
    assert isinstance(kernels, Kernels)
    base = random_patterns(layout, 100, 1)
    counts = kernels.count(base, layout)
    with pytest.raises(ValueError, match="different lengths"):
        kernels.sort(base, base[:50], 0, counts, np.empty_like(base), layout)
    with pytest.raises(ValueError, match="different lengths"):
        kernels.unsort(base, base, 0, counts // 2, np.empty_like(base), layout)
    with pytest.raises(ValueError, match="not contiguous"):
        kernels.sort(base, np.repeat(base, 2)[::2], 0, counts, np.empty_like(base), layout)


def test_a_build_without_a_compiler_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    pytest.importorskip("hatchling")
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    library = tmp_path / build.LIBRARY
    library.parent.mkdir(parents=True)
    library.write_bytes(b"of an earlier build")
    monkeypatch.setenv("CC", "no-such-compiler")
    assert build.compile_kernels(tmp_path) is False
    assert not library.exists()
    assert "no compiled kernels" in capsys.readouterr().err
    assert library.name == LIBRARY.name
