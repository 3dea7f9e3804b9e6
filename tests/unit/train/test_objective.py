"""What is trained: a loss that reaches every parameter, from no more logits than are learnt, in the right precision."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from packtrain.core.engine import Engine
from packtrain.core.recipe import Train
from packtrain.prompts.encode import IGNORED, Example
from packtrain.train.distributed import Processes
from packtrain.train.objective import Objective, decoder_layers, evaluating
from packtrain.train.packing import Layout, MicroBatch, micro_batches
from packtrain.train.self_test import prove
from packtrain.train.strategies.single import Strategy

BuildBase = Callable[..., Any]
MakeConversations = Callable[..., list[Example]]
LENGTHS = (30, 9, 20, 11)


def proved(model: Any, one_process: Processes, **engine: Any) -> Objective:
    objective = Objective(model, torch.float32)
    prove(objective, Engine(**engine), one_process, 64)
    return objective


def batches_of(objective: Objective, examples: list[Example], weight: float = 1.0) -> list[MicroBatch]:
    return micro_batches(examples, [weight] * len(examples), Layout(40, objective.packing, 0))


@pytest.mark.parametrize("packing", ["on", "off"])
@pytest.mark.parametrize("name", ["llama", "llama3", "gemma2", "opt"])
def test_nothing_to_learn_is_zero_and_reaches_every_parameter(
    build_base: BuildBase, conversations: MakeConversations, one_process: Processes, name: str, packing: str
) -> None:
    """Processes exchange the gradients of all parameters, so all of them must have one."""
    objective = proved(build_base(name), one_process, packing=packing)
    examples = [
        Example(one.dataset, one.id, one.input_ids, [IGNORED] * len(one.input_ids)) for one in conversations(LENGTHS)
    ]
    stand_ins = micro_batches(examples[:1], [1.0], Layout(40, objective.packing, 0, rank=1, world_size=2))
    assert not stand_ins[0].counts
    for batch in (*batches_of(objective, examples), *stand_ins):
        objective.zero_grad()
        total, losses = objective(batch)
        assert total.item() == 0.0
        assert losses.shape == (0,)
        total.backward()
        for weight_name, weight in objective.named_parameters():
            assert weight.grad is not None, weight_name
            assert not weight.grad.any(), weight_name


@pytest.mark.parametrize("packing", ["on", "off"])
def test_the_losses_come_in_the_order_of_the_labels(
    build_base: BuildBase, conversations: MakeConversations, one_process: Processes, packing: str
) -> None:
    objective = proved(build_base("llama"), one_process, packing=packing)
    for batch in batches_of(objective, conversations(LENGTHS), 0.5):
        with torch.no_grad():
            total, losses = objective(batch)
            logits = objective(batch, "states")
            logits = objective.model.lm_head(logits)
        rows, places = (batch.labels != IGNORED).nonzero(as_tuple=True)
        expected = torch.nn.functional.cross_entropy(
            logits[rows, places - 1], batch.labels[rows, places], reduction="none"
        )
        torch.testing.assert_close(losses, expected)
        assert total.item() == pytest.approx(0.5 * expected.sum().item(), rel=1e-5)


@pytest.mark.parametrize("packing", ["on", "off"])
def test_only_learnt_positions_reach_the_head(
    build_base: BuildBase, conversations: MakeConversations, one_process: Processes, packing: str
) -> None:
    objective = proved(build_base("llama"), one_process, packing=packing)
    seen: list[int] = []
    objective.model.lm_head.register_forward_hook(lambda _module, _given, logits: seen.append(logits.numel()))
    examples = conversations(LENGTHS)
    for batch in batches_of(objective, examples):
        objective(batch)[0].backward()
    assert sum(seen) == 99 * sum(example.learnt_tokens for example in examples)


def test_heads_that_are_not_plain_make_no_more_logits_in_a_packed_row(
    build_base: BuildBase, conversations: MakeConversations, one_process: Processes
) -> None:
    objective = proved(build_base("gemma2"), one_process, packing="on")
    assert not objective.plain_head
    seen: list[int] = []
    objective.model.lm_head.register_forward_hook(lambda _module, _given, logits: seen.append(logits.numel()))
    examples = conversations(LENGTHS)
    for batch in batches_of(objective, examples):
        objective(batch)[0].backward()
    assert sum(seen) == 99 * sum(example.learnt_tokens for example in examples)


def test_a_model_that_cannot_leave_logits_out_gives_the_same(
    build_base: BuildBase, conversations: MakeConversations, one_process: Processes
) -> None:
    """An architecture without `logits_to_keep`, whose logits are not those of its head either."""
    objective = proved(build_base("gemma2"), one_process, packing="on")
    batches = batches_of(objective, conversations(LENGTHS))
    expected = [objective(batch)[0].item() for batch in batches]
    complete = objective.model.forward
    objective.model.forward = lambda input_ids, position_ids, attention_mask, use_cache: complete(
        input_ids=input_ids, position_ids=position_ids, attention_mask=attention_mask, use_cache=use_cache
    )
    assert [objective(batch)[0].item() for batch in batches] == pytest.approx(expected, rel=1e-5)


def test_an_adapter_is_looked_through(
    build_base: BuildBase, conversations: MakeConversations, one_process: Processes
) -> None:
    from peft import LoraConfig, get_peft_model

    plain = proved(build_base("llama"), one_process, packing="on")
    adapted = get_peft_model(build_base("llama"), LoraConfig(r=2, target_modules="all-linear", lora_dropout=0.0))
    objective = proved(adapted, one_process, packing="on")
    assert type(objective.language_model).__name__ == "LlamaForCausalLM"
    for one, other in zip(*(batches_of(plain, conversations(LENGTHS)) for _ in (0, 1)), strict=True):
        total, _ = objective(one)
        assert total.item() == pytest.approx(plain(other)[0].item(), rel=1e-6)
        total.backward()
    with_gradient = [name for name, weight in objective.named_parameters() if weight.grad is not None]
    assert with_gradient
    assert all("lora_" in name for name in with_gradient)


def test_conversations_that_must_be_alone_are_not_taken_together(
    build_base: BuildBase, conversations: MakeConversations, one_process: Processes
) -> None:
    objective = proved(build_base("phi3"), one_process)
    assert not objective.together
    with pytest.raises(ValueError, match="one each"):
        objective(batches_of(objective, conversations((9, 9)))[0])
    for batch in micro_batches(conversations((9, 9)), [1.0] * 2, Layout(1, objective.packing, 0)):
        assert objective(batch)[0].item() > 0


@pytest.mark.parametrize("name", ["llama", "gemma3, seeing", "opt", "gpt2", "bloom", "mixtral", "mamba", "falcon"])
def test_decoder_layers_are_found(build_base: BuildBase, name: str) -> None:
    found = decoder_layers(build_base(name))
    assert len(found) == 2
    assert len({type(layer) for layer in found}) == 1
    assert any(word in type(found[0]).__name__ for word in ("Layer", "Block"))


@pytest.mark.parametrize("training", [True, False])
def test_evaluating_leaves_the_mode_as_it_was(training: bool) -> None:
    module = torch.nn.Sequential(torch.nn.Dropout(0.5)).train(training)
    with pytest.raises(KeyError), evaluating(module):
        assert not module[0].training
        assert not torch.is_grad_enabled()
        raise KeyError
    assert module[0].training == training
    assert torch.is_grad_enabled()


SETTINGS = Train(lr=1e-3, epochs=1, global_batch_size=4, micro_batch_size=1, max_length_tokens=64, precision="bfloat16")


def in_bfloat16(model: Any, one_process: Processes) -> Strategy:
    strategy = Strategy(one_process, SETTINGS, Engine())
    strategy.build(SimpleNamespace(whole=lambda *_: model), SETTINGS, Engine())
    prove(strategy.objective, Engine(), one_process, 64)
    return strategy


def test_bfloat16_keeps_rotary_tables_and_masters_in_float32(build_base: BuildBase, one_process: Processes) -> None:
    model = build_base("llama3")
    exact = {name: buffer.clone() for name, buffer in model.named_buffers()}
    weights = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    strategy = in_bfloat16(model, one_process)
    assert any("inv_freq" in name for name in exact)
    for name, buffer in strategy.objective.model.named_buffers():
        assert buffer.dtype == torch.float32, name
        assert torch.equal(buffer, exact[name]), name
    assert {weight.dtype for weight in strategy.objective.parameters()} == {torch.bfloat16}
    assert set(strategy.masters) == set(weights)
    for name, master in strategy.masters.items():
        assert master.dtype == torch.float32
        assert torch.equal(master, weights[name])


def test_bfloat16_adds_gradients_of_micro_batches_in_float32(
    build_base: BuildBase, conversations: MakeConversations, one_process: Processes
) -> None:
    """Sixty small ones beside a large one: added in bfloat16 they would be lost to rounding."""
    strategy = in_bfloat16(build_base("llama3"), one_process)
    strategy.objective.train()
    examples = conversations((60,) + (5,) * 60)
    expected: dict[str, torch.Tensor] = {}
    lost: dict[str, torch.Tensor] = {}
    batches = micro_batches(examples, [1.0] + [1e-3] * 60, Layout(1, strategy.objective.packing, 0))
    assert len(batches) == 61
    for batch in batches:
        strategy.accumulate(batch)
        for name, master in strategy.masters.items():
            assert master.grad is not None
            assert master.grad.dtype == torch.float32
            expected[name] = expected.get(name, torch.zeros(())) + master.grad
            lost[name] = (lost.get(name, torch.zeros(())) + master.grad).bfloat16().float()
            master.grad = None
    for batch in batches:
        strategy.accumulate(batch)
    for name, master in strategy.masters.items():
        assert torch.equal(master.grad, expected[name]), name
    assert any(not torch.allclose(lost[name], expected[name], rtol=1e-3, atol=0) for name in expected)
    assert all(weight.grad is None for weight in strategy.objective.parameters())


def test_a_step_in_bfloat16_moves_masters_and_their_copy(
    build_base: BuildBase, conversations: MakeConversations, one_process: Processes
) -> None:
    """Steps far below the resolution of bfloat16 add up in the masters."""
    strategy = in_bfloat16(build_base("llama"), one_process)
    strategy.objective.train()
    before = {name: master.detach().clone() for name, master in strategy.masters.items()}
    for _ in range(3):
        for batch in micro_batches(conversations(LENGTHS), [1e-2] * 4, Layout(40, strategy.objective.packing, 0)):
            strategy.accumulate(batch)
        strategy.update(1e-5, 1.0, lambda _: None)
    copies = dict(strategy.objective.model.named_parameters())
    for name, master in strategy.masters.items():
        moved = (master - before[name]).abs().max().item()
        assert 1e-5 < moved < 1e-4, name
        assert torch.equal(copies[name], master.bfloat16()), name
