"""What is trained: a model and its loss as one module, so that a sharded output head is whole where it is used."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any, Literal

import torch
from torch import nn

from packtrain.prompts.encode import IGNORED
from packtrain.train.attention import Attention, attention_inputs, implementation, register
from packtrain.train.loss import loss_of_logits, weighted_loss
from packtrain.train.packing import MicroBatch

Want = Literal["loss", "states", "alone", "shaken", "heads"]
LOUD = 1000.0
"""How much louder a head is made to tell whether its model does more with the logits: far beyond any soft cap."""


class Objective(nn.Module):
    """The weighted loss of a micro-batch under a causal language model.

    `attention` and `packing` say how the model is to attend; `together` is false for a model that sees a conversation
    otherwise when others are in the batch; `plain_head` is false for one whose logits are more than its output head (a
    soft cap, a scale): then its own forward pass makes them. All four are what `self_test.prove` found to be exact.
    """

    def __init__(self, model: Any, compute_dtype: torch.dtype) -> None:
        super().__init__()
        self.model = model
        self.compute_dtype = compute_dtype
        self.own_attention: str = self.language_model.config._attn_implementation
        """The one that transformers chose when it loaded the model."""
        self.attention: Attention = "eager"
        self.packing = False
        self.together = True
        self.plain_head = True

    @property
    def language_model(self) -> Any:
        """The transformers model itself, also where an adapter is around it."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    def attend(self, attention: Attention | None) -> None:
        """Compute with `attention` from now on, or for None with what transformers chose.

        ValueError, ImportError or NotImplementedError when this model or machine has it not.
        """
        register()
        name = implementation(attention) if attention else self.own_attention
        self.language_model.set_attn_implementation(name)
        if self.language_model.config._attn_implementation != name:
            raise NotImplementedError("the model's attention cannot be chosen")
        self.attention = attention or "sdpa"  # what is given to these three beside the ids is the same

    def forward(self, batch: MicroBatch, want: Want = "loss") -> Any:
        """What is wanted of a micro-batch; all of it goes through here, because here a sharded head is whole.

        `loss`: the sum of weight x cross-entropy over learnt tokens, and the cross-entropies `[learnt]` without
        gradient. `states`: what the loss is made from, the last hidden states `[rows, length, width]` or, where the
        head is not plain, the logits. `alone`: the same as the model itself makes them from ids and nothing else.
        `shaken`: those again, from embeddings that are rounded once more. `heads`: logits `[rows, length, vocabulary]`
        of the model's own forward pass, and of the output head alone, both with a head that is LOUD times as loud.
        """
        if want == "loss":
            return self._loss(batch)
        if want == "heads":
            return self._heads(batch)
        inputs = self._inputs(batch) if want == "states" else {"input_ids": batch.input_ids, "use_cache": False}
        with _hooked(self.language_model.get_input_embeddings(), _shake if want == "shaken" else None):
            return self._states(inputs)

    def _loss(self, batch: MicroBatch) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.together and len(batch.lengths) > 1:
            raise ValueError("this model sees a conversation otherwise beside others: micro-batches must hold one each")
        where = (batch.labels.flatten() != IGNORED).nonzero()[:, 0]
        labels, weights = batch.labels.flatten()[where], batch.weights.flatten()[where]
        if not len(where):  # every parameter takes part even so: processes exchange the gradients of all of them
            states = self._states(self._inputs(batch))[:, :1]
            return 0.0 * (self._logits(states) if self.plain_head else states).float().sum(), weights
        if not self.plain_head:
            return loss_of_logits(self._own_logits(batch, where - 1), labels, weights)
        hidden = self._hidden(self._inputs(batch)).flatten(0, 1)[where - 1]
        return weighted_loss(hidden, self._logits, labels, weights, self._head.weight.shape[0])

    @property
    def _head(self) -> Any:
        return self.language_model.get_output_embeddings()

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        weight = self._head.weight
        logits: torch.Tensor = self._head(hidden.to(weight.dtype) if weight.is_floating_point() else hidden)
        return logits

    def _states(self, inputs: dict[str, Any]) -> torch.Tensor:
        """What the loss is made from."""
        if self.plain_head:
            return self._hidden(inputs)
        logits: torch.Tensor = self.language_model(**inputs).logits
        return logits

    def _hidden(self, inputs: dict[str, Any]) -> torch.Tensor:
        hidden: torch.Tensor = self.language_model.base_model(**inputs).last_hidden_state
        return hidden

    def _heads(self, batch: MicroBatch) -> tuple[torch.Tensor, torch.Tensor]:
        inputs = self._inputs(batch)
        with _hooked(self._head, lambda logits: logits * LOUD):
            return self.language_model(**inputs).logits, self._logits(self._hidden(inputs))

    def _own_logits(self, batch: MicroBatch, where: torch.Tensor) -> torch.Tensor:
        """Logits `[positions, vocabulary]` of the model's own forward pass at `where` of the flattened rows."""
        inputs = self._inputs(batch)
        if batch.input_ids.shape[0] == 1 and "logits_to_keep" in signature(self.language_model.forward).parameters:
            inputs["logits_to_keep"] = where
        logits: torch.Tensor = self.language_model(**inputs).logits.flatten(0, 1)
        return (logits if len(logits) == len(where) else logits[where]).clone()  # the backward pass overwrites it

    def _inputs(self, batch: MicroBatch) -> dict[str, Any]:
        return {**attention_inputs(batch, self.attention, self.compute_dtype), "use_cache": False}


def _shake(embeddings: torch.Tensor) -> torch.Tensor:
    signs = 1.0 - 2.0 * (torch.arange(embeddings.shape[-1], device=embeddings.device) % 2)
    return (embeddings.float() * (1.0 + torch.finfo(embeddings.dtype).eps * signs)).to(embeddings.dtype)


@contextmanager
def _hooked(module: nn.Module, change: Callable[[torch.Tensor], torch.Tensor] | None) -> Iterator[None]:
    """With `change` applied to all that `module` returns, as long as the block runs."""
    if change is None:
        yield
        return
    hook = module.register_forward_hook(lambda _module, _given, found: change(found))
    try:
        yield
    finally:
        hook.remove()


def decoder_layers(model: Any) -> list[nn.Module]:
    """The layers that repeat, in order: the longest list of modules of one class that holds most parameters."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module)]
    sizes = [sum(parameter.numel() for parameter in modules.parameters()) for modules in lists]
    return list(lists[sizes.index(max(sizes))]) if lists else []


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Without dropout and gradients, as long as the block runs."""
    before = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(before)
