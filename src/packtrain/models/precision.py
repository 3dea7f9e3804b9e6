"""The number type that a model computes in on this machine."""

from pathlib import Path
from typing import Literal

import torch

from packtrain.core.folder import unknown


def multiplies_bfloat16(device: torch.device) -> bool:
    """True when the device has bfloat16 matrix instructions (for a CPU: avx512_bf16, amx_bf16 or Arm's bf16)."""
    if device.type == "cuda":
        with torch.cuda.device(device):  # the question is about the current one
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    processor = Path("/proc/cpuinfo")
    flags = set(processor.read_text().split()) if processor.exists() else set()
    return not flags.isdisjoint({"avx512_bf16", "amx_bf16", "bf16"})


def compute_dtype(wanted: torch.dtype | Literal["auto"], device: torch.device) -> torch.dtype:
    """`wanted`; `auto` is bfloat16 where the device has instructions that multiply it, else float32."""
    if wanted != "auto":
        return wanted
    return torch.bfloat16 if multiplies_bfloat16(device) else torch.float32


def dtype_named(name: str) -> torch.dtype | Literal["auto"]:
    """The type that a word on the command line means; UserError listing the words there are."""
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name == "auto":
        return "auto"
    if name not in known:
        raise unknown("number type", name, ["auto", *known])
    return known[name]
