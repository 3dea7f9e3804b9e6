"""What training must compute, and what the device could: floating-point operations, and model FLOPs utilisation.

A matrix of N weights costs 2 N operations per token forward, 2 N for the gradient of its input and, if it is trained,
2 N for its own gradient: 6 N in all (Kaplan et al., arXiv 2001.08361, section 2.1). Attention adds 4 W operations per
layer, token and position that the token attends to, where W is heads times head size (2 W for the scores, 2 W for the
weighted sum), three times with the backward pass: 12 W. PaLM (Chowdhery et al., arXiv 2204.02311, appendix B) counts
every position of the row; here only those that causal attention within one conversation needs are counted. So is the
output head only on the tokens that are learnt, and no table of embeddings, which is looked up and not multiplied.
Activations that are computed again to save memory are not counted: this is what the model needs (MFU), not what the
hardware did (HFU).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn

from packtrain.train.plan.hardware import stated_flops

_PER_WEIGHT, _PER_TRAINED_WEIGHT, _PER_PAIR = 4, 2, 12
"""Operations for each weight and token, those of a trained one besides, and for each unit of width, token and position
attended to."""
_SIXTEEN_BITS = (torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True)
class Work:
    """What a model computes for a token, in multiplications with weights and in positions attended to."""

    body_weights: float
    """Weights that every token is multiplied with; of experts the share that a token goes through."""
    trained_body_weights: float
    """Those among them that get gradients: fewer with an adapter."""
    head_weights: float
    """Weights of the output head, which learnt tokens alone go through."""
    trained_head_weights: float
    attention_width: int
    """Heads times head size."""
    attention_windows: tuple[int | None, ...]
    """For each layer that attends the positions that a token attends to at most, itself included; None for all."""


def work_of(model: Any) -> Work:
    """The work of a transformers model, an adapter of peft around it or not; `model` may be on the meta device.

    Every weight of two or more dimensions is multiplied with once per token, but for tables of embeddings; a head
    that is tied to one counts as head. Weights that are spread over devices count as the whole that they are.
    """
    config = model.config.get_text_config()
    head = model.get_output_embeddings()
    head_weight = getattr(head, "weight", None)
    share = _expert_share(config)
    body = trained = 0.0
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) or "original_module" in name.split("."):
            continue
        part = share if "experts" in name.split(".") else 1.0
        for parameter in module.parameters(recurse=False):
            if parameter is not head_weight and len(_shape(parameter)) > 1:
                weights = part * _weights(module, parameter)
                body += weights
                trained += weights if parameter.requires_grad else 0.0
    of_head = float(_weights(head, head_weight)) if head_weight is not None else 0.0
    head_trained = of_head if head_weight is not None and head_weight.requires_grad else 0.0
    return Work(body, trained, of_head, head_trained, *_attention(config))


def training_flops(work: Work, lengths: Iterable[int], learnt_tokens: int) -> float:
    """Operations of forward and backward pass over conversations of these lengths, so many of their tokens learnt."""
    lengths = list(lengths)
    body = _PER_WEIGHT * work.body_weights + _PER_TRAINED_WEIGHT * work.trained_body_weights
    head = _PER_WEIGHT * work.head_weights + _PER_TRAINED_WEIGHT * work.trained_head_weights
    pairs = {window: attended(lengths, window) for window in set(work.attention_windows)}
    attention = _PER_PAIR * work.attention_width * sum(pairs[window] for window in work.attention_windows)
    return body * sum(lengths) + head * learnt_tokens + attention


def attended(lengths: Iterable[int], window: int | None = None) -> int:
    """Pairs of a token and a position that it attends to, itself included, when each conversation is attended alone."""
    pairs = 0
    for length in lengths:
        short = length if window is None else min(length, window)
        pairs += short * (short + 1) // 2 + (length - short) * short
    return pairs


def flops_per_token(work: Work, length: int, learnt_share: float) -> float:
    """The same per token, for conversations of one `length` in tokens, a share of which is learnt: to plan with."""
    return training_flops(work, [length], 0) / length + learnt_share * training_flops(work, [], 1)


def mfu(flops: float, seconds: float, peak: float | None, devices: int = 1) -> float | None:
    """Model FLOPs utilisation: `flops` as a share of what the devices could do in `seconds`; None if unknown."""
    return flops / (seconds * peak * devices) if peak and seconds > 0 else None


def peak_flops(device: torch.device, dtype: torch.dtype) -> float | None:
    """Dense FLOP/s that the maker of a GPU states for matrix products of `dtype`; None when it is not known here.

    For CPUs it depends on clock, cores and memory of the machine: none is stated. So with float32, which depends on
    whether tensor cores may round it.
    """
    return peak_flops_of(torch.cuda.get_device_name(device), dtype) if device.type == "cuda" else None


def peak_flops_of(name: str, dtype: torch.dtype) -> float | None:
    """The same for the name that torch gives the device, such as `NVIDIA H100 80GB HBM3` (plan/hardware.yaml)."""
    return stated_flops(name, str(dtype).removeprefix("torch.")) if dtype in _SIXTEEN_BITS else None


def _weights(module: Any, parameter: Any) -> int:
    """Weights of a parameter as it is multiplied with: two of 4 bits are packed into a byte."""
    if parameter.dtype == torch.uint8 and hasattr(module, "in_features"):
        return int(module.in_features * module.out_features)
    return prod(_shape(parameter))


def _shape(parameter: Any) -> Sequence[int]:
    """Shape of the whole parameter: FSDP2 knows it, ZeRO-3 notes it on the stub that it leaves."""
    return tuple(getattr(parameter, "ds_shape", parameter.shape))


def _expert_share(config: Any) -> float:
    """Experts that a token goes through, of those that there are; 1 for a model without."""
    counts = (getattr(config, name, None) for name in ("num_local_experts", "num_experts", "n_routed_experts"))
    experts = next((count for count in counts if count), None)
    chosen = getattr(config, "num_experts_per_tok", None)
    return chosen / experts if experts and chosen else 1.0


def _attention(config: Any) -> tuple[int, tuple[int | None, ...]]:
    """Width, and window of each layer that attends, from the configuration's standard names."""
    heads = config.num_attention_heads
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        used = window if getattr(config, "use_sliding_window", True) else None
        return width, (used,) * config.num_hidden_layers
    attending = [kind for kind in kinds if kind.endswith("attention") and not kind.startswith("linear")]
    return width, tuple(window if kind.startswith("sliding") else None for kind in attending)
