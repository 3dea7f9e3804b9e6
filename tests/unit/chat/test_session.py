"""Chat shows the model what it was trained on, keeps what fits, and writes what was said as training data."""

from contextlib import nullcontext
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn

import pytest

from packtrain.chat.session import ChatSession
from packtrain.chat.terminal import chat
from packtrain.core.conversation import Conversation, Message, read_conversations
from packtrain.core.errors import UserError
from packtrain.models.base import Sampling
from packtrain.models.local import LocalModel
from packtrain.prompts.encode import encode
from packtrain.prompts.template import load_template, template_for


@pytest.fixture
def session(tiny_base: Path) -> ChatSession:
    return ChatSession(LocalModel(tiny_base), load_template("tulu"), sampling=Sampling(max_new_tokens=8))


def test_history_carries_its_end_of_sequence_as_in_training(session: ChatSession) -> None:
    session.history = [Message("user", "Hi"), Message("assistant", "Hello.")]
    prompt = session.prompt(Message("user", "Bye"))
    assert prompt == "<|user|>\nHi\n<|assistant|>\nHello.</s>\n<|user|>\nBye\n<|assistant|>\n"
    whole = Conversation("d", "1", (*session.history, Message("user", "Bye"), Message("assistant", "Bye!")))
    tokenizer = session.model.tokenizer
    trained = encode([whole], session.template, tokenizer, 512).examples[0].input_ids
    assert trained[: len(tokenizer.ids(prompt))] == tokenizer.ids(prompt)


def test_an_answer_joins_the_history(session: ChatSession) -> None:
    pieces: list[str] = []
    completion = session.ask("Name a colour.", pieces.append)
    assert "".join(pieces) == completion.text
    assert completion.finish_reason == "length"
    answer = Message("assistant", completion.text, learnt=False)
    assert session.history == [Message("user", "Name a colour."), answer]
    session.clear()
    assert session.history == []


def test_whole_oldest_rounds_are_forgotten_first(session: ChatSession) -> None:
    session.system = "Be kind."
    for number in range(30):
        session.history += [Message("user", f"question {number} word word"), Message("assistant", f"answer {number}")]
    prompt = session.prompt(Message("user", "Now?"))
    assert prompt.startswith("<|system|>\nBe kind.\n<|user|>\nquestion ")
    assert prompt.endswith("<|user|>\nNow?\n<|assistant|>\n")
    assert session.forgotten % 2 == 0
    assert 0 < session.forgotten < 60
    assert f"question {session.forgotten // 2 - 1} " not in prompt
    assert len(session.model.tokenizer.ids(prompt)) <= 512 - 8


def test_a_message_that_can_never_fit_is_refused_and_not_remembered(session: ChatSession) -> None:
    with pytest.raises(UserError, match="does not fit"):
        session.ask("word " * 600, lambda text: None)
    assert session.history == []


def test_a_format_of_one_round_shows_the_newest_message_alone(session: ChatSession) -> None:
    session.template = load_template("alpaca")
    session.history = [Message("user", "Hi"), Message("assistant", "Hello.")]
    assert "Hello." not in session.prompt(Message("user", "Bye"))


def test_a_diff_is_no_model_to_talk_to(tmp_path: Path, packtrain: Any) -> None:
    for name in ("config.json", "manifest.json"):
        (tmp_path / name).write_text("{}")
    refused = packtrain("chat", tmp_path)
    assert refused.returncode == 2
    assert f"error: {tmp_path} is a weight diff and no model" in refused.stderr


def test_the_stored_format_is_found_and_a_missing_one_asked_for(tiny_base: Path, tmp_path: Path) -> None:
    assert template_for(tmp_path, "alpaca").name == "alpaca"
    with pytest.raises(UserError, match="stores no prompt format"):
        template_for(tiny_base, None)


def test_piped_messages_are_answered(tiny_base: Path, tmp_path: Path, packtrain: Any) -> None:
    given = "Name a colour.\n/save talk.jsonl\n/nonsense\n/prompt\n/clear\n\n/quit\nnever read\n"
    finished = packtrain(
        "chat", tiny_base, "--template", "tulu", "--max-new-tokens", 6, "--system", "Hm.", cwd=tmp_path, stdin=given
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip()
    assert "there is nothing to keep: every answer was cut: allow longer answers" in finished.stderr
    assert not (tmp_path / "talk.jsonl").exists()
    assert "<|system|>\nHm.\n<|user|>\nName a colour.\n<|assistant|>\n" in finished.stderr


@pytest.mark.parametrize("name", ["tulu", "alpaca"])
def test_what_is_saved_can_be_learnt(
    name: str, session: ChatSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A format of one round learns each by itself; an answer that was cut is shown and not learnt."""
    session.template = load_template(name)
    said = [Message("user", "Hi"), Message("assistant", "Hello.")]
    session.history = [*said, Message("user", "Count"), Message("assistant", "1, 2", learnt=False)]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", StringIO("/save talk.jsonl\n/save talk.jsonl\n"))
    chat(session)
    [saved] = read_conversations(tmp_path / "talk.jsonl")
    assert list(saved.messages) == (session.history if name == "tulu" else said)
    assert session.template.render(list(saved.messages), "</s>").text
    assert capsys.readouterr().err == (
        "saved to talk.jsonl\ntalk.jsonl exists already; name another file: /save FILE\n"
    )
    session.clear()
    with pytest.raises(UserError, match="there is nothing to keep yet"):
        session.conversations()


@pytest.mark.parametrize("interactive", [False, True])
def test_ctrl_c_ends_what_is_piped_and_at_a_terminal_one_answer(
    interactive: bool, session: ChatSession, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Answers of a pipe would no longer belong to its lines, were one left out."""
    given, asked = StringIO("One?\nTwo?\n"), []

    def interrupted(message: str, show: object) -> NoReturn:
        asked.append(message)
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin", given)
    monkeypatch.setattr(given, "isatty", lambda: interactive)
    monkeypatch.setattr(session, "ask", interrupted)
    with nullcontext() if interactive else pytest.raises(KeyboardInterrupt):
        chat(session)
    assert asked == (["One?", "Two?"] if interactive else ["One?"])
    assert capsys.readouterr().err.count("answer stopped") == 2 * interactive
