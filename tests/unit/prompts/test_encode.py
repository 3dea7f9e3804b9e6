"""Labels of the default mode: what the assistant says is learnt, and nothing else."""

from pathlib import Path
from typing import Any

import pytest

from packtrain.core.conversation import Conversation, Message
from packtrain.prompts.encode import IGNORED, encode
from packtrain.prompts.template import load_template
from packtrain.prompts.tokenizer import Tokenizer, load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tiny_base: Path) -> Tokenizer:
    return load_tokenizer(tiny_base)


def conversation(*turns: str, first: str = "user") -> Conversation:
    roles = ("user", "assistant") if first == "user" else ("assistant", "user")
    messages = tuple(Message(roles[place % 2], text) for place, text in enumerate(turns))
    return Conversation("d", "1", messages)


def learnt_text(tokenizer: Tokenizer, labels: list[int]) -> list[str]:
    """Runs of learnt tokens, decoded."""
    runs: list[list[int]] = [[]]
    for label in labels:
        if label == IGNORED:
            runs.append([])
        else:
            runs[-1].append(label)
    return [tokenizer.decode(run, skip_special=False) for run in runs if run]


def test_every_answer_with_its_end_of_sequence_is_learnt(tokenizer: Tokenizer) -> None:
    given = conversation("Name a colour.", "red", "Count.", "one, two\n\nthree")
    [example] = encode([given], load_template("tulu"), tokenizer, 512).examples
    assert learnt_text(tokenizer, example.labels) == ["red</s>", "one, two\n\nthree</s>"]
    assert example.labels[0] == IGNORED
    assert example.learnt_tokens == sum(label != IGNORED for label in example.labels)


def test_the_newline_after_an_inner_end_of_sequence_is_not_learnt(tokenizer: Tokenizer) -> None:
    given = [conversation("a", "red", "b", "ten")]
    default = encode(given, load_template("tulu"), tokenizer, 512).examples[0]
    compat = encode(given, load_template("tulu"), tokenizer, 512, "compat").examples[0]
    assert default.input_ids == compat.input_ids
    places = [place for place in range(len(default.labels)) if default.labels[place] != compat.labels[place]]
    assert [tokenizer.decode([compat.labels[place]]) for place in places] == ["\n"]


def test_a_header_of_the_assistant_is_never_learnt(tokenizer: Tokenizer) -> None:
    given = conversation("I begin.", "Do you?", "I do.", first="assistant")
    default = encode([given], load_template("tulu"), tokenizer, 512).examples[0]
    assert learnt_text(tokenizer, default.labels) == ["I begin.</s>", "I do.</s>"]
    compat = encode([given], load_template("tulu"), tokenizer, 512, "compat").examples[0]
    assert learnt_text(tokenizer, compat.labels)[0].startswith("<s><|assistant|>\nI begin.")


def test_what_is_cut_or_has_nothing_to_learn_is_counted(tokenizer: Tokenizer) -> None:
    long = conversation("Count to ten. " * 40, "one")
    half = conversation("Count.", "one, two, three, " * 20)
    encoded = encode([long, half, conversation("Hi")], load_template("tulu"), tokenizer, 64)
    assert [example.id for example in encoded.examples] == ["1"]
    assert len(encoded.examples[0].input_ids) == 64
    assert tokenizer.eos_id not in encoded.examples[0].labels
    assert dict(encoded.dropped) == {"nothing to learn within the length limit": 2}
    assert encoded.cut_at_limit == 2


def test_control_tokens_in_the_text_are_refused_and_counted(tokenizer: Tokenizer) -> None:
    given = conversation("What does </s> mean?", "It ends a text.")
    encoded = encode([given], load_template("tulu"), tokenizer, 512)
    assert not encoded.examples
    assert dict(encoded.dropped) == {"control token in the text": 1}
    assert encode([given], load_template("tulu"), tokenizer, 512, "compat").examples


def test_characters_of_several_tokens_right_at_the_seam_are_all_learnt(tokenizer: Tokenizer) -> None:
    """In Alpaca's format nothing stands between colon and answer, and one character may be several tokens."""
    given = conversation("Go.", "\u00e9t\u00e9 \U0001f600")
    [example] = encode([given], load_template("alpaca"), tokenizer, 512).examples
    assert learnt_text(tokenizer, example.labels) == ["\u00e9t\u00e9 \U0001f600</s>"]


def test_a_token_over_the_seam_belongs_to_the_prompt(tokenizer: Tokenizer) -> None:
    """`th` is one token: when the prompt ends in its first letter it is not learnt, and the rest of the answer is."""
    messages = (Message("user", "Say o "), Message("assistant", "ne, one"))
    joined = Conversation("d", "1", messages)
    [example] = encode([joined], load_template("prompt_completion"), tokenizer, 64).examples
    seam = len("Say o ")
    offsets = tokenizer.encode(["Say o ne, one</s>"])[0].offsets
    for label, (start, end) in zip(example.labels, offsets, strict=True):
        assert (label == IGNORED) == (start < seam or end == start)


def test_a_conversation_that_the_template_cannot_show_is_counted(tokenizer: Tokenizer) -> None:
    many = [conversation("a", "red", "b", "ten"), conversation("a", "red")]
    encoded = encode(many, load_template("alpaca"), tokenizer, 512)
    assert len(encoded.examples) == 1
    assert dict(encoded.dropped) == {"template alpaca: the Alpaca format has one instruction and one answer": 1}


@pytest.mark.parametrize("mode", ["default", "compat"])
def test_an_answer_that_is_only_shown_is_not_learnt(tokenizer: Tokenizer, mode: Any) -> None:
    messages = [Message("user", "a?"), Message("assistant", "first", learnt=False), Message("user", "b?")]
    conversation = Conversation("d", "1", (*messages, Message("assistant", "second")))
    [example] = encode([conversation], load_template("tulu"), tokenizer, 200, mode).examples
    [learnt] = learnt_text(tokenizer, list(example.labels))
    assert learnt.rstrip("\n") == "second</s>"
