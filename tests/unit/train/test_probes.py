"""Probes of a finished model: which prompts, what counts as an end, and what is left out."""

import json
from pathlib import Path

import pytest
import torch

from packtrain.core.conversation import Conversation, Message, write_conversations
from packtrain.models.base import Sampling
from packtrain.models.local import LocalModel
from packtrain.models.scripted import Scripted
from packtrain.prompts.template import load_template
from packtrain.prompts.tokenizer import Tokenizer, load_tokenizer
from packtrain.train import probes
from packtrain.train.probes import ProbePrompt, ProbeReport, probe, probe_folder, probe_prompts

TULU = load_template("tulu")


@pytest.fixture
def tokenizer(tiny_base: Path) -> Tokenizer:
    return load_tokenizer(tiny_base)


def conversation(number: int, question: str, *turns: Message) -> Conversation:
    return Conversation("d", str(number), (Message("user", question), *turns))


def answered(number: int, question: str, answer: str) -> Conversation:
    return conversation(number, question, Message("assistant", answer))


def prompts_of(tmp_path: Path, tokenizer: Tokenizer, rows: list[Conversation], count: int = 8) -> list[ProbePrompt]:
    write_conversations(tmp_path / "data.jsonl", rows)
    return probe_prompts(tmp_path / "data.jsonl", tokenizer, TULU, count)


def test_the_shortest_answers_are_asked_for_and_no_prompt_twice(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = [answered(number, f"Question {number % 12}", "x" * (1 + number)) for number in range(24)]
    found = prompts_of(tmp_path, tokenizer, rows)
    assert len({prompt.messages for prompt in found}) == 8
    lengths = [len(prompt.answer) for prompt in found]
    assert lengths == sorted(lengths)
    again = prompts_of(tmp_path, tokenizer, rows[::-1])
    assert again == found, "the order of the file does not matter"


def test_the_choice_among_many_is_by_identity(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = [answered(number, f"Question {number}", "yes") for number in range(300)]
    found = {prompt.messages[0].content for prompt in prompts_of(tmp_path, tokenizer, rows, 2)}
    assert len(found) == 2
    assert found == {prompt.messages[0].content for prompt in prompts_of(tmp_path, tokenizer, rows[::-1], 2)}


def test_the_prompt_ends_before_the_first_learnt_answer(tmp_path: Path, tokenizer: Tokenizer) -> None:
    shown = Message("assistant", "One.", learnt=False)
    system, more = Message("system", "Be brief."), Message("user", "More?")
    rows = [
        Conversation(
            "d", "a", (system, Message("user", "So?"), Message("assistant", "Yes."), more, Message("assistant", "No"))
        ),
        conversation(1, "Name one.", shown, more, Message("assistant", "Two.")),
        conversation(2, "Nobody answers."),
        Conversation("d", "b", (Message("assistant", "Hello."),)),
        conversation(3, "Only shown.", shown),
    ]
    found = {prompt.answer: prompt.messages for prompt in prompts_of(tmp_path, tokenizer, rows)}
    assert found == {
        "Yes.": (system, Message("user", "So?")),
        "Two.": (Message("user", "Name one."), shown, more),
    }


def test_what_the_template_cannot_show_is_left_out(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = [
        Conversation("d", "a", (Message("system", "Be brief."), Message("user", "So?"), Message("assistant", "Yes."))),
        answered(1, "Well?", "Fine."),
    ]
    write_conversations(tmp_path / "data.jsonl", rows)
    found = probe_prompts(tmp_path / "data.jsonl", tokenizer, load_template("alpaca"))
    assert [prompt.answer for prompt in found] == ["Fine."]


def test_ended_is_what_stopped_within_the_limit(tokenizer: Tokenizer) -> None:
    prompts = [ProbePrompt((Message("user", word),), answer) for word, answer in (("stop", "ok"), ("on", "word " * 99))]
    model = Scripted("half", lambda prompt: "done" if "stop" in prompt else "and " * 50)
    report = probe(model, tokenizer, TULU, prompts, max_new_tokens=20)
    assert (report.asked, report.ended, report.never_stops) == (2, 1, False)
    assert [(one.text, one.ended, one.could_end) for one in report.answers] == [
        ("done", True, True),
        (" ".join(["and"] * 20), False, False),
    ]
    header = TULU.render((Message("user", "stop"),), "</s>", for_answer=True).text
    assert report.answers[0].prompt == header


def test_a_model_never_stops_only_where_some_answer_could_have_ended(tokenizer: Tokenizer) -> None:
    endless = Scripted("endless", lambda prompt: "and " * 50)

    def never_stops(answer: str) -> bool:
        return probe(endless, tokenizer, TULU, [ProbePrompt((Message("user", "Go"),), answer)], 20).never_stops

    assert never_stops("ok")
    assert not never_stops("word " * 99)
    assert not ProbeReport((), "why").never_stops


def biased(folder: Path, tmp_path: Path, token: int) -> Path:
    """A copy of a tiny LLaMA that always answers one token."""
    import shutil

    from safetensors.torch import load_file, save_file

    out = shutil.copytree(folder, tmp_path / f"always-{token}")
    weights = load_file(out / "model.safetensors")
    for name, tensor in weights.items():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            tensor.zero_()
    weights["model.embed_tokens.weight"].fill_(1.0)
    weights["lm_head.weight"].zero_()
    weights["lm_head.weight"][token] = 1.0
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    return out


def test_a_folder_is_asked_as_anybody_would_ask_it(tiny_base: Path, tmp_path: Path) -> None:
    """It ends by the tokenizer's end-of-sequence, and by every id that its generation config names."""
    prompts = [ProbePrompt((Message("user", f"Question {number}"),), "Yes.") for number in range(3)]
    stops, runs_on = biased(tiny_base, tmp_path, 2), biased(tiny_base, tmp_path, 50)
    assert (probe_folder(stops, TULU, prompts).asked, probe_folder(stops, TULU, prompts).ended) == (3, 3)
    report = probe_folder(runs_on, TULU, prompts, 10)
    assert (report.asked, report.ended, report.never_stops) == (3, 0, True)
    (runs_on / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 50]}))
    assert probe_folder(runs_on, TULU, prompts, 10).ended == 3


def test_answers_are_those_of_the_model(tiny_base: Path) -> None:
    prompts = [ProbePrompt((Message("user", "Count."),), "One.")]
    report = probe_folder(tiny_base, TULU, prompts, 12)
    text = TULU.render(prompts[0].messages, "</s>", for_answer=True).text
    [expected] = LocalModel(tiny_base).generate([text], Sampling(max_new_tokens=12))
    assert report.answers[0].text == expected.text


def test_prompts_without_room_in_the_context_are_left_out(tiny_base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The tiny model's context is 512 tokens, of which an answer may have half."""
    long, short = (ProbePrompt((Message("user", words),), "Yes.") for words in ("word " * 400, "word"))
    assert probe_folder(tiny_base, TULU, [long, short], 1000).asked == 1
    report = probe_folder(tiny_base, TULU, [long])
    assert (report.asked, report.never_stops) == (0, False)
    assert report.left_out == "no prompt of the training data leaves room for 128 tokens in the context"
    assert report.left_out in capsys.readouterr().err


def test_a_model_that_the_memory_does_not_hold_is_left_out(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(probes, "free_memory_bytes", lambda: 1000)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    report = probe_folder(tiny_base, TULU, [ProbePrompt((Message("user", "So?"),), "Yes.")])
    assert report.asked == 0
    assert report.left_out.endswith("this machine has 0.00 MB free")
    assert "probes of the finished model are left out" in capsys.readouterr().err
