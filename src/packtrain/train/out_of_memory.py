"""What a person reads when training does not fit: how much there was, what was asked, what would make it fit."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from packtrain.core.engine import Engine
from packtrain.core.errors import UserError
from packtrain.core.recipe import Train
from packtrain.train.distributed import Processes
from packtrain.train.strategy import device_name

_HOST_SAYS = ("can't allocate memory", "not enough memory", "Cannot allocate memory")


@contextmanager
def out_of_memory_explained(settings: Train, engine: Engine, tokens: int, processes: Processes) -> Iterator[None]:
    """Turn what torch raises in the block when memory runs out into a UserError; `tokens` are of a micro-batch."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _explained(settings, engine, tokens, processes) from error
    except RuntimeError as error:
        if not any(words in str(error) for words in _HOST_SAYS):
            raise
        raise _explained(settings, engine, tokens, processes) from error


def _explained(settings: Train, engine: Engine, tokens: int, processes: Processes) -> UserError:
    held, there = _figures_gb(processes.device)
    return UserError(
        f"out of memory on {device_name(processes.device)}: {there:.1f} GB in all, {held:.1f} GB held at the most, "
        f"micro-batches of {max(tokens, settings.max_length_tokens):,} tokens",
        "try, in this order: "
        + "; ".join(_advice(settings, engine, tokens, processes))
        + "; the last checkpoint is kept: --resume goes on (packtrain plan shows what fits)",
    )


def _figures_gb(device: torch.device) -> tuple[float, float]:
    """Held at the most by this process, and there in all."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9, torch.cuda.get_device_properties(
            device
        ).total_memory / 1e9
    import resource

    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return held / 1e9, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9


def _advice(settings: Train, engine: Engine, tokens: int, processes: Processes) -> list[str]:
    found = []
    if not engine.activation_checkpointing:
        found.append("engine.activation_checkpointing=true (a third slower)")
    if tokens > settings.max_length_tokens:
        found.append(f"engine.micro_batch_tokens={max(settings.max_length_tokens, tokens // 2)} (was {tokens})")
    found.append(f"train.max_length_tokens below {settings.max_length_tokens}")
    if processes.device.type == "cuda":
        more = 2 * processes.world_size
        found.append(f"more GPUs, which share weights and optimizer: torchrun --nproc_per_node {more} ...")
        if processes.world_size > 1 and not engine.cpu_offload:
            found.append("engine.cpu_offload=true (weights and optimizer in the host's memory)")
    if settings.adapter == "none":
        found.append("train.adapter=lora train.lr=2e-4 (tunes an adapter)")
    return found
