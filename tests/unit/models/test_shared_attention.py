"""Attending once to what rows share is attending to the whole of each row."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from packtrain.models import shared_attention
from packtrain.models.shared_attention import attention, beginning_with

LAYER = SimpleNamespace(layer_idx=1, num_key_value_groups=2, is_causal=True)
ROWS, HEADS, SHARED_HEADS, WIDTH = 5, 4, 2, 8


def drawn(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


@pytest.fixture(params=["kernel", "spelt out", "spelt out in parts"])
def computed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param != "kernel":
        monkeypatch.setattr(shared_attention, "_attend", shared_attention._spelt_out)
    if request.param == "spelt out in parts":
        monkeypatch.setattr(shared_attention, "SCORES", 200)
    return str(request.param)


@pytest.mark.parametrize("length", [1, 3], ids=["one token", "three tokens"])
@pytest.mark.parametrize("padded", [True, False], ids=["padded", "not padded"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_equals_attention_with_the_beginning_in_each_row(
    computed: str, length: int, padded: bool, dtype: torch.dtype
) -> None:
    """Two rows with one beginning, one with none, two with another; columns of padding are looked at by nobody."""
    own = 6 if padded or length == 1 else length
    query = drawn(ROWS, HEADS, length, WIDTH, dtype=dtype)
    key, value = (drawn(ROWS, SHARED_HEADS, own, WIDTH + each, dtype=dtype)[..., :WIDTH] for each in (0, 1))
    first, second = (
        tuple(drawn(1, SHARED_HEADS, columns, WIDTH + each, dtype=dtype)[..., :WIDTH] for each in (2, 3))
        for columns in (7, 4)
    )
    mask = None
    if padded:
        mask = torch.ones(ROWS, 1, length, own, dtype=torch.bool).tril(own - length)
        for row in range(ROWS):
            mask[row, :, :, : row % 4] = False  # with three tokens, the first of the fourth row is padding
    unused = (first, first)
    beginnings = [((unused[0], first), 2), (None, 1), ((unused[0], second), 2)]
    with beginning_with(beginnings):
        found, _ = attention(LAYER, query, key, value, mask)
    for row, beginning in enumerate((first, first, None, second, second)):
        keys, values = key[row : row + 1], value[row : row + 1]
        allowed = torch.ones(length, own, dtype=torch.bool).tril(own - length) if mask is None else mask[row, 0]
        if beginning is not None:
            keys, values = torch.cat([beginning[0], keys], 2), torch.cat([beginning[1], values], 2)
            allowed = torch.cat([torch.ones(length, beginning[0].shape[2], dtype=torch.bool), allowed], 1)
        every = [tensor.repeat_interleave(HEADS // SHARED_HEADS, 1) for tensor in (keys, values)]
        expected = scaled_dot_product_attention(query[row : row + 1], *every, attn_mask=allowed)[0].transpose(0, 1)
        tokens = allowed.any(1)
        bound = 2e-6 if dtype == torch.float32 else 2e-2
        assert float((found[row] - expected)[tokens].abs().max()) < bound
    assert bool(found.isfinite().all())


def test_nothing_lasts_beyond_the_context_and_other_threads_see_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from threading import Thread

    query, key = drawn(1, HEADS, 1, WIDTH), drawn(1, SHARED_HEADS, 3, WIDTH)
    pair = (drawn(1, SHARED_HEADS, 2, WIDTH),) * 2
    plain, _ = attention(LAYER, query, key, key, None)
    made: list[torch.Tensor] = []
    with pytest.raises(KeyError), beginning_with([((pair, pair), 1)]):
        made.append(attention(LAYER, query, key, key, None)[0])
        thread = Thread(target=lambda: made.append(attention(LAYER, query, key, key, None)[0]))
        thread.start()
        thread.join()
        raise KeyError
    assert not torch.equal(made[0], plain)
    assert torch.equal(made[1], plain)
    assert torch.equal(attention(LAYER, query, key, key, None)[0], plain)


@pytest.mark.parametrize("unusual", [{"softcap": 50.0}, {"s_aux": torch.zeros(HEADS)}, {"position_bias": 0}], ids=str)
def test_what_would_not_be_exact_is_refused(unusual: dict[str, Any]) -> None:
    query, key = drawn(1, HEADS, 1, WIDTH), drawn(1, SHARED_HEADS, 3, WIDTH)
    pair = (drawn(1, SHARED_HEADS, 2, WIDTH),) * 2
    with beginning_with([((pair, pair), 1)]), pytest.raises(NotImplementedError, match=next(iter(unusual))):
        attention(LAYER, query, key, key, None, **unusual)
    additive = torch.zeros(1, 1, 1, 3)
    with beginning_with([((pair, pair), 1)]), pytest.raises(NotImplementedError, match="of another kind"):
        attention(LAYER, query, key, key, additive)
