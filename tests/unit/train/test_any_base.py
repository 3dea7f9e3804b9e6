"""Whatever causal model transformers loads learns from a batch exactly what its conversations teach it one by one.

The reference is transformers: the mean of the losses that the model itself computes for one conversation after
another, and the gradients of that mean.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from packtrain.core.engine import Engine
from packtrain.core.errors import UserError
from packtrain.core.recipe import Train
from packtrain.prompts.encode import Example
from packtrain.train.distributed import Processes
from packtrain.train.objective import Objective
from packtrain.train.packing import Layout, example_weights, micro_batches
from packtrain.train.self_test import ORDER, prove

MEAN_OF_CONVERSATIONS = Train(
    lr=1e-3, epochs=1, global_batch_size=4, micro_batch_size=1, loss_averaging="example_mean", max_length_tokens=32
)
LENGTHS = (9, 23, 14, 30)
FIRST: dict[str, tuple[str, str, bool]] = {
    # base: the attention that is chosen, how rows are filled, whether the head is plain
    "llama": ("segments", "packed", True),
    "llama3": ("segments", "packed", True),
    "qwen3": ("segments", "packed", True),
    "mistral": ("segments", "packed", True),
    "mistral, wide": ("segments", "packed", True),
    "gemma2": ("segments", "packed", False),
    "gemma3": ("segments", "packed", True),
    "gemma3, seeing": ("segments", "packed", True),
    "opt": ("segments", "packed", True),
    "gpt_neox": ("segments", "packed", True),
    "gpt2": ("segments", "packed", True),
    "gptj": ("eager", "packed", True),
    "phi": ("segments", "packed", True),
    "phi3": ("segments", "single", True),
    "cohere": ("segments", "packed", False),
    "falcon": ("sdpa", "padded", True),
    "bloom": ("eager", "padded", True),
    "mixtral": ("segments", "packed", True),
    "gpt_oss": ("segments", "packed", True),
    "mamba": ("segments", "padded", True),
    "jamba": ("segments", "padded", True),
}
Gradients = dict[str, torch.Tensor]


def gradients(model: Any) -> Gradients:
    found = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    return found


def by_transformers(model: Any, examples: Sequence[Example]) -> tuple[float, Gradients]:
    losses = []
    for example in examples:
        ids, labels = (torch.as_tensor(tokens).long()[None] for tokens in (example.input_ids, example.labels))
        losses.append(model(input_ids=ids, labels=labels, use_cache=False).loss)
    mean = torch.stack(losses).mean()
    mean.backward()
    return mean.item(), gradients(model)


def by_packtrain(objective: Objective, examples: Sequence[Example]) -> tuple[float, Gradients]:
    layout = Layout(tokens=64 if objective.together else 1, packed=objective.packing, pad_id=0)
    batches = micro_batches(examples, example_weights(examples, MEAN_OF_CONVERSATIONS), layout)
    assert len(batches) > 1
    total = 0.0
    for batch in batches:
        loss, _ = objective(batch)
        loss.backward()
        total += loss.item()
    return total, gradients(objective.model)


def assert_equal(ours: tuple[float, Gradients], theirs: tuple[float, Gradients]) -> None:
    assert ours[0] == pytest.approx(theirs[0], abs=1e-5)
    assert set(ours[1]) == set(theirs[1])
    largest = max(gradient.abs().max() for gradient in theirs[1].values())
    for name, gradient in theirs[1].items():
        torch.testing.assert_close(ours[1][name], gradient, rtol=1e-4, atol=1e-5 * float(largest), msg=name)


def refusal(objective: Objective, engine: Engine, one_process: Processes) -> str:
    try:
        prove(objective, engine, one_process, 32)
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("packing", ["on", "off"])
@pytest.mark.parametrize("name", FIRST)
def test_each_attention_is_exact_or_refused(
    build_base: Callable[..., Any],
    conversations: Callable[..., list[Example]],
    one_process: Processes,
    name: str,
    packing: str,
) -> None:
    model, examples = build_base(name), conversations(LENGTHS)
    theirs = by_transformers(model, examples)
    served = []
    objective = Objective(model, torch.float32)
    for attention in ORDER:
        refused = refusal(objective, Engine(packing=packing, attention=attention), one_process)
        if refused:
            assert f"engine.packing={packing} engine.attention={attention}; {attention}: " in refused
            continue
        assert (objective.attention, objective.packing) == (attention, packing == "on")
        assert objective.together == (FIRST[name][1] != "single")
        assert_equal(by_packtrain(objective, examples), theirs)
        served.append(attention)
    attention, rows, _ = FIRST[name]
    if packing == "on" and rows != "packed":
        assert not served
    elif packing == "off" and rows == "packed":
        assert served, "what can be packed can be padded"
    else:
        assert served[0] == attention


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", FIRST)
def test_left_alone_the_first_exact_layout_is_chosen(
    build_base: Callable[..., Any],
    one_process: Processes,
    capsys: pytest.CaptureFixture[str],
    name: str,
    dtype: torch.dtype,
) -> None:
    """The same one in float32 and in bfloat16, and it is said when conversations are not packed."""
    model = build_base(name)
    for weight in model.parameters():
        weight.data = weight.data.to(dtype)
    objective = Objective(model, dtype)
    verdicts = prove(objective, Engine(), one_process, 32)
    attention, rows, plain = FIRST[name]
    assert (objective.attention, verdicts[-1].rows, objective.plain_head) == (attention, rows, plain)
    assert [one.exact for one in verdicts] == [False] * (len(verdicts) - 1) + [True]
    assert all(one.reason for one in verdicts[:-1])
    said = " ".join(capsys.readouterr().err.split())
    assert ("training one conversation per row" in said) == (rows == "padded")
    assert ("training one conversation at a time" in said) == (rows == "single")
