"""Every way to attend gives each conversation of a row what it has alone, and the arguments that each way needs."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from packtrain.core.engine import Engine
from packtrain.core.recipe import Train
from packtrain.prompts.encode import Example
from packtrain.train import attention as attention_module
from packtrain.train.attention import Attention, attention_inputs, segment_attention
from packtrain.train.distributed import Processes
from packtrain.train.packing import Layout, MicroBatch, micro_batches
from packtrain.train.self_test import prove
from packtrain.train.strategies.single import Strategy

LENGTHS = (11, 3, 1, 8)
HEADS, GROUPS, WIDTH = 4, 2, 8
CAUSAL = SimpleNamespace(is_causal=True)
MakeConversations = Callable[..., list[Example]]


def row_of(conversations: MakeConversations, *, packed: bool, lengths: tuple[int, ...] = LENGTHS) -> MicroBatch:
    examples = conversations(lengths)
    [batch] = micro_batches(examples, [1.0] * len(examples), Layout(1000, packed, 0))
    return batch


def by_hand(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    lengths: tuple[int, ...],
    window: int | None = None,
    softcap: float | None = None,
    sinks: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attention written out position by position, `[1, length, heads, width]`."""
    found = torch.zeros(1, sum(lengths), HEADS, value.shape[-1])
    for start, length in zip(torch.tensor((0, *lengths)).cumsum(0).tolist(), lengths, strict=False):
        for place in range(length):
            first = start if window is None else max(start, start + place + 1 - window)
            seen = slice(first, start + place + 1)
            for head in range(HEADS):
                scores = key[0, head // (HEADS // GROUPS), seen] @ query[0, head, start + place] * WIDTH**-0.5
                if softcap:
                    scores = softcap * torch.tanh(scores / softcap)
                if sinks is not None:
                    scores = torch.cat([scores, sinks[head : head + 1]])
                shares = torch.softmax(scores, 0)[: seen.stop - seen.start]
                found[0, start + place, head] = shares @ value[0, head // (HEADS // GROUPS), seen]
    return found


def random_row(length: int = sum(LENGTHS), width: int = WIDTH) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    shapes = ((HEADS, WIDTH), (GROUPS, WIDTH), (GROUPS, width))
    query, key, value = (torch.randn(1, heads, length, each, requires_grad=True) for heads, each in shapes)
    return query, key, value


@pytest.mark.parametrize("window", [None, 1, 2, 3, 7, 8, 11, 100])
@pytest.mark.parametrize("softcap", [None, 0.5])
@pytest.mark.parametrize("sinks", [None, torch.tensor([0.5, -1.0, 2.0, 0.0])])
def test_segments_in_value_and_gradients(
    conversations: MakeConversations, window: int | None, softcap: float | None, sinks: torch.Tensor | None
) -> None:
    batch = row_of(conversations, packed=True)
    attention_inputs(batch, "segments", torch.float32)
    found = []
    for ours in (True, False):
        given = random_row()
        if ours:
            more = {"sliding_window": window, "softcap": softcap, "s_aux": sinks, "scaling": WIDTH**-0.5}
            attended, shares = segment_attention(CAUSAL, *given, None, **more)
            assert shares is None
            assert attended.is_contiguous()
        else:
            attended = by_hand(*given, batch.lengths, window, softcap, sinks)
        assert attended.shape == (1, sum(LENGTHS), HEADS, WIDTH)
        (attended * torch.linspace(0, 1, attended.numel()).view_as(attended)).sum().backward()
        found.append((attended.detach(), *(tensor.grad for tensor in given)))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


def test_values_may_be_of_another_width(conversations: MakeConversations) -> None:
    batch = row_of(conversations, packed=True)
    attention_inputs(batch, "segments", torch.float32)
    given = random_row(width=5)
    attended, _ = segment_attention(CAUSAL, *given, None)
    torch.testing.assert_close(attended, by_hand(*given, batch.lengths))


@pytest.mark.parametrize("limit", [0, 5, 512])
@pytest.mark.parametrize("window", [None, 4])
def test_segments_in_bfloat16(
    conversations: MakeConversations, monkeypatch: pytest.MonkeyPatch, limit: int, window: int | None
) -> None:
    """Short conversations by plain matrix products, longer ones by torch's kernel."""
    monkeypatch.setattr(attention_module, "EXPLICIT_TOKENS", limit)
    batch = row_of(conversations, packed=True)
    attention_inputs(batch, "segments", torch.bfloat16)
    given = [tensor.detach().bfloat16() for tensor in random_row()]
    attended, _ = segment_attention(CAUSAL, *given, None, sliding_window=window)
    assert attended.dtype == torch.bfloat16
    expected = by_hand(*(tensor.float() for tensor in given), batch.lengths, window)
    torch.testing.assert_close(attended.float(), expected, rtol=2e-2, atol=2e-2)


def test_padded_rows_need_no_mask(conversations: MakeConversations) -> None:
    """What comes after a token is not attended to, so padding on the right is never seen."""
    batch = row_of(conversations, packed=False)
    attention_inputs(batch, "segments", torch.float32)
    torch.manual_seed(0)
    rows, length = batch.input_ids.shape
    query, key, value = (torch.randn(rows, heads, length, WIDTH) for heads in (HEADS, GROUPS, GROUPS))
    attended, _ = segment_attention(CAUSAL, query, key, value, None)
    for row, own in enumerate(batch.lengths):
        alone = (tensor[row : row + 1, :, :own] for tensor in (query, key, value))
        torch.testing.assert_close(attended[row : row + 1, :own], by_hand(*alone, (own,)))


def test_dropout_of_shares(conversations: MakeConversations) -> None:
    attention_inputs(row_of(conversations, packed=True), "segments", torch.float32)
    query, key, _ = (tensor.detach() for tensor in random_row())
    ones = torch.ones(1, GROUPS, sum(LENGTHS), WIDTH)
    for softcap in (None, 50.0):
        attended, _ = segment_attention(CAUSAL, query, key, ones, None, dropout=0.5, softcap=softcap)
        assert set(attended[0, 0].flatten().tolist()) <= {0.0, 2.0}
        assert 0.7 < float(attended.mean()) < 1.3


@pytest.mark.parametrize(
    ("module", "more"),
    [
        (SimpleNamespace(is_causal=False), {}),
        (CAUSAL, {"is_causal": False}),
        (CAUSAL, {"attention_mask": torch.zeros(1, 1, 23, 23)}),
        (CAUSAL, {"position_bias": torch.zeros(1, 4, 23, 23)}),
        (CAUSAL, {"alibi": torch.zeros(4, 1, 23)}),
    ],
)
def test_what_segments_cannot_serve_is_refused(
    conversations: MakeConversations, module: Any, more: dict[str, Any]
) -> None:
    attention_inputs(row_of(conversations, packed=True), "segments", torch.float32)
    mask = more.pop("attention_mask", None)
    with pytest.raises(NotImplementedError, match="attention of another kind"):
        segment_attention(module, *random_row(), mask, **more)


def test_a_cache_is_refused(conversations: MakeConversations) -> None:
    """As in generation, where one new token looks back on many."""
    attention_inputs(row_of(conversations, packed=False), "segments", torch.float32)
    query, key, value = random_row()
    with pytest.raises(NotImplementedError):
        segment_attention(CAUSAL, query[:, :, -1:], key, value, None)


def test_the_kernel_of_gpus_gets_ends_and_windows(
    conversations: MakeConversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In torch's calling convention; here a stand-in computes what the kernel would."""
    from torch.nn.attention import varlen

    asked: list[tuple[Any, ...]] = []

    def kernel(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        ends_q: torch.Tensor,
        ends_k: torch.Tensor,
        longest_q: int,
        longest_k: int,
        *,
        scale: float,
        window_size: tuple[int, int],
    ) -> torch.Tensor:
        asked.append((ends_q.tolist(), ends_k.tolist(), longest_q, longest_k, scale, window_size))
        assert query.shape == key.shape == value.shape == (sum(LENGTHS), HEADS, WIDTH)
        rows = (
            tensor.transpose(0, 1)[None] for tensor in (query, key[:, :: HEADS // GROUPS], value[:, :: HEADS // GROUPS])
        )
        return by_hand(*rows, tuple(ends_q.diff().tolist()), None if window_size[0] < 0 else window_size[0] + 1)[0]

    batch = row_of(conversations, packed=True)
    attention_inputs(batch, "segments", torch.float32)
    given = [tensor.detach() for tensor in random_row()]
    expected = [segment_attention(CAUSAL, *given, None, sliding_window=window)[0] for window in (None, 4)]
    monkeypatch.setattr(varlen, "varlen_attn", kernel)
    monkeypatch.setattr(attention_module, "_has_varlen", lambda _: True)
    for window, wanted in zip((None, 4), expected, strict=True):
        attended, _ = segment_attention(CAUSAL, *given, None, sliding_window=window)
        torch.testing.assert_close(attended, wanted)
    ends = [0, *torch.tensor(batch.lengths).cumsum(0).tolist()]
    longest = max(LENGTHS)
    assert asked == [(ends, ends, longest, longest, WIDTH**-0.5, window) for window in ((-1, 0), (3, 0))]
    for more in ({"softcap": 1.0}, {"s_aux": torch.zeros(HEADS)}, {"dropout": 0.1}):
        segment_attention(CAUSAL, *given, None, **more)
    assert len(asked) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_masks_of_packed_rows(conversations: MakeConversations, dtype: torch.dtype) -> None:
    """Additive, `[1, 1, length, length]`, in the type that is computed in: the form that all architectures take."""
    batch = row_of(conversations, packed=True, lengths=(2, 3))
    for attention in ("sdpa", "eager"):
        inputs = attention_inputs(batch, attention, dtype)
        assert set(inputs) == {"input_ids", "position_ids", "attention_mask"}
        assert inputs["position_ids"].tolist() == [[0, 1, 2, 0, 1]]
        mask = inputs["attention_mask"]
        assert (mask.shape, mask.dtype) == ((1, 1, 5, 5), dtype)
        assert set(mask.flatten().tolist()) == {0.0, torch.finfo(dtype).min}
        seen = ["10000", "11000", "11100", "00010", "00011"]
        assert ["".join(str(int(one)) for one in row) for row in (mask[0, 0] == 0).tolist()] == seen


def test_arguments_of_flash_attention(conversations: MakeConversations) -> None:
    inputs = attention_inputs(row_of(conversations, packed=True), "flash_attention_2", torch.bfloat16)
    assert inputs["attention_mask"] is None
    assert inputs["cu_seq_lens_q"].tolist() == inputs["cu_seq_lens_k"].tolist() == [0, 11, 19, 22, 23]
    assert inputs["cu_seq_lens_q"].dtype == torch.int32
    assert inputs["max_length_q"] == inputs["max_length_k"] == 11


def test_masks_of_padded_rows(conversations: MakeConversations) -> None:
    """Of ones and zeros by length; none where there is no padding, as in a row of one conversation."""
    wanted = [[1] * length + [0] * (11 - length) for length in (11, 8, 3, 1)]
    attentions: tuple[Attention, ...] = ("sdpa", "eager", "flash_attention_2")
    for attention in attentions:
        padded, even, alone = (
            attention_inputs(row_of(conversations, packed=packed, lengths=lengths), attention, torch.float32)
            for packed, lengths in ((False, LENGTHS), (False, (7, 7)), (True, (7,)))
        )
        assert padded["attention_mask"].tolist() == wanted
        assert padded["position_ids"].tolist() == [list(range(11))] * 4
        assert even["attention_mask"] is None
        assert alone["attention_mask"] is None


SETTINGS = Train(lr=1e-3, epochs=1, global_batch_size=4, micro_batch_size=1, max_length_tokens=64, precision="float32")


def gradients_with(
    engine: Engine, model: Any, examples: list[Example], one_process: Processes
) -> tuple[float, dict[str, torch.Tensor]]:
    strategy = Strategy(one_process, SETTINGS, engine)
    strategy.build(SimpleNamespace(whole=lambda *_: model), SETTINGS, engine)
    prove(strategy.objective, engine, one_process, 64)
    strategy.objective.train()
    total = 0.0
    batches = micro_batches(examples, [1 / 50] * len(examples), Layout(40, strategy.objective.packing, 0))
    assert len(batches) > 1
    for batch in batches:
        total += float(strategy.accumulate(batch)[0])
    found = {name: weight.grad.clone() for name, weight in strategy.masters.items() if weight.grad is not None}
    assert len(found) == len(strategy.masters)
    return total, found


def assert_same(one: tuple[float, dict[str, torch.Tensor]], other: tuple[float, dict[str, torch.Tensor]]) -> None:
    assert one[0] == pytest.approx(other[0], rel=1e-6)
    for name, gradient in other[1].items():
        torch.testing.assert_close(one[1][name], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("attention", ["segments", "sdpa", "eager"])
@pytest.mark.parametrize("name", ["llama", "opt", "gpt_neox"])
def test_activations_may_be_computed_again(
    build_base: Callable[..., Any], conversations: MakeConversations, one_process: Processes, name: str, attention: str
) -> None:
    """The backward pass attends to the conversations of its own row, not of another one."""
    found = [
        gradients_with(
            Engine(packing="on", attention=attention, activation_checkpointing=again),
            build_base(name),
            conversations((30, 9, 20, 11)),
            one_process,
        )
        for again in (True, False)
    ]
    assert_same(*found)


def test_compiled_layers_are_equal(
    build_base: Callable[..., Any], conversations: MakeConversations, one_process: Processes
) -> None:
    """Rows of several lengths, and a self-test before them, which is not compiled."""
    counted = torch._dynamo.utils.counters
    counted.clear()
    found = [
        gradients_with(
            Engine(packing="on", attention="segments", compile=compiled),
            build_base("llama", num_hidden_layers=1),
            conversations((30, 9, 20, 11)),
            one_process,
        )
        for compiled in (True, False)
    ]
    assert_same(*found)
    assert counted["stats"]["unique_graphs"] > 0
