"""The vLLM backend: what it asks a small stand-in for vLLM, and what it makes of the answers.

The stand-in computes with the same tiny LLaMA as `local`, so that both must agree.
"""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from packtrain.core.errors import UserError
from packtrain.models.base import Options, Sampling
from packtrain.models.drawing import generator, next_tokens
from packtrain.models.local import LocalModel
from packtrain.models.open import open_model
from packtrain.models.vllm import VllmModel

PROMPTS = ["The lamp is", "Name a colour. Count to ten:", "one, two"]
EXPLICIT = {"n", "max_tokens", "min_tokens", "top_k", "min_p", "presence_penalty", "frequency_penalty"}


class StandIn(ModuleType):
    """As much of vLLM as is used, on top of `local`."""

    def __init__(self, local: LocalModel) -> None:
        super().__init__("vllm")
        self.local = local
        self.settings: dict[str, Any] = {}
        self.asked: list[SimpleNamespace] = []
        self.SamplingParams = SimpleNamespace
        self.tells_log_probabilities = True

    def LLM(self, **settings: Any) -> Any:
        self.settings = settings
        model_config = SimpleNamespace(max_model_len=64, dtype=torch.float32)
        return SimpleNamespace(llm_engine=SimpleNamespace(model_config=model_config), generate=self.generate)

    def generate(self, prompts: list[Any], sampling_params: list[Any], use_tqdm: bool) -> list[Any]:
        assert not use_tqdm
        self.asked += sampling_params
        return [self.answer(one["prompt_token_ids"], sp) for one, sp in zip(prompts, sampling_params, strict=True)]

    def answer(self, ids: list[int], given: Any) -> Any:
        assert vars(given).keys() >= EXPLICIT
        kept = len(ids) if hasattr(given, "prompt_logprobs") else 1
        logits = self.local.forward.alone(ids, kept)
        logs = logits.log_softmax(-1)
        told = [None, *({ids[n + 1]: SimpleNamespace(logprob=float(logs[n, ids[n + 1]]))} for n in range(kept - 1))]
        if hasattr(given, "allowed_token_ids"):
            allowed = given.allowed_token_ids
            own = logits[-1, allowed].log_softmax(0).tolist()
            best = {token: SimpleNamespace(logprob=log) for token, log in zip(allowed, own, strict=True)}
            token = max(allowed, key=lambda one: best[one].logprob)
            logprobs = [best] if self.tells_log_probabilities else None
            return SimpleNamespace(outputs=[SimpleNamespace(token_ids=[token], logprobs=logprobs)])
        made: list[int] = []
        source = generator(getattr(given, "seed", 0))
        while len(made) < given.max_tokens:
            logits = self.local.forward.alone([*ids, *made], 1)
            made += next_tokens(logits, [source], given.temperature, getattr(given, "top_p", 1.0))
            if made[-1] in getattr(given, "stop_token_ids", ()):
                break
            if any(marker in self.local.tokenizer.decode(made) for marker in getattr(given, "stop", ())):
                break
        return SimpleNamespace(outputs=[SimpleNamespace(token_ids=made, logprobs=None)], prompt_logprobs=told)


@pytest.fixture
def local(tiny_base: Path) -> LocalModel:
    return LocalModel(tiny_base)


@pytest.fixture
def stand_in(local: LocalModel, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    module = StandIn(local)
    monkeypatch.setitem(sys.modules, "vllm", module)
    return module


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_answers_are_those_of_the_local_model(stand_in: StandIn, tiny_base: Path, temperature: float) -> None:
    model = VllmModel(tiny_base, gpu_memory_utilization=0.5)
    assert (model.precision, model.max_context) == ("float32", 64)
    free = stand_in.local.generate(PROMPTS[1:2], Sampling(8, first_token=False))[0].text
    for stop in ((), (free[2:4],)):
        sampling = Sampling(8, temperature, 0.9, stop, first_token=False)
        expected = dict(stand_in.local.generate_each(PROMPTS, sampling, [3, 4, 5]))
        assert dict(model.generate_each(PROMPTS, sampling, [3, 4, 5])) == expected
    assert [one.seed for one in stand_in.asked[-3:]] == [3, 4, 5]
    assert stand_in.settings["generation_config"] == "vllm"
    assert stand_in.settings["gpu_memory_utilization"] == 0.5
    assert model.generate(PROMPTS[:1], Sampling(3)) == stand_in.local.generate(PROMPTS[:1], Sampling(3))


def test_single_tokens_are_one_request_of_one_token(stand_in: StandIn, tiny_base: Path) -> None:
    model = VllmModel(tiny_base)
    ids = tuple(model.tokenizer.id_of(letter) for letter in "ABCD")
    options = [Options(("A", "B", "C", "D"), ids)] * 3
    ours = dict(model.choose_each(PROMPTS, options, Sampling()))
    theirs = dict(stand_in.local.choose_each(PROMPTS, options, Sampling()))
    assert [ours[n].index for n in range(3)] == [theirs[n].index for n in range(3)]
    for number in range(3):
        apart = torch.tensor(ours[number].scores) - torch.tensor(theirs[number].scores)
        assert apart.std() < 1e-4
    assert [(one.max_tokens, one.allowed_token_ids, one.logprobs) for one in stand_in.asked] == [
        (1, sorted(ids), 4)
    ] * 3
    stand_in.tells_log_probabilities = False
    unscored = dict(model.choose_each(PROMPTS, options, Sampling()))
    assert [(one.index, one.scores) for one in unscored.values()] == [(ours[n].index, ()) for n in range(3)]


def test_longer_options_are_summed(stand_in: StandIn, tiny_base: Path) -> None:
    options = [Options((" red", " is wide.", " x"))] * 3
    ours = dict(VllmModel(tiny_base).choose_each(PROMPTS, options, Sampling()))
    theirs = dict(stand_in.local.choose_each(PROMPTS, options, Sampling()))
    for number in range(3):
        assert ours[number].index == theirs[number].index
        assert ours[number].scores == pytest.approx(theirs[number].scores, abs=1e-4)


def test_prompts_are_cut_to_the_context_of_the_engine(stand_in: StandIn, tiny_base: Path) -> None:
    model = VllmModel(tiny_base)
    [(_, cut)] = model.generate_each(["one, two " * 40], Sampling(512, too_long="cut"))
    assert (cut.prompt_tokens, cut.completion_tokens <= 32) == (32, True)
    assert cut.cut_tokens == len(model.tokenizer.ids("one, two " * 40)) - 32
    with pytest.raises(UserError, match="the model's context is 64"):
        model.generate(["one, two " * 40], Sampling())


def test_what_cannot_be_done_is_said(stand_in: StandIn, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="at most 20 options"):
        list(VllmModel(tiny_base).choose_each(["a"], [Options(("x",) * 21, tuple(range(21)))], Sampling()))
    assert open_model(f"vllm:{tiny_base}").name == f"vllm:{tiny_base.name}"
    monkeypatch.setattr(stand_in, "LLM", lambda **settings: 1 / 0)
    with pytest.raises(UserError, match="vLLM cannot load the model"):
        VllmModel(tiny_base)
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UserError, match="vllm is not installed") as caught:
        VllmModel(tiny_base)
    assert caught.value.hint == f"pip install 'packtrain[vllm]', or give local:{tiny_base}"
