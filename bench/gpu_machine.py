"""The part of bench/gpu.py that says what the machine is, what it can do, and what its own tests say."""

import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from gpu_setup import GB, LeftOut, Setting, synchronize
from gpu_speed import rows

from packtrain.train.attention import _varlen_fits
from packtrain.train.flops import peak_flops

PACKAGES = (
    "torch", "transformers", "triton", "accelerate", "peft", "trl", "datasets", "flash-attn", "bitsandbytes",
    "pydantic", "tokenizers", "numpy",
)  # fmt: skip


def environment(setting: Setting) -> dict[str, Any]:
    """The machine and what is installed on it."""
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
    }
    found["varlen_kernel"] = _varlen_fits()
    if not setting.on_gpu:
        return found | {"device": platform.processor() or platform.machine()}
    properties = torch.cuda.get_device_properties(setting.device)
    asked = [
        "nvidia-smi",
        "--query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit",
        "--format=csv,noheader",
    ]
    answered = subprocess.run(asked, capture_output=True, text=True, check=False)
    return found | {
        "device": torch.cuda.get_device_name(setting.device),
        "memory_gb": properties.total_memory / GB,
        "multiprocessors": properties.multi_processor_count,
        "cuda": torch.version.cuda,
        "nvidia_smi": answered.stdout.strip() or answered.stderr.strip()[:200],
        "bfloat16": torch.cuda.is_bf16_supported(including_emulation=False),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def matrix_products(setting: Setting) -> dict[str, Any]:
    """Measured bfloat16 speed in TFLOP/s: a large square product, and those of LLaMA-7B at several micro-batches."""
    sizes = {"square": (8192, 8192, 8192)}
    for count in (2048, 4096, 8192, 16384):
        sizes[f"attention, {count} tokens"] = (count, 4096, 4096)
        sizes[f"mlp, {count} tokens"] = (count, 4096, 11008)
    if setting.tiny:
        sizes = {"square": (64, 64, 64)}
    found = {name: _speed(setting, *size) / 1e12 for name, size in sizes.items()}
    stated = peak_flops(setting.device, torch.bfloat16)
    copied = 64 if setting.tiny else 1 << 30
    source = torch.empty(copied, dtype=torch.uint8, device=setting.device)
    seconds = _seconds(setting, source.clone)
    return {"tflops": found, "stated_tflops": stated and stated / 1e12, "copy_gb_per_s": 2 * copied / seconds / GB}


def _speed(setting: Setting, count: int, inner: int, columns: int) -> float:
    left, right = (torch.randn(*size, device=setting.device).bfloat16() for size in ((count, inner), (inner, columns)))
    return 2 * count * inner * columns / _seconds(setting, lambda: left @ right)


def _seconds(setting: Setting, work: Callable[[], object], repeats: int = 10) -> float:
    """Seconds that some work takes, after a few times to warm up."""
    for _ in range(3):
        work()
    synchronize(setting.device)
    begun = time.perf_counter()
    for _ in range(repeats):
        work()
    synchronize(setting.device)
    return (time.perf_counter() - begun) / repeats


def expandable_segments(setting: Setting) -> dict[str, Any]:
    """Whether the allocator may grow its segments here, which saves memory that is lost between blocks otherwise."""
    if not setting.on_gpu:
        raise LeftOut("belongs to GPUs")
    choose = getattr(torch._C, "_accelerator_setAllocatorSettings", None) or torch.cuda.memory._set_allocator_settings
    choose("expandable_segments:True")
    try:
        total = torch.ones(1 << 28, device=setting.device).sum().item()
    finally:
        choose("expandable_segments:False")
    return {"works": total == 1 << 28}


def tests(setting: Setting) -> dict[str, Any]:
    """What the tests that need a GPU say."""
    if not setting.on_gpu:
        raise LeftOut("needs a GPU")
    setting.needs(30)
    here = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/gpu"]
    left = max(10.0, setting.deadline - time.time() - 3)
    finished = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False, timeout=left)
    return {"equal": finished.returncode == 0, "told": finished.stdout[-3000:], "errors": finished.stderr[-500:]}


def environment_items() -> dict[str, Any]:
    """The measurements of the section environment by name."""
    return {
        "machine": environment,
        "rows": rows,
        "matrix_products": matrix_products,
        "expandable_segments": expandable_segments,
    }


def tests_items() -> dict[str, Any]:
    """The measurements of the section tests by name."""
    return {"tests/gpu": tests}
