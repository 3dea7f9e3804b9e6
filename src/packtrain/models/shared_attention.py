"""Attention to a beginning that many rows share: computed for all of them at once, and its keys and values held once.

A row attends to the shared beginning and to what it has of its own; the two results are added by the weight that
softmax gives each of them, which follows from the logarithms of their sums of exponentials. So nothing is approximated:
only the order of the additions differs. The idea is Hydragen's (arXiv 2402.05099).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch

NAME = "packtrain_shared_beginning"
"""In transformers' registry of attention functions."""
MORE = ("sinks", "position_bias", "alibi", "indices", "block_indices", "cache")
"""What some architectures hand to their attention beside the usual: it would change the result."""
SCORES = 1 << 24
"""Of the products of queries and keys that are spelt out, how many there are at a time."""

Pair = tuple[torch.Tensor, torch.Tensor]
Beginning = tuple[Sequence[Pair] | None, int]
"""Keys and values `[1, heads, columns, width]` of each layer, and how many rows in a row begin so; None: no such."""

_beginnings: ContextVar[Sequence[Beginning]] = ContextVar("beginnings", default=())


def register() -> None:
    """Make the attention known to transformers."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)


@contextmanager
def beginning_with(beginnings: Sequence[Beginning]) -> Iterator[None]:
    """In this context, in this thread, the rows of a model that attends by NAME begin so."""
    token = _beginnings.set(beginnings)
    try:
        yield
    finally:
        _beginnings.reset(token)


def attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention `[rows, length, heads, width]` to the rows' beginnings and their own `key` and `value`.

    `query` `[rows, heads, length, width]`; `key` and `value` may have fewer heads; `attention_mask`, True where a
    token may look, is of their own columns. NotImplementedError for what would not be exact. Without beginnings it is
    torch's own attention.
    """
    beginnings = _beginnings.get()
    if not beginnings:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        usual: Any = sdpa_attention_forward
        plain: tuple[torch.Tensor, None] = usual(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
        return plain
    unusual = [name for name in ("softcap", "s_aux", *MORE) if kwargs.get(name) is not None]
    if unusual or (attention_mask is not None and attention_mask.dtype != torch.bool):
        raise NotImplementedError(f"attention of another kind {unusual or ''}".rstrip())
    rows, heads, length, width = query.shape
    shared_by = heads // key.shape[1]
    scale = width**-0.5 if scaling is None else scaling
    # heads that share keys stand behind one another, as if they were more tokens
    folded = query.reshape(rows, heads // shared_by, shared_by * length, width)
    mask = _own_mask(attention_mask, length, query, shared_by)
    found, sums = _attend(folded, key, value, mask, scale)
    row = 0
    for layers, count in beginnings:
        if layers is not None:
            span = slice(row, row + count)
            of_all = folded[span].transpose(0, 1).flatten(1, 2)[None]
            keys, values = layers[module.layer_idx]
            each, each_sums = (_by_row(one, count) for one in _attend(of_all, keys, values, None, scale))
            weight = torch.sigmoid(each_sums - sums[span]).to(found.dtype)[..., None]
            found[span] = torch.lerp(found[span], each, weight)
        row += count
    return found.reshape(rows, heads, length, -1).transpose(1, 2).contiguous(), None


def _own_mask(allowed: torch.Tensor | None, length: int, query: torch.Tensor, shared_by: int) -> torch.Tensor | None:
    """0 where a token may look among its row's own columns, the type's lowest number elsewhere; None: everywhere.

    Not minus infinity: tokens of padding look nowhere, and must come out finite.
    """
    if allowed is None and length > 1:
        allowed = torch.ones(1, 1, length, length, dtype=torch.bool, device=query.device).tril()
    if allowed is None:
        return None
    mask = torch.zeros(allowed.shape, dtype=query.dtype, device=query.device)
    return mask.masked_fill_(~allowed, torch.finfo(query.dtype).min).repeat(1, 1, shared_by, 1)


def _by_row(found: torch.Tensor, count: int) -> torch.Tensor:
    """`[1, heads, count x length, ...]` of `count` rows behind one another as `[count, heads, length, ...]`."""
    heads, tokens = found.shape[1:3]
    return found.reshape(heads, count, tokens // count, *found.shape[3:]).transpose(0, 1)


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scale: float
) -> Pair:
    """Attention `[rows, heads, length, width]`, and the logarithms of the sums of exponentials without the last."""
    if query.device.type == "cpu" and query.shape[-1] == value.shape[-1]:
        kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        found, sums = kernel(query, key, value, 0.0, False, attn_mask=mask, scale=scale)
        return found, sums
    return _spelt_out(query, key, value, mask, scale)


def _spelt_out(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scale: float
) -> Pair:
    """The same as products in float32, for devices whose kernels do not say the sums."""
    rows, heads, length, _ = query.shape
    step = max(1, SCORES // (rows * heads * key.shape[2]))
    keys, values = key.float().mT, value.float()
    found, sums = [], []
    for first in range(0, length, step):
        part = slice(first, first + step)
        scores = query[:, :, part].float() * scale @ keys
        if mask is not None:
            scores += mask[:, :, part]
        total = scores.logsumexp(-1)
        sums.append(total)
        found.append((scores - total[..., None]).exp_() @ values)
    return torch.cat(found, 2).to(query.dtype), torch.cat(sums, 2)
