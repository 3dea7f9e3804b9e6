"""Finds a torch that cannot be imported, and GPUs that are there and that it does not see."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from packtrain.train.doctor_checks import Finding, error, fine, warning

DRIVER = Path("/proc/driver/nvidia/version")
"""Where the kernel module of NVIDIA's driver says which one it is."""
_TORCH = "install the torch for your driver: https://pytorch.org/get-started/locally"
_VISIBLE = "CUDA_VISIBLE_DEVICES"


def check() -> Iterator[Finding]:
    """Each GPU and whether it multiplies bfloat16; without one what the CPU does, and why a driver is not used."""
    try:
        import torch

        from packtrain.models.precision import multiplies_bfloat16
    except Exception as problem:  # a broken installation raises what it likes
        reason = " ".join(str(problem).split())[:200]
        yield error(f"torch cannot be imported: {type(problem).__name__}: {reason}", "torch", _TORCH)
        return
    count = torch.cuda.device_count()
    for index in range(count):
        device = torch.device("cuda", index)
        properties = torch.cuda.get_device_properties(index)
        gpu = f"GPU {index}: {properties.name}, {properties.total_memory / 1e9:.0f} GB"
        if multiplies_bfloat16(device):
            yield fine(f"{gpu}, multiplies bfloat16")
        else:
            mend = "train.precision=auto takes float32 there, at twice the memory and less speed"
            yield warning(f"{gpu}, does not multiply bfloat16", f"GPU {index}", mend)
    if not count:
        yield from _without_gpu(torch.version.cuda or torch.version.hip, multiplies_bfloat16(torch.device("cpu")))


def _without_gpu(built_for: str | None, bfloat16: bool) -> Iterator[Finding]:
    hidden = os.environ.get(_VISIBLE)
    if not DRIVER.exists() and shutil.which("nvidia-smi") is None:
        computes = "bfloat16" if bfloat16 else "float32 alone"
        yield fine(f"no GPU: everything is computed by the CPU, which multiplies {computes}")
    elif hidden is not None and hidden.strip() in ("", "-1"):
        yield warning("GPUs are hidden from torch", f"{_VISIBLE}={hidden}", f"unset {_VISIBLE}")
    elif built_for is None:
        what = "there is a driver of NVIDIA, and this torch is built for CPUs alone"
        yield warning(what, f"torch {_torch_version()}", _TORCH)
    else:
        what = f"there is a driver of NVIDIA, and torch, built for CUDA {built_for}, finds no GPU"
        yield warning(what, nvidia_driver() or "nvidia-smi", f"update the driver, or {_TORCH}")


def _torch_version() -> str:
    import torch

    return str(torch.__version__)


def nvidia_driver() -> str | None:
    """What the kernel module of NVIDIA's driver calls itself; None where there is none."""
    try:
        return DRIVER.read_text().splitlines()[0].strip()
    except (OSError, IndexError):
        return None
