"""The self-test lets pass what is exact, and nothing else: one fault after another is built in and has to be found."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from packtrain.core.engine import Engine
from packtrain.core.errors import UserError
from packtrain.prompts.encode import Example
from packtrain.train import attention as attention_module
from packtrain.train import objective as objective_module
from packtrain.train.distributed import Processes
from packtrain.train.objective import Objective
from packtrain.train.packing import Layout, MicroBatch, micro_batches
from packtrain.train.self_test import Verdict, prove

Allowed = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Numbers of the conversations `[length]` and places in the row `[length]` to what may be seen `[length, length]`."""
DTYPES = [torch.float32, torch.bfloat16]
BuildBase = Callable[..., Any]


def causal(of: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    return place[:, None] >= place[None]


def apart(of: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    return causal(of, place) & (of[:, None] == of[None])


def sees_those_after(of: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    return apart(of, place) | (of[:, None] < of[None])


def sees_last_word_before(of: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    ends = torch.cat([of[1:] != of[:-1], torch.tensor([True])])
    return apart(of, place) | (causal(of, place) & (place[:, None] - place[None] == 1) & ends[None])


def sees_first_word_after(of: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    return apart(of, place) | ((place[None] - place[:, None] == 1) & (of[:, None] < of[None]))


def sees_what_follows(of: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    return of[:, None] == of[None]


FAULTS = (causal, sees_those_after, sees_last_word_before, sees_first_word_after, sees_what_follows)


def seeing(allowed: Allowed) -> Callable[..., tuple[torch.Tensor, None]]:
    """An attention that sees what `allowed` says."""

    def attend(
        module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, None]:
        place = torch.arange(query.shape[2])
        lengths = attention_module._row.lengths or (len(place),)
        of = torch.repeat_interleave(torch.tensor(lengths))
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        found = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed(of, place))
        return found.transpose(1, 2).contiguous(), None

    return attend


def objective_of(model: Any, dtype: torch.dtype = torch.float32) -> Objective:
    """As the strategies make it: weights in the type that is computed in, everything else in float32."""
    for weight in model.parameters():
        weight.data = weight.data.to(dtype)
    return Objective(model, dtype)


def verdict(objective: Objective, one_process: Processes, max_length_tokens: int = 64, **engine: Any) -> Verdict | str:
    """The last verdict, or the error's text."""
    try:
        return prove(
            objective, Engine(**{"packing": "on", "attention": "segments", **engine}), one_process, max_length_tokens
        )[-1]
    except UserError as error:
        return f"{error}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [0.2, 0.02])
@pytest.mark.parametrize("fault", FAULTS)
def test_attention_that_sees_too_much(
    build_base: BuildBase,
    one_process: Processes,
    monkeypatch: pytest.MonkeyPatch,
    fault: Allowed,
    scale: float,
    dtype: torch.dtype,
) -> None:
    objective = objective_of(build_base("llama", initializer_range=scale), dtype)
    monkeypatch.setattr(attention_module, "segment_attention", seeing(apart))
    right = verdict(objective, one_process)
    assert isinstance(right, Verdict)
    assert right.leak == 0
    monkeypatch.setattr(attention_module, "segment_attention", seeing(fault))
    wrong = verdict(objective, one_process)
    assert isinstance(wrong, str)
    assert "segments: leak" in wrong


def window_of(width: Callable[[int], int | None]) -> Callable[..., tuple[torch.Tensor, None]]:
    """The right attention with another sliding window."""
    right = attention_module.segment_attention

    def attend(*given: Any, sliding_window: int | None = None, **more: Any) -> tuple[torch.Tensor, None]:
        return right(*given, sliding_window=sliding_window and width(sliding_window), **more)

    return attend


def no_window(width: int) -> None:
    return None


def one_more(width: int) -> int:
    return width + 1


@pytest.mark.parametrize("packing", ["on", "off"])
@pytest.mark.parametrize(
    ("width", "window", "dtype"),
    [
        (no_window, 6, torch.float32),
        (no_window, 64, torch.float32),
        (no_window, 64, torch.bfloat16),
        (one_more, 6, torch.bfloat16),
        (one_more, 64, torch.float32),
    ],
)
def test_windows_that_are_not_kept_to(
    build_base: BuildBase,
    one_process: Processes,
    monkeypatch: pytest.MonkeyPatch,
    packing: str,
    width: Callable[[int], int | None],
    window: int,
    dtype: torch.dtype,
) -> None:
    """Although a window works alike in a row and alone: transformers' own attention is what is compared with."""
    objective = objective_of(build_base("mistral", sliding_window=window, initializer_range=0.02), dtype)
    assert isinstance(verdict(objective, one_process, 128, packing=packing), Verdict)
    monkeypatch.setattr(attention_module, "segment_attention", window_of(width))
    wrong = verdict(objective, one_process, 128, packing=packing)
    assert isinstance(wrong, str)
    assert "off by" in wrong


def test_windows_longer_than_any_conversation_do_not_matter(
    build_base: BuildBase, one_process: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention_module, "segment_attention", window_of(no_window))
    objective = objective_of(build_base("mistral", sliding_window=64))
    for attention in ("segments", "sdpa", "eager"):
        assert isinstance(verdict(objective, one_process, 64, attention=attention), Verdict)
        assert isinstance(verdict(objective, one_process, 65, attention=attention), str)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["opt", "gpt2"])
def test_positions_that_do_not_begin_anew(
    build_base: BuildBase, one_process: Processes, monkeypatch: pytest.MonkeyPatch, name: str, dtype: torch.dtype
) -> None:
    right = objective_module.attention_inputs

    def wrong(batch: MicroBatch, *given: Any) -> dict[str, Any]:
        inputs = right(batch, *given)
        return {**inputs, "position_ids": torch.arange(batch.input_ids.shape[1])[None]} if batch.packed else inputs

    objective = objective_of(build_base(name), dtype)
    assert isinstance(verdict(objective, one_process), Verdict)
    monkeypatch.setattr(objective_module, "attention_inputs", wrong)
    found = verdict(objective, one_process)
    assert isinstance(found, str)
    assert "off by" in found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["true or false", "a row of ones", "none"])
@pytest.mark.parametrize(("name", "attention"), [("llama", "eager"), ("opt", "sdpa"), ("gpt_neox", "eager")])
def test_masks_of_a_wrong_kind(
    build_base: BuildBase,
    one_process: Processes,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    attention: str,
    kind: str,
    dtype: torch.dtype,
) -> None:
    right = attention_module._block_causal_mask

    def wrong(batch: MicroBatch, dtype: torch.dtype) -> torch.Tensor | None:
        if kind == "true or false":
            return right(batch, dtype) == 0 if attention == "eager" else right(batch, dtype) != 0
        return None if kind == "none" else torch.ones_like(batch.input_ids)

    objective = objective_of(build_base(name), dtype)
    assert isinstance(verdict(objective, one_process, attention=attention), Verdict)
    monkeypatch.setattr(attention_module, "_block_causal_mask", wrong)
    found = verdict(objective, one_process, attention=attention)
    if kind == "none" and name != "opt":  # transformers finds the seams itself, from positions that begin anew
        assert isinstance(found, Verdict)
    else:
        assert isinstance(found, str)
        assert f"{attention}: leak" in found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "settings", "plain"),
    [
        ("gemma2", {"final_logit_softcapping": 30.0}, False),
        ("gemma2", {"final_logit_softcapping": None}, True),
        ("cohere", {"logit_scale": 0.0625}, False),
        ("cohere", {"logit_scale": 1.0}, True),
        ("cohere", {"logit_scale": 1.02}, False),
        ("llama", {}, True),
    ],
)
def test_heads_that_do_more_to_the_logits(
    build_base: BuildBase,
    one_process: Processes,
    conversations: Callable[..., list[Example]],
    name: str,
    settings: dict[str, Any],
    plain: bool,
    dtype: torch.dtype,
) -> None:
    """Although the logits of a new model are so small that a soft cap leaves them as they are."""
    objective = objective_of(build_base(name, initializer_range=0.01, **settings), dtype)
    assert isinstance(verdict(objective, one_process), Verdict)
    assert objective.plain_head == plain
    [example] = conversations([40])
    for scale in (1, 100):
        objective.model.get_output_embeddings().weight.data *= scale
        [batch] = micro_batches([example], [1 / example.learnt_tokens], Layout(64, objective.packing, 0))
        with torch.no_grad():
            ours = objective(batch)[0].item()
            ids, labels = (torch.as_tensor(tokens).long()[None] for tokens in (example.input_ids, example.labels))
            theirs = objective.model(input_ids=ids, labels=labels).loss.item()
        assert ours == pytest.approx(theirs, rel=1e-5 if dtype == torch.float32 else 1e-2)


def test_a_model_that_attention_does_nothing_in_proves_nothing(
    build_base: BuildBase, one_process: Processes, capsys: pytest.CaptureFixture[str]
) -> None:
    model = build_base("llama")
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.data.zero_()
    objective = objective_of(model)
    refused = verdict(objective, one_process)
    assert isinstance(refused, str)
    assert "so nothing can be proved" in refused
    chosen = verdict(objective, one_process, packing="auto")
    assert isinstance(chosen, Verdict)
    assert chosen.rows == "padded"
    assert "nothing can be proved" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("longest", [16, 64])
@pytest.mark.parametrize("name", ["phi3", "llama"])
def test_positions_that_the_longest_conversation_stretches(
    build_base: BuildBase, one_process: Processes, name: str, longest: int, dtype: torch.dtype
) -> None:
    """Where conversations are longer than positions were made for, each is trained on alone."""
    dynamic = {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}}
    settings = {**dynamic, "max_position_embeddings": 16} if name == "llama" else {}
    found = verdict(objective_of(build_base(name, **settings), dtype), one_process, longest, packing="auto")
    assert isinstance(found, Verdict)
    assert found.rows == ("packed" if longest == 16 else "single")


@pytest.mark.parametrize("dtype", DTYPES)
def test_models_that_see_what_comes_are_refused(
    build_base: BuildBase, one_process: Processes, dtype: torch.dtype
) -> None:
    with pytest.raises(UserError, match="BertLMHeadModel sees the words that come after each word") as refused:
        prove(objective_of(build_base("bert"), dtype), Engine(), one_process, 64)
    assert "causal" in (refused.value.hint or "")


def test_models_that_bfloat16_is_not_for_are_refused(build_base: BuildBase, one_process: Processes) -> None:
    objective = objective_of(build_base("llama"), torch.bfloat16)
    objective.model.model.layers[0].input_layernorm.float()
    with pytest.raises(UserError, match="LlamaForCausalLM does not compute in bfloat16") as refused:
        prove(objective, Engine(), one_process, 64)
    assert "train.precision=float32" in (refused.value.hint or "")


def test_what_only_training_stumbles_over_is_found(build_base: BuildBase, one_process: Processes) -> None:
    objective = objective_of(build_base("llama")).eval()

    def stumble(module: Any, _: Any) -> None:
        if module.training:
            raise ValueError("not without pictures")

    objective.model.model.layers[1].register_forward_pre_hook(stumble)
    found = verdict(objective, one_process, packing="auto", attention="auto")
    assert isinstance(found, str)
    assert found.count("not without pictures") == 3
    assert not objective.model.model.layers[1].training


def test_nothing_is_left_behind(build_base: BuildBase, one_process: Processes) -> None:
    """Dropout is off in the test and on again after it; neither gradients nor random numbers are touched."""
    objective = objective_of(build_base("opt", dropout=0.5, attention_dropout=0.5))
    before, weights = torch.get_rng_state(), {name: one.clone() for name, one in objective.named_parameters()}
    for training in (True, False):
        objective.train(training)
        found = verdict(objective, one_process)
        assert isinstance(found, Verdict)
        assert found.difference < 1e-6
        assert {module.training for module in objective.modules()} == {training}
    assert torch.equal(torch.get_rng_state(), before)
    for name, weight in objective.named_parameters():
        assert weight.grad is None
        assert torch.equal(weight, weights[name])
    assert not any(module._forward_hooks for module in objective.modules())


class _Layer(torch.nn.Module):
    """A decoder layer whose result rounds otherwise with whatever else is computed at the same time."""

    def __init__(self, layer: Any, size: float, *, only_packed: bool) -> None:
        super().__init__()
        self.layer, self.size, self.only_packed = layer, size, only_packed

    def forward(self, hidden: torch.Tensor, *given: Any, **more: Any) -> torch.Tensor:
        found = self.layer(hidden, *given, **more)
        if self.only_packed and attention_module._row.lengths is None:
            return found
        some = torch.arange(found.shape[-1]) % 2
        return found * (1 + some * self.size * torch.sin(1e4 * hidden.sum()))


@pytest.mark.parametrize("only_packed", [True, False])
def test_rounding_that_depends_on_the_batch_is_no_leak(
    build_base: BuildBase, one_process: Processes, only_packed: bool
) -> None:
    """Experts round by how many tokens they get: excused is what padded rows show too, and not what packed ones do."""
    model = build_base("llama")
    model.model.layers[0] = _Layer(model.model.layers[0], 2e-5, only_packed=only_packed)
    found = verdict(objective_of(model), one_process)
    if only_packed:
        assert isinstance(found, str)
        assert "leak" in found
    else:
        assert isinstance(found, Verdict)
        assert found.leak > 1e-6


@pytest.mark.parametrize("when", [3, 4, 5])
def test_a_process_that_fails_speaks_for_all(build_base: BuildBase, one_process: Processes, when: int) -> None:
    """Whether it finds a leak that is none by its rounding, a fault, or one of training, all try the next layout."""

    class Among(Processes):
        def any(self, flag: bool) -> bool:
            asked.append(flag)
            return len(asked) == when or flag

    asked: list[bool] = []
    among = Among(one_process.rank, one_process.world_size, one_process.local_rank, one_process.device)
    verdicts = prove(objective_of(build_base("llama")), Engine(), among, 64)
    if when == 3:
        assert [(one.attention, one.exact) for one in verdicts] == [("segments", True)]
    else:
        assert [(one.attention, one.exact) for one in verdicts] == [("segments", False), ("sdpa", True)]
        assert verdicts[0].reason == "so in another process"


@pytest.mark.parametrize("longest", [1, 2, 3, 5])
def test_very_short_conversations(build_base: BuildBase, one_process: Processes, longest: int) -> None:
    found = verdict(objective_of(build_base("llama")), one_process, longest)
    assert isinstance(found, Verdict)
    assert found.exact


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("of 80 GiB nothing is left"),
        torch.distributed.DistBackendError("NCCL communicator was aborted"),
        RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer"),
    ],
)
def test_what_is_no_fault_of_the_model_is_no_verdict(
    build_base: BuildBase, one_process: Processes, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Want of memory and other processes that have ended are told as what they are."""

    def stop(*_: Any, **__: Any) -> None:
        raise error

    objective = objective_of(build_base("llama"))
    monkeypatch.setattr(attention_module, "segment_attention", stop)
    with pytest.raises(type(error), match=re.escape(str(error))):
        prove(objective, Engine(), one_process, 64)
    objective.model.model.layers[0].register_forward_pre_hook(stop)
    with pytest.raises(type(error), match=re.escape(str(error))):
        prove(objective, Engine(), one_process, 64)


def test_an_attention_that_is_not_installed_is_named(build_base: BuildBase, one_process: Processes) -> None:
    found = verdict(objective_of(build_base("llama")), one_process, packing="auto", attention="flash_attention_2")
    assert isinstance(found, str)
    assert found.count("flash_attention_2: ") == 1, "once, though several layouts were tried"
    assert "engine.attention=flash_attention_2" in found


@pytest.mark.real_data
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fault", [apart, *FAULTS])
def test_a_trained_model(
    shared: Path, one_process: Processes, monkeypatch: pytest.MonkeyPatch, fault: Allowed, dtype: torch.dtype
) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(shared / "data" / "stories260k", dtype=torch.float32)
    objective = objective_of(model, dtype)
    for attention in ("segments", "sdpa", "eager"):
        assert isinstance(verdict(objective, one_process, 512, attention=attention), Verdict)
    monkeypatch.setattr(attention_module, "segment_attention", seeing(fault))
    found = verdict(objective, one_process, 512)
    if fault is apart:
        assert isinstance(found, Verdict)
    else:
        assert isinstance(found, str)
        assert "segments: leak" in found
