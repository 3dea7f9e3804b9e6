"""Attention that keeps the conversations of a packed row apart.

`segments` gives every conversation its own causal attention, without any mask: torch's varlen kernel on GPUs in
half precision, one call per conversation elsewhere. `sdpa` and `eager` are the library's, with an additive
block-causal mask `[rows, 1, length, length]`, the only form that is exact for LLaMA, OPT and GPT-NeoX alike.
`flash_attention_2` takes the conversations' ends. Rows with one conversation each, padded on the right, need
nothing of this: what comes after a token is not attended to.
"""

import inspect
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
from torch.nn.functional import dropout as dropped
from torch.nn.functional import scaled_dot_product_attention

from packtrain.models.shared_attention import MORE
from packtrain.train.packing import MicroBatch

Attention = Literal["segments", "sdpa", "eager", "flash_attention_2"]
SEGMENTS = "packtrain_segments"
"""The name of `segments` in transformers' registry of attention functions."""
EXPLICIT_TOKENS = 512
"""Up to this length bfloat16 on a CPU is faster as two plain matrix products than in torch's kernel (half the time)."""


@dataclass(slots=True)
class _Row:
    """The conversations of the packed row that is in the model now; None: one conversation per row."""

    lengths: tuple[int, ...] | None = None
    ends: torch.Tensor | None = None
    """Cumulative lengths from 0, int32, on the row's device."""


# One per process rather than an argument: not every architecture hands unknown arguments down to its attention, and
# activation checkpointing calls the layers once more from the backward pass, on another thread when on a GPU.
_row = _Row()


def register() -> None:
    """Make `segments` known to transformers."""
    from transformers import AttentionInterface, AttentionMaskInterface

    outside_graphs: Any = torch.compiler.disable  # lengths differ in every batch
    AttentionInterface.register(SEGMENTS, outside_graphs(segment_attention))
    AttentionMaskInterface.register(SEGMENTS, _no_mask)


def _no_mask(*_: Any, **__: Any) -> None:
    return None


def implementation(attention: Attention) -> str:
    """The name of an attention in transformers' registry."""
    return SEGMENTS if attention == "segments" else attention


def attention_inputs(batch: MicroBatch, attention: Attention, dtype: torch.dtype) -> dict[str, Any]:
    """The arguments that make a model attend rightly to `batch`: ids, positions, and a mask or the rows' ends."""
    inputs: dict[str, Any] = {"input_ids": batch.input_ids, "position_ids": batch.position_ids}
    _row.lengths = _row.ends = None
    if not batch.packed:
        masked = attention != "segments" and len(set(batch.lengths)) > 1
        return inputs | {"attention_mask": _padding_mask(batch) if masked else None}
    if attention == "segments":
        _row.lengths = batch.lengths
        _row.ends = _ends(batch)
        return inputs | {"attention_mask": None}
    if attention == "flash_attention_2":
        ends, longest = _ends(batch), max(batch.lengths)
        return inputs | {
            "attention_mask": None,
            "cu_seq_lens_q": ends,
            "cu_seq_lens_k": ends,
            "max_length_q": longest,
            "max_length_k": longest,
        }
    return inputs | {"attention_mask": _block_causal_mask(batch, dtype)}


def _ends(batch: MicroBatch) -> torch.Tensor:
    ends = torch.zeros(len(batch.lengths) + 1, dtype=torch.int32)
    ends[1:] = torch.tensor(batch.lengths).cumsum(0)
    return ends.to(batch.input_ids.device, non_blocking=True)


def _padding_mask(batch: MicroBatch) -> torch.Tensor:
    """1 on tokens, 0 on padding, `[rows, length]`: made from lengths, never from ids."""
    lengths = torch.tensor(batch.lengths, device=batch.input_ids.device)
    return (torch.arange(batch.input_ids.shape[1], device=lengths.device) < lengths[:, None]).long()


def _block_causal_mask(batch: MicroBatch, dtype: torch.dtype) -> torch.Tensor:
    """0 where a token may look, the type's lowest number elsewhere, `[1, 1, length, length]`."""
    device = batch.input_ids.device
    segment = torch.repeat_interleave(torch.tensor(batch.lengths, device=device))
    length = len(segment)
    allowed = (segment[:, None] == segment[None]) & torch.ones(length, length, dtype=torch.bool, device=device).tril()
    return torch.zeros(length, length, dtype=dtype, device=device).masked_fill_(~allowed, torch.finfo(dtype).min)[
        None, None
    ]


def segment_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each conversation, `[rows, length, heads, width]`, in transformers' calling convention.

    `query` `[rows, heads, length, width]`; `key` and `value` may have fewer heads; `s_aux` `[heads]` are the scores
    of a sink. NotImplementedError for what it does not serve (a mask, attention in both directions, biases, a cache),
    so that another attention is tried.
    """
    causal = kwargs.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    more = [name for name in MORE if kwargs.get(name) is not None]
    if attention_mask is not None or not causal or more or query.shape[2] != key.shape[2]:
        raise NotImplementedError(f"attention of another kind {more or ''}".rstrip())
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    plain = softcap is None and s_aux is None and not dropout and query.shape[-1] == value.shape[-1]
    if _row.lengths is not None and _row.ends is not None and plain and _has_varlen(query):
        window = (-1, 0) if sliding_window is None else (sliding_window - 1, 0)
        return _varlen(query, key, value, scale, window), None
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    lengths = [query.shape[2]] if _row.lengths is None else list(_row.lengths)
    parts = [
        _causal(one, of, to, scale, dropout, sliding_window, softcap, s_aux).transpose(1, 2)
        for one, of, to in zip(*(torch.split(tensor, lengths, 2) for tensor in (query, key, value)), strict=True)
    ]
    return torch.cat(parts, 1).contiguous(), None


def _causal(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    dropout: float,
    window: int | None,
    softcap: float | None,
    sinks: torch.Tensor | None,
) -> torch.Tensor:
    """One conversation per row, `[rows, heads, length, width]`."""
    length = query.shape[2]
    if window is not None and window >= length:
        window = None
    short = query.device.type == "cpu" and query.dtype == torch.bfloat16 and length <= EXPLICIT_TOKENS
    if softcap is None and sinks is None and not short:
        if window is None:
            return scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True, scale=scale)
        seen = _seen(length, window, query.device)
        return scaled_dot_product_attention(query, key, value, attn_mask=seen, dropout_p=dropout, scale=scale)
    scores = (query @ key.transpose(2, 3)) * scale
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    scores = scores.masked_fill(~_seen(length, window, query.device), torch.finfo(scores.dtype).min)
    if sinks is not None:
        scores = torch.cat([scores, sinks.view(1, -1, 1, 1).expand(len(scores), -1, length, 1)], -1)
    shares = torch.softmax(scores, -1, dtype=torch.float32).to(query.dtype)[..., :length]
    return dropped(shares, dropout) @ value


@cache
def _seen(length: int, window: int | None, device: torch.device) -> torch.Tensor:
    """True where a query may look, `[length, length]`."""
    seen = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    return seen if window is None else seen.triu(1 - window)


def _varlen(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, window: tuple[int, int]
) -> torch.Tensor:
    """All conversations of a packed row in one kernel, `[1, length, heads, width]`."""
    from torch.nn.attention import varlen

    if _row.lengths is None:
        raise ValueError("no packed row is in the model")
    attend: Any = varlen.varlen_attn
    longest = max(_row.lengths)
    groups = query.shape[1] // key.shape[1]
    flat = [tensor[0].transpose(0, 1).contiguous() for tensor in (query, key, value)]
    if groups > 1:
        flat[1:] = [tensor.repeat_interleave(groups, 1) for tensor in flat[1:]]
    found: torch.Tensor = attend(*flat, _row.ends, _row.ends, longest, longest, scale=scale, window_size=window)
    return found[None]


def _has_varlen(query: torch.Tensor) -> bool:
    half = query.dtype in (torch.bfloat16, torch.float16)
    width = query.shape[-1]
    served = query.device.type == "cuda" and query.shape[0] == 1 and width <= 256 and width % 8 == 0
    return half and served and _varlen_fits()


@cache
def _varlen_fits() -> bool:
    """Whether this torch has the varlen kernel with the arguments used here (2.11 and later)."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    return {"scale", "window_size"} <= set(inspect.signature(varlen_attn).parameters)
