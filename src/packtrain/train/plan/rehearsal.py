"""One micro-batch of the real training code on tensors without data: which of them live at the same time.

`Objective` goes forward and backward through the model as in training, on tensors that have shape and type but no
memory: torch's fake tensors in place of a CPU's, tensors on the meta device in place of a GPU's. Every storage is
counted from the operation that makes it until nothing refers to it any more. So any architecture that transformers
knows can be planned, and what the training code keeps or frees needs no formula here.
"""

import warnings
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from packtrain.core.engine import Engine
from packtrain.core.errors import UserError
from packtrain.train import attention
from packtrain.train.attention import Attention
from packtrain.train.objective import Objective
from packtrain.train.packing import MicroBatch
from packtrain.train.strategy import prepare_layers

CAPPED = ("final_logit_softcapping", "logit_scale", "logits_scaling")
"""Settings of models whose logits are more than the output head makes."""
SPELT_OUT = ("attn_logit_softcapping", "sinks")
"""Settings of attention that no kernel has: its scores are computed one by one."""
KERNEL = "packtrain_rehearsed_kernel"
"""The name of attention in one kernel in transformers' registry."""
_CHOICES: tuple[Attention, ...] = ("segments", "sdpa", "eager")
"""What `engine.attention=auto` tries, without the proof that it is exact."""


@dataclass(frozen=True, slots=True)
class Row:
    """What is in a micro-batch."""

    lengths: tuple[int, ...]
    """Tokens of each conversation."""
    learnt_tokens: int
    packed: bool = True
    """One row of conversations behind one another; else a row for each, padded to the longest."""

    @property
    def tokens(self) -> int:
        """Positions, padding counted."""
        return sum(self.lengths) if self.packed else max(self.lengths) * len(self.lengths)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Bytes that one micro-batch takes beside weights and optimizer state."""

    forward: int
    """Kept from the forward pass of the layers for the backward pass."""
    loss: int
    """The most that the loss takes beyond `forward`."""
    peak: int
    """The most at any time, with the gradients that there are at that moment."""
    gradients: int
    """Of `peak`, float32 gradients of trained weights."""
    largest: int
    """The largest tensor among them."""


class _Ledger:
    """Counts the storages that live, and answers the questions whose answers depend on data."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self.living = self.gradients = self.peak = self.gradients_at_peak = self.largest = 0
        self._seen: dict[int, Any] = {}

    def watching(self) -> Any:
        """A context in which every operation of torch is seen."""

        def dispatch(_: Any, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = self._made(operation, args, kwargs or {})
            for tensor in tree_leaves(made):
                if isinstance(tensor, torch.Tensor):
                    self._count(tensor)
            return made

        mode: Any = type("Watching", (TorchDispatchMode,), {"__torch_dispatch__": dispatch})
        return mode()

    def _made(self, operation: Any, args: Any, kwargs: Any) -> Any:
        aten = torch.ops.aten
        if operation is aten.nonzero.default:  # which positions are learnt
            return torch.zeros(self.row.learnt_tokens, args[0].dim(), dtype=torch.long, device=args[0].device)
        if operation is aten.repeat_interleave.Tensor:  # which conversation each position belongs to
            return torch.zeros(self.row.tokens, dtype=torch.long, device=args[0].device)
        if operation is aten._local_scalar_dense.default:  # transformers asks whether a row is unpacked
            return True
        if operation is aten._grouped_mm.default and args[0].dtype == torch.float32:  # experts: without data in 16 bits
            halved = [one.bfloat16() if getattr(one, "dtype", None) == torch.float32 else one for one in args]
            return operation(*halved, **kwargs).float()
        return operation(*args, **kwargs)

    def leave_out(self, tensor: torch.Tensor) -> None:
        """Never count this tensor."""
        storage = tensor.untyped_storage()
        self._seen[id(storage)] = storage

    def add_gradient(self, weights: int) -> None:
        """Count a float32 gradient that lasts until the step."""
        self.gradients += 4 * weights
        self._look()

    def _count(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = id(storage), storage.nbytes()
        if key in self._seen:
            return

        def gone(_: Any) -> None:
            self.living -= size
            del self._seen[key]

        self._seen[key] = weakref.ref(storage, gone)
        self.living += size
        self.largest = max(self.largest, size)
        self._look()

    def _look(self) -> None:
        if self.living + self.gradients > self.peak:
            self.peak, self.gradients_at_peak = self.living + self.gradients, self.gradients


class _Kernel(torch.autograd.Function):
    """Attention in one kernel, as on GPUs: keeps its inputs and a sum per head and token, never the scores."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        sums = torch.empty(query.shape[:-1], dtype=torch.float32, device=query.device)
        ctx.save_for_backward(query, key, value, sums)  # the result is kept too, by what comes next
        return query.new_empty(query.transpose(1, 2).shape)

    @staticmethod
    def backward(ctx: Any, *_: Any) -> tuple[torch.Tensor, ...]:
        query, key, value = ctx.saved_tensors[:3]
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _kernel(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any
) -> tuple[torch.Tensor, None]:
    """The same in transformers' calling convention; windows, dropout and the ends of conversations take no memory."""
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    attend: Any = _Kernel.apply
    return attend(query, key, value), None


def rehearse(
    model: Any, row: Row, compute_dtype: torch.dtype, engine: Engine, *, on_gpu: bool, gradients_there: bool = False
) -> Rehearsal:
    """What a micro-batch `row` of `model` takes, which is on the meta device and used up by this.

    With `gradients_there` all gradients live already, from an earlier micro-batch of the step. UserError when no
    attention that may be tried works on tensors without data.
    """
    config = model.config.get_text_config()
    in_kernel = on_gpu and not any(getattr(config, name, None) for name in SPELT_OUT)
    with ExitStack() as modes:
        modes.enter_context(_no_mask_remembered())
        if not on_gpu:
            modes.enter_context(FakeTensorMode())
        _give_memory(model, compute_dtype, torch.device("meta" if on_gpu else "cpu"))
        objective = Objective(model, compute_dtype)
        objective.plain_head = not any(getattr(config, name, None) for name in CAPPED)
        with warnings.catch_warnings(action="ignore"):
            prepare_layers(objective, engine.model_copy(update={"compile": False}))
        objective.train()
        reason: Exception | None = None
        for choice in _CHOICES if engine.attention == "auto" else (engine.attention,):
            try:
                objective.attend(choice)
                if in_kernel and choice != "eager":
                    _use_kernel(objective)
                return _run(objective, row, gradients_there)
            except (RuntimeError, ValueError, ImportError, TypeError) as error:
                reason = error
    raise UserError(
        f"cannot follow {type(model).__name__} without data: {' '.join(str(reason).split())[:200]}",
        "give engine.attention=eager",
    )


def _use_kernel(objective: Objective) -> None:
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(KERNEL, _kernel)
    AttentionMaskInterface.register(KERNEL, lambda *_, **__: None)
    objective.language_model.set_attn_implementation(KERNEL)


def _give_memory(model: torch.nn.Module, dtype: torch.dtype, device: torch.device) -> None:
    """New tensors in place of a model's, of floating types in `dtype`; tied ones stay tied."""
    made: dict[int, torch.Tensor] = {}
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False, remove_duplicate=False):
            if id(weight) not in made:
                new = torch.empty(weight.shape, dtype=dtype, device=device)
                made[id(weight)] = torch.nn.Parameter(new, weight.requires_grad)
            setattr(module, name, made[id(weight)])
        for name, buffer in module.named_buffers(recurse=False):
            kind = dtype if buffer.is_floating_point() else buffer.dtype
            setattr(module, name, torch.empty(buffer.shape, dtype=kind, device=device))


def _run(objective: Objective, row: Row, gradients_there: bool) -> Rehearsal:
    ledger = _Ledger(row)
    for tensor in (*objective.parameters(), *objective.buffers()):
        ledger.leave_out(tensor)
    trained: list[Any] = [weight for weight in objective.parameters() if weight.requires_grad]
    there = set(trained) if gradients_there else set()
    ledger.add_gradient(sum(weight.numel() for weight in there))

    def added_up(weight: torch.Tensor) -> None:
        weight.grad = None
        if weight not in there:
            there.add(weight)
            ledger.add_gradient(weight.numel())

    at_head: list[int] = []
    head = objective.language_model.get_output_embeddings()
    hooks = [weight.register_post_accumulate_grad_hook(added_up) for weight in trained]
    hooks.append(head.register_forward_pre_hook(lambda *_: at_head.append(ledger.living)))
    try:
        with ledger.watching():
            total, _ = objective(_micro_batch(row, objective.model.device))
            in_loss = ledger.peak - ledger.gradients
            total.backward()
    finally:
        for hook in hooks:
            hook.remove()
    forward = at_head[0] if at_head else in_loss
    return Rehearsal(forward, max(0, in_loss - forward), ledger.peak, ledger.gradients_at_peak, ledger.largest)


def _micro_batch(row: Row, device: torch.device) -> MicroBatch:
    shape = (1, row.tokens) if row.packed else (len(row.lengths), max(row.lengths))
    ids = torch.zeros(shape, dtype=torch.long, device=device)
    return MicroBatch(
        input_ids=ids,
        position_ids=torch.zeros_like(ids),
        labels=torch.zeros_like(ids),
        weights=torch.zeros(shape, device=device),
        lengths=row.lengths,
        sources=("",) * len(row.lengths),
    )


@contextmanager
def _no_mask_remembered() -> Iterator[None]:
    """No mask that training has cached is used in here, and none that is made in here is left in the cache."""
    attention._seen.cache_clear()
    try:
        yield
    finally:
        attention._seen.cache_clear()
