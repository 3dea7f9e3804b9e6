"""The bench's own measurements, which these tests assert on."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
MODULES = ("gpu_setup", "gpu_attention", "gpu_equality")


@pytest.fixture(scope="session")
def bench() -> Iterator[dict[str, Any]]:
    """The modules of bench/ that know how a GPU is tried."""
    sys.path.insert(0, str(BENCH))
    try:
        yield {name: importlib.import_module(name) for name in MODULES}
    finally:
        sys.path.remove(str(BENCH))


@pytest.fixture
def setting(bench: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The first GPU, an empty folder, and matrix products that always add in the same order."""
    import torch

    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return bench["gpu_setup"].Setting(torch.device("cuda", 0), tmp_path)
