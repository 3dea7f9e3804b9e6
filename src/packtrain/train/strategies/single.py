"""One process, one device: the whole model in float32, computed in bfloat16 where that is native."""

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal

import torch

from packtrain.core.errors import UserError

Precision = Literal["auto", "float32", "bfloat16"]


class Single:
    """Where a run on one device computes, and in what precision."""

    def __init__(self, precision: Precision) -> None:
        """Take the GPU when there is one; resolve `auto` by what the device multiplies natively.

        UserError under a launcher with several processes: each would train the whole model and write
        the same folder.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise UserError(
                "this version trains in one process, and was started in several", "start it without torchrun"
            )
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        native = precision == "auto" and multiplies_bfloat16(self.device)
        self.compute_dtype = torch.bfloat16 if native or precision == "bfloat16" else torch.float32

    def place(self, model: torch.nn.Module) -> None:
        """Put the model on the device, as float32 master weights."""
        model.to(device=self.device, dtype=torch.float32)

    def compute(self) -> AbstractContextManager[object]:
        """The context in which forward passes run."""
        if self.compute_dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.compute_dtype)

    def describe(self) -> str:
        """One line for logs and cards."""
        name = torch.cuda.get_device_name() if self.device.type == "cuda" else "CPU"
        return f"{name}, {str(self.compute_dtype).removeprefix('torch.')} compute, float32 master weights"


def multiplies_bfloat16(device: torch.device) -> bool:
    """True when the device has bfloat16 matrix instructions (for a CPU: avx512_bf16, amx_bf16 or Arm's bf16)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    processor = Path("/proc/cpuinfo")
    flags = processor.read_text().split() if processor.exists() else []
    return any(flag in flags for flag in ("avx512_bf16", "amx_bf16", "bf16"))
