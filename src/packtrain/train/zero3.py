"""A model partitioned as DeepSpeed's ZeRO-3 does it: every parameter flat, cut in equal parts, one per process.

The parts are filled from disk, so no process holds the model whole. DeepSpeed agrees between processes on the order in
which modules are computed; so all passes of all processes must be alike, whatever is in their micro-batches.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from packtrain.core.recipe import Train
from packtrain.train.distributed import Processes
from packtrain.train.load import ModelSource
from packtrain.train.objective import Objective
from packtrain.train.optimizer import build_optimizer

Config = dict[str, Any]
"""DeepSpeed's configuration (https://www.deepspeed.ai/docs/config-json)."""
BUCKET = 50_000_000
"""Elements that are exchanged at once: 200 MB of float32 gradients. A larger tensor goes alone."""
MOMENTS = ("exp_avg", "exp_avg_sq")
"""AdamW's state of a weight's size."""
KEPT_WHOLE_PER_WIDTH = 10
"""Parameters of at most this many times the hidden size (norms, biases) stay whole, as transformers sets it."""


class OnePass(Objective):
    """An objective that is one module pass to DeepSpeed, also where its forward pass calls itself."""

    def __init__(self, model: Any, compute_dtype: torch.dtype) -> None:
        super().__init__(model, compute_dtype)
        self._inside = False

    def __call__(self, *given: Any, **named: Any) -> Any:
        """What `forward` gives; hooks run around the outermost call alone."""
        if self._inside:
            return self.forward(*given, **named)
        self._inside = True
        try:
            return super().__call__(*given, **named)
        finally:
            self._inside = False


@dataclass(frozen=True, slots=True)
class Part:
    """What this process keeps of a parameter."""

    parameter: Any
    """With DeepSpeed's attributes: `ds_shape` and `ds_numel` of the whole, `ds_tensor` the part that computes."""
    master: torch.Tensor
    """Float32, flat, a view of what the optimizer works on; zeros fill it up to the size of the other parts."""
    moments: dict[str, torch.Tensor]
    """AdamW's averages, by its names for them, of the master's size."""
    step: torch.Tensor
    """How often AdamW has stepped; shared with other parameters."""
    start: int
    """Where it begins in the flat parameter."""

    @property
    def length(self) -> int:
        """Elements that are the parameter's own."""
        whole: int = self.parameter.ds_numel
        return max(0, min(self.master.numel(), whole - self.start))

    def own(self, padded: torch.Tensor) -> torch.Tensor:
        """A tensor of the master's size without what fills it up."""
        return padded[: self.length]


def zero3_config(width: int, compute_dtype: torch.dtype, *, offload: bool, overlap: bool) -> Config:
    """What DeepSpeed is to do: ZeRO-3 with gradients added up and exchanged in float32.

    How many micro-batches make a step, the schedule and the sizes of batches are the training loop's own. `offload` is
    the README's of Stanford Alpaca: parameters and optimizer in the host's pinned memory.
    """
    host = {"device": "cpu", "pin_memory": True}
    return {
        "train_micro_batch_size_per_gpu": 1,  # only DeepSpeed's own counting reads it
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,  # a step is over when we say so
        "bf16": {"enabled": compute_dtype == torch.bfloat16},
        "communication_data_type": "fp32",
        "data_types": {"grad_accum_dtype": "fp32"},
        "zero_force_ds_cpu_optimizer": False,  # torch's fused AdamW computes on the host as well
        "zero_optimization": {
            "stage": 3,
            "overlap_comm": overlap,
            "contiguous_gradients": True,
            "reduce_bucket_size": BUCKET,
            "stage3_prefetch_bucket_size": BUCKET,
            "stage3_param_persistence_threshold": KEPT_WHOLE_PER_WIDTH * width,
            **({"offload_param": host, "offload_optimizer": host} if offload else {}),
        },
    }


def partition(model: nn.Module, compute_dtype: torch.dtype, device: torch.device, config: Config) -> None:
    """Give the parameters of `model`, on the meta device, their memory in parts; one module's are whole at a time.

    Tied parameters stay tied. The values are arbitrary.
    """
    from deepspeed import zero

    made: dict[int, nn.Parameter] = {}
    for module in model.modules():
        fresh = []
        for name, empty in list(module.named_parameters(recurse=False)):
            if id(empty) not in made:
                whole = torch.empty(empty.shape, dtype=compute_dtype, device=device)
                made[id(empty)] = nn.Parameter(whole)
                fresh.append(made[id(empty)])
            setattr(module, name, made[id(empty)])
        if fresh:
            zero.Init(module=nn.ParameterList(fresh), config_dict_or_path=config)
    for module in model.modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, buffer.to(device))


def parts_of(model: nn.Module, optimizer: Any, processes: Processes) -> dict[str, Part]:
    """This process's part of every parameter, in the model's order; RuntimeError for what ZeRO-3 would not have made.

    `optimizer` is DeepSpeed's around AdamW; it keeps the masters of many parameters in one flat tensor.
    """
    parts: dict[int, Part] = {}
    for group, flat in zip(optimizer.fp16_groups, optimizer.fp32_partitioned_groups_flat, strict=True):
        sizes = [parameter.partition_numel() for parameter in group]
        step = torch.zeros((), device=flat.device)
        state = {key: torch.zeros_like(flat) for key in MOMENTS}
        optimizer.optimizer.state[flat] = {"step": step, **state}  # what its first step would begin with
        views = [tensor.detach().split(sizes) for tensor in (flat, *state.values())]
        for held, master, *moments in zip(group, *views, strict=True):
            start = processes.rank * master.numel()
            parts[held.ds_id] = Part(held, master, dict(zip(state, moments, strict=True)), step, start)
    found = {name: parts.get(getattr(weight, "ds_id", -1)) for name, weight in model.named_parameters()}
    return {name: _proved(name, part, processes) for name, part in found.items()}


def _proved(name: str, part: Part | None, processes: Processes) -> Part:
    if part is None or part.master.dtype != torch.float32:
        raise RuntimeError(f"DeepSpeed has no float32 master of {name}")
    each = -(-part.parameter.ds_numel // processes.world_size)
    if not part.parameter.ds_tensor.numel() == part.master.numel() == each:
        raise RuntimeError(f"{name}: a part of {part.parameter.ds_tensor.numel()}, not {each}: not how ZeRO-3 cuts")
    return part


@torch.no_grad()
def fill_parts(parts: dict[str, Part], model: Any, source: ModelSource, processes: Processes) -> None:
    """Fill the masters from disk: each process reads its own rows, and no tensor is held whole.

    Where files name tensors otherwise than the model does, the first process loads the base and sends tensor after
    tensor.
    """
    reader, prefix = source.reader(), model.base_model_prefix
    if all(reader.has(name, prefix) for name in parts):
        for name, part in parts.items():
            rows = part.parameter.ds_shape[0]
            width = part.parameter.ds_numel // rows
            first, last = part.start // width, -(-(part.start + part.length) // width)
            skipped = part.start - first * width
            read = reader.rows(name, prefix, first, last) if part.length else torch.empty(0)
            _fill(part, read[skipped : skipped + part.length])
        return
    for part, whole in _sent(parts, source, processes):
        _fill(part, whole.flatten()[part.start : part.start + part.length])


def _fill(part: Part, values: torch.Tensor) -> None:
    part.master.zero_()
    part.own(part.master).copy_(values)


def _sent(parts: dict[str, Part], source: ModelSource, processes: Processes) -> Iterator[tuple[Part, torch.Tensor]]:
    given = dict(source.base_on_host().named_parameters()) if processes.is_first else {}
    for name, part in parts.items():
        tensor = torch.empty(part.parameter.ds_shape)
        if processes.is_first:
            tensor.copy_(given[name])
        if processes.world_size > 1:
            dist.broadcast(tensor, 0)
        yield part, tensor


@torch.no_grad()
def compute_with(parts: dict[str, Part], engine: Any) -> None:
    """Copy the masters to the parts that compute, and forget what was put together from the former ones."""
    engine.empty_partition_cache()
    for part in parts.values():
        part.parameter.ds_tensor.copy_(part.master)


def keep_head_whole(objective: Objective, engine: Any) -> None:
    """Put the output head together for the whole of a pass.

    It is used as often as there are chunks of learnt tokens, which differ between processes; so it must not count
    among the modules whose order DeepSpeed compares.
    """
    from deepspeed import zero

    head: Any = objective.language_model.get_output_embeddings()
    offload = engine.optimizer.parameter_offload
    mine = {*head._forward_hooks, *head._forward_pre_hooks}
    for handle in (*offload.forward_hooks, *offload.backward_hooks):
        if handle.id in mine:
            handle.remove()
    for parameter in head.parameters():
        zero.register_external_parameter(objective, parameter)


def optimizer_over(model: nn.Module, settings: Train) -> torch.optim.AdamW:
    """The recipe's AdamW over a partitioned model: what kind of weight each is, its flat part does not tell."""
    weights: dict[str, Any] = dict(model.named_parameters())
    like = {name: nn.Parameter(torch.empty([0] * len(weight.ds_shape))) for name, weight in weights.items()}
    optimizer = build_optimizer(like, settings)
    meant = {id(like[name]): weight for name, weight in weights.items()}
    for group in optimizer.param_groups:
        group["params"] = [meant[id(one)] for one in group["params"]]
    return optimizer
