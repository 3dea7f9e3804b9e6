"""Chat shows the model what it was trained on, keeps what fits, and writes what was said as training data."""

from pathlib import Path
from typing import Any

import pytest

from packtrain.chat.session import ChatSession
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
    assert session.history == [Message("user", "Name a colour."), Message("assistant", completion.text)]
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


def test_the_stored_format_is_found_and_a_missing_one_asked_for(tiny_base: Path, tmp_path: Path) -> None:
    assert template_for(tmp_path, "alpaca").name == "alpaca"
    with pytest.raises(UserError, match="stores no prompt format"):
        template_for(tiny_base, None)


def test_piped_messages_are_answered_and_saved(tiny_base: Path, tmp_path: Path, packtrain: Any) -> None:
    given = "Name a colour.\n/save talk.jsonl\n/save talk.jsonl\n/nonsense\n/prompt\n/clear\n\n/quit\nnever read\n"
    finished = packtrain(
        "chat", tiny_base, "--template", "tulu", "--max-new-tokens", 6, "--system", "Hm.", cwd=tmp_path, stdin=given
    )
    assert finished.returncode == 0, finished.stderr
    [saved] = read_conversations(tmp_path / "talk.jsonl")
    assert [message.role for message in saved.messages] == ["system", "user", "assistant"]
    assert finished.stdout.strip() == saved.messages[-1].content.strip()
    assert "exists already" in finished.stderr
    assert "<|system|>\nHm.\n<|user|>\nName a colour.\n<|assistant|>\n" in finished.stderr
