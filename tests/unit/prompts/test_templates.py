"""The prompt formats of the published cards, to the byte."""

from pathlib import Path

import pytest

from packtrain.core.conversation import Message
from packtrain.core.errors import UserError
from packtrain.prompts.template import folder_template, load_template, template_names

HELLO = (Message("user", "Say hi."), Message("assistant", "Hi!"))

ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
    "\n\n### Instruction:\nSay hi.\n\n### Response:"
)
ALPACA_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
    "\n\n### Instruction:\nSay it back.\n\n### Input:\nhi {x}\n\n### Response:"
)


def test_alpaca_ends_at_the_colon() -> None:
    template = load_template("alpaca")
    assert template.render(HELLO[:1], "</s>", for_answer=True).text == ALPACA
    given = (Message("user", "Say it back.", "hi {x}"),)
    assert template.render(given, "</s>", for_answer=True).text == ALPACA_WITH_INPUT
    assert template.render((Message("user", "Say hi.", ""),), "</s>", for_answer=True).text == ALPACA


def test_alpaca_learns_answer_and_end_of_sequence() -> None:
    rendered = load_template("alpaca").render(HELLO, "</s>")
    assert rendered.text == ALPACA + "Hi!</s>"
    assert [rendered.text[start:end] for start, end in rendered.spans] == ["Hi!</s>"]


@pytest.mark.parametrize(
    "messages",
    [
        (*HELLO, *HELLO),
        (Message("system", "Be kind."), *HELLO),
        (Message("assistant", "Hi!"),),
        (Message("user", "a"), Message("user", "b")),
    ],
)
def test_alpaca_refuses_what_it_cannot_show(messages: tuple[Message, ...]) -> None:
    with pytest.raises(UserError, match="one instruction and one answer"):
        load_template("alpaca").render(messages, "</s>")


def test_tulu_with_everything_in_it() -> None:
    messages = (
        Message("system", " Be kind. "),
        Message("user", "  Say hi.\n"),
        Message("assistant", "\nHi!  "),
        Message("user", "Sort these.", "b a"),
    )
    rendered = load_template("tulu").render(messages, "</s>", for_answer=True, answer_prefix="The answer is:")
    assert rendered.text == (
        "<|system|>\nBe kind.\n<|user|>\nSay hi.\n<|assistant|>\nHi!</s>\n<|user|>\nSort these.\n\nb a\n<|assistant|>\n"
        "The answer is:"
    )
    assert [rendered.text[start:end] for start, end in rendered.spans] == ["Hi!</s>"]


def test_a_tulu_example_ends_on_end_of_sequence() -> None:
    assert load_template("tulu").render(HELLO, "</s>").text == "<|user|>\nSay hi.\n<|assistant|>\nHi!</s>"


@pytest.mark.parametrize(
    ("prompt", "completion", "learnt"),
    [("Q:", "A", " A</s>"), ("Q: ", "A", "A</s>"), ("Q:", "\nA", "\nA</s>"), ("Q\t", " A", " A</s>")],
)
def test_prompt_completion_puts_one_space_at_a_bare_seam(prompt: str, completion: str, learnt: str) -> None:
    messages = (Message("user", prompt), Message("assistant", completion))
    rendered = load_template("prompt_completion").render(messages, "</s>")
    assert rendered.text == prompt + learnt
    assert [rendered.text[start:end] for start, end in rendered.spans] == [learnt]


def test_data_are_values_never_templates() -> None:
    nasty = "{{ 1 + 1 }} {% raw %} {# #} {output}"
    text = load_template("tulu").render((Message("user", nasty),), "</s>", for_answer=True).text
    assert text == f"<|user|>\n{nasty}\n<|assistant|>\n"


def test_only_alpaca_and_prompt_completion_know_one_round() -> None:
    assert {name for name in template_names() if load_template(name).one_round} == {"alpaca", "prompt_completion"}


def test_a_users_own_file_and_what_is_wrong_with_one(tmp_path: Path) -> None:
    own = tmp_path / "own.jinja"
    own.write_text("{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}")
    assert load_template(str(own)).render(HELLO, "</s>").spans == ((0, 7), (7, 10))
    own.write_text("{{ messages }}")
    with pytest.raises(UserError, match="marks nothing to learn"):
        load_template(str(own))
    own.write_text("{% for %} endgeneration")
    with pytest.raises(UserError, match="template own"):
        load_template(str(own)).render(HELLO, "</s>")
    with pytest.raises(UserError, match="unknown template: tullu") as caught:
        load_template("tullu")
    assert "did you mean tulu?" in caught.value.hint


def test_the_template_in_a_folder_is_the_one_that_was_put_there(tmp_path: Path) -> None:
    template = load_template("tulu")
    (tmp_path / "chat_template.jinja").write_text(template.chat_template("<s>"))
    stored = folder_template(tmp_path)
    assert stored is not None
    assert stored.source == template.source
    assert template.chat_template("<s>").startswith("{{- '<s>' -}}")
    assert folder_template(tmp_path / "missing") is None
