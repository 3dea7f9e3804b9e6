"""A local model: greedy answers do not depend on the batch, stops are honoured, nothing leaks in from the folder."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from packtrain.core.errors import UserError
from packtrain.models.base import Completion, Options, Sampling
from packtrain.models.forward import Forward
from packtrain.models.local import LocalModel

PROMPTS = ["The lamp", "Name a colour. Count to ten:", "a", "The river runs to the sea, and the sea is", "one, two"]


@pytest.fixture(scope="module", params=["llama", "opt"])
def model(request: pytest.FixtureRequest, tiny_base: Path, tiny_opt: Path) -> LocalModel:
    return LocalModel(tiny_base if request.param == "llama" else tiny_opt)


def test_alone_and_in_a_batch_the_same_answer(model: LocalModel) -> None:
    sampling = Sampling(max_new_tokens=12)
    together = model.generate(PROMPTS, sampling)
    alone = [model.generate([prompt], sampling)[0] for prompt in PROMPTS]
    assert together == alone
    assert len({completion.text for completion in together}) > 1


def test_greedy_equals_a_plain_loop(model: LocalModel) -> None:
    ids = model.tokenizer.ids(PROMPTS[0])
    expected: list[int] = []
    for _ in range(10):
        logits = model.model(input_ids=torch.tensor([ids + expected])).logits[0, -1]
        expected.append(int(logits.argmax()))
        if expected[-1] in model.stop_ids:
            break
    [completion] = model.generate([PROMPTS[0]], Sampling(max_new_tokens=10))
    assert completion.text == model.tokenizer.decode(expected)
    assert completion.prompt_tokens == len(ids)


def test_a_stop_text_ends_its_own_row_only(model: LocalModel) -> None:
    sampling = Sampling(max_new_tokens=12)
    free = model.generate(PROMPTS, sampling)
    marker = free[0].text[3:5]
    stopped = model.generate(PROMPTS, Sampling(max_new_tokens=12, stop=(marker,)))
    assert stopped[0].text == free[0].text[: free[0].text.find(marker)]
    assert stopped[0].finish_reason == "stop"
    for before, after in zip(free, stopped, strict=True):
        assert after.text == (before.text.split(marker)[0] if marker in before.text else before.text)


def test_drawn_answers_follow_the_seed_and_leave_the_callers_random_state(model: LocalModel) -> None:
    def draw(seed: int) -> list[Completion]:
        return model.generate(PROMPTS[:2], Sampling(max_new_tokens=12, temperature=1.0, seed=seed))

    torch.manual_seed(7)
    state = torch.get_rng_state()
    assert draw(1) == draw(1) != draw(2)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_the_folder_says_of_sampling_does_not_leak_in(tiny_base: Path, tmp_path: Path) -> None:
    loud = tmp_path / "loud"
    shutil.copytree(tiny_base, loud)
    (loud / "generation_config.json").write_text(
        json.dumps({"do_sample": True, "temperature": 5.0, "max_length": 3, "repetition_penalty": 9.0})
    )
    sampling = Sampling(max_new_tokens=12)
    assert LocalModel(loud).generate(PROMPTS, sampling) == LocalModel(tiny_base).generate(PROMPTS, sampling)


def test_streamed_text_is_the_whole_answer_and_no_more(model: LocalModel) -> None:
    sampling = Sampling(max_new_tokens=12)
    whole = model.generate([PROMPTS[0]], sampling)[0]
    marker = whole.text[4:7]
    for stop in ((), (marker,)):
        pieces: list[str] = []
        completion = model.stream(PROMPTS[0], Sampling(max_new_tokens=12, stop=stop), pieces.append)
        assert "".join(pieces) == completion.text
        assert marker not in completion.text or not stop


@torch.inference_mode()
def test_choices_are_ranked_by_the_sum_of_their_log_probabilities(model: LocalModel) -> None:
    choices = [" red", " is wide.", " x"]
    [(_, best)] = model.choose_each([PROMPTS[0]], [Options(tuple(choices))], Sampling())
    scores = []
    for choice in choices:
        ids, known = model.tokenizer.ids(PROMPTS[0] + choice), len(model.tokenizer.ids(PROMPTS[0]))
        logs = model.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        scores.append(sum(float(logs[place - 1, ids[place]]) for place in range(known, len(ids))))
    assert best.index == scores.index(max(scores))


def test_a_prompt_longer_than_the_context_is_named(model: LocalModel) -> None:
    with pytest.raises(UserError, match=r"prompt 1 has \d+ tokens, the model's context is 512"):
        model.generate(["short", "word " * 600], Sampling())


def test_a_prompt_near_the_end_of_the_context_shortens_no_other_answer(model: LocalModel) -> None:
    long = "one, two " * 68
    room = 512 - len(model.tokenizer.ids(long))
    assert 0 < room < 60
    sampling = Sampling(max_new_tokens=60)
    together = model.generate([PROMPTS[0], long, PROMPTS[1]], sampling)
    alone = [model.generate([prompt], sampling)[0] for prompt in (PROMPTS[0], long, PROMPTS[1])]
    assert together == alone
    assert together[1].completion_tokens <= room


def test_a_diff_a_broken_folder_and_one_with_a_missing_tensor_are_no_model(tiny_base: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(tiny_base, tmp_path / "broken")
    tensors = load_file(broken / "model.safetensors")
    lacking = {name: tensor for name, tensor in tensors.items() if "layers.1.mlp" not in name}
    save_file(lacking, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"lacks the tensor model\.layers\.1\.mlp\.down_proj\.weight and 2 more"):
        LocalModel(broken)
    (broken / "model.safetensors").unlink()
    with pytest.raises(UserError, match="cannot load the model"):
        LocalModel(broken)
    (broken / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match="is a weight diff and no model"):
        LocalModel(broken)


def test_a_prompt_may_be_cut_so_that_half_the_context_remains(model: LocalModel) -> None:
    long = "one, two " * 200
    ids = model.tokenizer.ids(long)
    for wanted, room in ((12, 12), (2048, 256)):
        [completion] = model.generate([long], Sampling(wanted, too_long="cut"))
        assert completion.prompt_tokens == 512 - room
        assert completion.cut_tokens == len(ids) - 512 + room
    asked = model.encoder.asked([long], Sampling(12, too_long="cut"))[0]
    assert asked.ids == [ids[0], *ids[-499:]]
    [bare] = model.encoder.asked([long], Sampling(12, too_long="cut", first_token=False))
    assert bare.ids == ids[-500:]
    assert model.encoder.asked(["short"], Sampling(2048, too_long="cut"))[0].cut_tokens == 0


def test_the_first_token_is_there_or_not(model: LocalModel) -> None:
    ids = model.tokenizer.ids("The lamp")
    [kept], [bare] = (model.encoder.asked(["The lamp"], Sampling(first_token=first)) for first in (True, False))
    assert (kept.ids, bare.ids) == (ids, ids[1:])
    with pytest.raises(UserError, match="prompt 1 holds no token"):
        model.generate(["a", ""], Sampling(first_token=False))


def test_padding_with_end_of_sequence_hides_no_token_of_a_prompt(model: LocalModel) -> None:
    assert model.tokenizer.pad_id == model.tokenizer.eos_id == 2
    prompts = ["The lamp</s>", "The</s></s> river runs to", "a"]
    assert 2 in model.tokenizer.ids(prompts[0])
    alone = [model.generate([prompt], Sampling(12))[0] for prompt in prompts]
    assert model.generate(prompts, Sampling(12)) == alone


def test_a_model_with_another_card_is_the_same_model(tiny_base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_base, folder)
    before = LocalModel(folder).identity
    (folder / "README.md").write_text("a card")
    (folder / "LICENSE.txt").write_text("a licence")
    assert LocalModel(folder).identity == before
    (folder / "generation_config.json").write_text("{}")
    assert LocalModel(folder).identity != before


def test_shorter_types_only_where_they_are_asked_for(tiny_base: Path) -> None:
    assert LocalModel(tiny_base).model.dtype == torch.float32
    assert LocalModel(tiny_base, dtype=torch.bfloat16).precision == "bfloat16"
    flags = set(Path("/proc/cpuinfo").read_text().split())
    native = torch.cuda.is_available() or not flags.isdisjoint({"avx512_bf16", "amx_bf16", "bf16"})
    automatic = LocalModel(tiny_base, dtype="auto")
    assert automatic.model.dtype == (torch.bfloat16 if native else torch.float32)
    assert automatic.forward.way == "shared"
    assert automatic.identity != LocalModel(tiny_base).identity or not native
    [choice] = dict(automatic.choose_each(["The"], [Options((" red", " x"))], Sampling())).values()
    assert all(score < 0 for score in choice.scores)


def test_a_model_that_cannot_share_beginnings_says_so_and_answers_the_same(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts, greedy = ["The lamp is red.", "The lamp is", "The river"], Sampling(max_new_tokens=6)
    expected = [one.text for one in LocalModel(tiny_base).generate(prompts, greedy)]
    assert "share beginnings" not in capsys.readouterr().err
    monkeypatch.setattr(Forward, "_shares_exactly", lambda *_: False)
    model = LocalModel(tiny_base)
    assert model.forward.way == "whole"
    note = "note: LlamaForCausalLM cannot share beginnings; every prompt is read from its first token on\n"
    assert capsys.readouterr().err == note
    assert [one.text for one in model.generate(prompts, greedy)] == expected
