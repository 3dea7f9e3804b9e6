"""The machine that a plan is for: named by the user, or the one at hand.

`4xA100-80G`, `2x8xH100-80G` (two machines of eight), `3xMyGPU-48G` (any name, its memory given), `cpu:16G`, `this`.
The devices that need no more than their name are data: hardware.yaml.
"""

import os
import re
import time
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml

from packtrain.core.errors import UserError
from packtrain.core.folder import unknown
from packtrain.core.machine_memory import memory_of_host

GIB = 1 << 30
"""What makers of memory call a GB."""
CPU_UTILISATION = {"float32": 0.65, "bfloat16": 0.35}
"""Share of the processor's measured speed in large matrix products that training reaches: an assumption."""

MFU = 0.4
"""The same for a GPU of which hardware.yaml says nothing else."""

_VARIANTS = {"laptop", "max", "mobile", "mig", "d"}
"""Words of parts and variants with fewer units than the whole chip: nothing is known of them."""
_GPUS = re.compile(r"(?:(?P<machines>\d+)x)?(?:(?P<count>\d+)x)?(?P<name>[A-Za-z][\w .+-]*?)(?:-(?P<memory>[\d.]+)G)?")
_CPU = re.compile(r"cpu:(?P<memory>[\d.]+)G")
_HINT = "write 4xA100-80G, 2x8xH100-80G (two machines), 3xMyGPU-48G (any name with its memory), cpu:16G or this"


@dataclass(frozen=True, slots=True)
class Hardware:
    """What there is to compute on; all devices are alike."""

    name: str
    kind: Literal["gpu", "cpu"]
    memory_bytes: int
    """Of one GPU; of the whole machine for a CPU."""
    machines: int = 1
    per_machine: int = 1
    """Devices of each machine; a CPU is one."""
    host_bytes: int | None = None
    """Memory of each machine beside the GPUs' own; None when unknown. A CPU's is `memory_bytes`."""
    peak_flops: tuple[tuple[str, float], ...] = ()
    """Operations per second of one device in dense matrix products, by type of the numbers; a type may be missing."""
    utilisation: tuple[tuple[str, float], ...] = ()
    """Share of that peak which training reaches, assumed, by type of the numbers."""
    native_bfloat16: bool = True
    memory_bytes_per_s: float | None = None
    """Of one device; None when it is not known."""
    source: str = ""
    """Where the machine's own memory is known from."""

    @property
    def devices(self) -> int:
        """How many there are on all machines: as many processes train."""
        return self.machines * self.per_machine

    def with_machines(self, machines: int, per_machine: int) -> "Hardware":
        """More or fewer of the same, on machines with as much memory for each GPU."""
        host = self.host_bytes and self.host_bytes * per_machine // self.per_machine
        return replace(self, machines=machines, per_machine=per_machine, host_bytes=host)

    def describe(self) -> str:
        """`2 machines of 8 x H100 with 85.9 GB each`, in GB of 10^9 bytes."""
        memory = f"{self.memory_bytes / 1e9:.1f} GB"
        if self.kind == "cpu":
            return f"{self.name}, {memory}"
        machines = f"{self.machines} machines of " if self.machines > 1 else ""
        return f"{machines}{self.per_machine} x {self.name} with {memory}{' each' if self.devices > 1 else ''}"


@cache
def known_devices() -> dict[str, dict[str, Any]]:
    """The entries of hardware.yaml by name."""
    text = (files("packtrain.train.plan") / "hardware.yaml").read_text(encoding="utf-8")
    devices: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return devices


def known_device(name: str) -> str | None:
    """The entry of hardware.yaml that a name means, be it the user's or the driver's (`NVIDIA A100-SXM4-80GB`).

    The special goes before the general (`H100-PCIe` before `H100`). Parts of a chip and its variants for laptops are
    none of the entries.
    """
    words = _words(name)
    if _VARIANTS.intersection(words):
        return None
    runs = {"".join(words[start:end]) for start in range(len(words)) for end in range(start + 1, len(words) + 1)}
    found = [entry for entry in known_devices() if "".join(_words(entry)) in runs or set(_words(entry)) <= set(words)]
    return max(found, key=len, default=None)


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", name.lower())


def stated_flops(name: str, kind: str) -> float | None:
    """Dense operations per second that the maker of the GPU of this name states for `float32`, `bfloat16` or `float16`.

    None when it is not known here, or when the GPU does not multiply such numbers.
    """
    known = known_device(name)
    entry = known_devices()[known] if known else {}
    tflops = entry.get(f"{kind}_tflops") or (entry.get("bfloat16_tflops") if kind == "float16" else None)
    return tflops * 1e12 if tflops else None


def parse_hardware(text: str) -> Hardware:
    """What the text of `--on` means; UserError for anything that is no machine, or whose memory is not known."""
    text = text.strip()
    if text == "this":
        return this_machine()
    if match := _CPU.fullmatch(text):
        return _this_cpu(f"CPU of this kind ({os.cpu_count()} cores)", _bytes(match["memory"], text))
    match = _GPUS.fullmatch(text)
    if match is None or text.startswith("cpu"):
        raise UserError(f"not a machine: {text}", _HINT)
    known = known_device(match["name"])
    if known is None and match["memory"] is None:
        error = unknown("device", match["name"], known_devices())
        raise UserError(error.message, f"{error.hint}; or give its memory: {text}-48G")
    entry = known_devices()[known] if known else {}
    if match["memory"] is not None:
        memory = round(_bytes(match["memory"], text) * entry.get("usable", 1.0))
    elif len(entry["memory_gb"]) == 1:
        memory = round(entry["memory_gb"][0] * GIB * entry.get("usable", 1.0))
    else:
        sizes = ", ".join(f"{text}-{size}G" for size in entry["memory_gb"])
        raise UserError(f"{known} is sold with different memories", f"say which: {sizes}")
    machines, count = int(match["machines"] or 1), int(match["count"] or 1)
    if match["count"] is None:
        machines, count = 1, machines
    if not (machines and count):
        raise UserError(f"not a machine: {text}", _HINT)
    return _gpus(known or match["name"], entry, memory, machines, count)


def _gpus(name: str, entry: dict[str, Any], memory: int, machines: int, count: int) -> Hardware:
    peaks = {kind: peak for kind in ("bfloat16", "float32") if (peak := stated_flops(name, kind))}
    return Hardware(
        name,
        "gpu",
        memory,
        machines,
        count,
        host_bytes=entry["host_gb"] * GIB * count if entry else None,
        peak_flops=tuple(peaks.items()),
        utilisation=tuple((kind, entry.get("mfu", MFU)) for kind in peaks),
        native_bfloat16="float16_tflops" not in entry,
        memory_bytes_per_s=_bandwidth(entry, memory) if entry else None,
        source="as such machines commonly have" if entry else "as given",
    )


def _bandwidth(entry: dict[str, Any], memory: int) -> float:
    """That of the size sold that is nearest."""
    sizes = zip(entry["memory_gb"], entry["bandwidth_gb_s"], strict=True)
    return float(min(sizes, key=lambda sold: abs(sold[0] * GIB - memory))[1]) * 1e9


def _bytes(gigabytes: str, text: str) -> int:
    try:
        amount = float(gigabytes)
    except ValueError:
        amount = 0.0
    if not amount > 0:
        raise UserError(f"not a machine: {text}", _HINT)
    return int(amount * GIB)


def this_machine() -> Hardware:
    """The machine at hand: its GPUs when torch finds some, else its processor and memory."""
    import torch

    if not torch.cuda.is_available():
        return _this_cpu(f"this machine, {os.cpu_count()} cores", memory_of_host())
    count = torch.cuda.device_count()
    found = torch.cuda.get_device_name(0)
    known = known_device(found)
    memory = min(torch.cuda.get_device_properties(index).total_memory for index in range(count))
    hardware = _gpus(found, known_devices()[known] if known else {}, memory, 1, count)
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    return replace(hardware, host_bytes=memory_of_host(), native_bfloat16=native, source="found on this machine")


def _this_cpu(name: str, memory: int) -> Hardware:
    import torch

    from packtrain.models.precision import multiplies_bfloat16

    native = multiplies_bfloat16(torch.device("cpu"))
    kinds = ("float32", "bfloat16") if native else ("float32",)
    return Hardware(
        name,
        "cpu",
        memory,
        host_bytes=memory,
        peak_flops=tuple((kind, matrix_speed(kind)) for kind in kinds),
        utilisation=tuple((kind, CPU_UTILISATION[kind]) for kind in kinds),
        native_bfloat16=native,
        memory_bytes_per_s=memory_speed(),
        source="found on this machine",
    )


@cache
def matrix_speed(kind: str) -> float:
    """Operations per second of this processor in a large matrix product: the best of a few, in a tenth of a second."""
    import torch

    size, best = 768, 0.0
    left = torch.ones(size, size, dtype=getattr(torch, kind))
    for _ in range(6):
        begun = time.perf_counter()
        left @ left
        best = max(best, 2 * size**3 / (time.perf_counter() - begun))
    return best


@cache
def memory_speed() -> float:
    """Bytes per second that this machine reads from a large array: the best of a few, in a tenth of a second."""
    import torch

    array, best = torch.ones(16_000_000), 0.0
    for _ in range(6):
        begun = time.perf_counter()
        array.sum()
        best = max(best, array.nbytes / (time.perf_counter() - begun))
    return best
