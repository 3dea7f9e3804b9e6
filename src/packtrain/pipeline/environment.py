"""What a bug report has to say of a machine: versions, processor, GPUs, memory, disk, extras; no secret and no path."""

import os
import platform
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from packtrain.core.cache_folder import cache_folder
from packtrain.core.disk import free_bytes
from packtrain.core.extras import EXTRAS, installed
from packtrain.core.packages import requirements, version_of
from packtrain.pipeline.doctor.installation.devices import nvidia_driver

CPU_FEATURES = (
    "avx2",
    "avx512f",
    "avx512_bf16",
    "avx512_vnni",
    "amx_tile",
    "amx_bf16",
    "f16c",
    "sha_ni",
    "bf16",
    "sve",
)
"""Those that decide how fast weights are multiplied, cast and hashed, as /proc/cpuinfo calls them."""
PROGRAMS = ("cc", "bwrap", "chromium", "git", "nvidia-smi")
"""What some commands call."""
SETTINGS = (
    *("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG", "PYTORCH_CUDA_ALLOC_CONF"),
    *("NCCL_DEBUG", "TORCH_DISTRIBUTED_DEBUG", "WORLD_SIZE", "TOKENIZERS_PARALLELISM"),
    *("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_XET", "NO_COLOR", "LANG", "LC_ALL"),
)
"""Environment variables that are told with their values."""
SET_OR_NOT = (
    *("HF_TOKEN", "HF_ENDPOINT", "HF_HOME", "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE", "WANDB_API_KEY"),
    *("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "PACKTRAIN_CACHE"),
)
"""Environment variables of which only that they are set is told: they hold keys, addresses and paths."""


def environment() -> dict[str, Any]:
    """All that is known of this machine and installation, as plain JSON values."""
    return {
        "packtrain": version_of("packtrain"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": _system(),
        "processor": _processor(),
        "memory": _memory(),
        "disk_free_bytes": _disk(),
        "torch": _torch(),
        "packages": _packages(),
        "extras": {extra: installed(extra) for extra in EXTRAS},
        "programs": {name: shutil.which(name) is not None for name in PROGRAMS},
        "compiled_diff_loops": _has_kernels(),
        "settings": {name: os.environ[name] for name in SETTINGS if name in os.environ},
        "set": [name for name in SET_OR_NOT if os.environ.get(name) or os.environ.get(_small(name))],
    }


def _small(name: str) -> str:
    """The name of a proxy's variable in small letters, which is read as well; other names as they are."""
    return name.lower() if name.endswith("_PROXY") else name


def _packages() -> dict[str, str | None]:
    """Versions of what packtrain always needs; None for a package that is not there."""
    return {name: version_of(name) for name in sorted((one.name for one in requirements()), key=str.lower)}


def _system() -> dict[str, str]:
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        name = platform.system()
    libc = " ".join(platform.libc_ver()).strip()
    return {"name": name, "kernel": platform.release(), "machine": platform.machine(), "libc": libc}


def _processor() -> dict[str, Any]:
    info: dict[str, str] = {}
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            info.setdefault(key.strip(), value.strip())
    flags = set((info.get("flags") or info.get("Features") or "").split())
    return {
        "name": info.get("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "features": [name for name in CPU_FEATURES if name in flags],
    }


def _memory() -> dict[str, int | None]:
    from packtrain.core.machine_memory import free_memory_bytes, memory_of_host

    return {"total_bytes": memory_of_host(), "available_bytes": free_memory_bytes()}


def _disk() -> dict[str, int | None]:
    """Free bytes where packtrain writes; None for a place that cannot be asked."""
    places = {"current folder": Path(), "temporary files": Path(tempfile.gettempdir())}
    with suppress(Exception):  # no home folder
        places["cache"] = cache_folder()
    with suppress(Exception):
        from huggingface_hub.constants import HF_HUB_CACHE

        places["models of the Hub"] = Path(HF_HUB_CACHE)
    return {name: _free(place) for name, place in places.items()}


def _free(place: Path) -> int | None:
    with suppress(OSError):
        return free_bytes(place)
    return None


def _torch() -> dict[str, Any]:
    """What torch says of itself and of the GPUs; the error where it cannot be imported."""
    try:
        import torch
    except Exception as error:  # a broken installation raises what it likes, and is just what a report is about
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    found: dict[str, Any] = {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpus": [],
    }
    with suppress(Exception):  # a driver that does not fit
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            free, total = torch.cuda.mem_get_info(index)
            capability = f"{properties.major}.{properties.minor}"
            gpu = {"name": properties.name, "capability": capability, "bytes": total, "free_bytes": free}
            found["gpus"].append(gpu)
    if driver := nvidia_driver():
        found["driver"] = driver
    return found


def _has_kernels() -> bool | None:
    """Whether exact diffs run compiled; None when that cannot be found out."""
    try:
        from packtrain.diff.kernels import compiled

        return compiled() is not None
    except Exception:  # NumPy or torch is broken: the report says so elsewhere
        return None
