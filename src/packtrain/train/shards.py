"""Filling a sharded model from disk: each process reads the rows that it keeps, and no tensor is held whole."""

from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor, Shard

from packtrain.train.distributed import Processes
from packtrain.train.load import ModelSource


@torch.no_grad()
def fill_from_disk(model: Any, source: ModelSource, processes: Processes, device: torch.device) -> None:
    """Give the parameters of `model`, sharded on the meta device, their memory on `device` and their values.

    Where the files name tensors as the model does, each process reads its own rows. For the others (files that the
    library rearranges while loading), the first process loads the model and sends tensor after tensor.
    """
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.to_empty(device=device)
    for name, buffer in model.named_buffers():
        buffer.copy_(buffers[name])
    reader, prefix = source.reader(), model.base_model_prefix
    parameters = _base_parameters(model, source)
    if all(reader.has(name, prefix) for name in parameters):
        for name, parameter in parameters.items():
            start, stop = _rows_of(parameter)
            local = _shard(parameter).to_local()
            if local.numel():
                local.copy_(reader.rows(name, prefix, start, stop).view(local.shape))
        return
    _receive(parameters, source, processes)


def _base_parameters(model: Any, source: ModelSource) -> dict[str, torch.nn.Parameter]:
    """The base's parameters by the names that they have without an adapter; the adapter's own are left out."""
    parameters = dict(model.named_parameters())
    if source.adapter is None:
        return parameters
    from packtrain.train.lora import base_name

    named = ((base_name(name), parameter) for name, parameter in parameters.items())
    return {name: parameter for name, parameter in named if name is not None}


def _receive(parameters: dict[str, torch.nn.Parameter], source: ModelSource, processes: Processes) -> None:
    given = dict(source.base_on_host().named_parameters()) if processes.is_first else {}
    for name, parameter in parameters.items():
        tensor = torch.empty(parameter.shape)
        if processes.is_first:
            tensor.copy_(given[name])
        dist.broadcast(tensor, 0)
        start, stop = _rows_of(parameter)
        local = _shard(parameter).to_local()
        local.copy_(tensor[start:stop])


def _rows_of(parameter: torch.Tensor) -> tuple[int, int]:
    """The rows `[start, stop)` of a sharded parameter that this process keeps: FSDP2 cuts as torch.chunk does."""
    sharded = _shard(parameter)
    dimension = next(index for index, placement in enumerate(sharded.placements) if isinstance(placement, Shard))
    shards, mine = sharded.device_mesh.size(dimension), sharded.device_mesh.get_local_rank(dimension)
    each = -(-parameter.shape[0] // shards)
    start = min(mine * each, parameter.shape[0])
    stop = start + sharded.to_local().shape[0]
    if stop != min(start + each, parameter.shape[0]):
        raise RuntimeError(f"rows {start} to {stop} of {parameter.shape[0]} in {shards} shards: not how FSDP cuts")
    return start, stop


def _shard(parameter: torch.Tensor) -> DTensor:
    if not isinstance(parameter, DTensor):
        raise TypeError("the parameter is not sharded")
    return parameter
