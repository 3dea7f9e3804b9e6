"""The fast renderer gives what transformers makes of the same templates."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packtrain.core.conversation import Message
from packtrain.core.errors import UserError
from packtrain.prompts.encode import _prefix
from packtrain.prompts.template import load_template, template_names

TEXT = st.text(max_size=20) | st.sampled_from(["", " a ", "\n", "{{ x }}", "{% generation %}", "</s>", "a\n\nb"])
MESSAGES = st.lists(
    st.builds(Message, st.sampled_from(["system", "user", "assistant"]), TEXT, st.none() | TEXT), min_size=1, max_size=6
)


@pytest.mark.parametrize("name", template_names())
@settings(max_examples=60, deadline=None)
@given(messages=MESSAGES, for_answer=st.booleans())
def test_text_and_spans_or_the_same_refusal(name: str, messages: list[Message], for_answer: bool) -> None:
    ours = load_template(name)
    assert ours.shipped
    library = replace(ours, shipped=False)
    try:
        expected = library.render(messages, "</s>", for_answer=for_answer)
    except UserError as error:
        with pytest.raises(UserError, match=re.escape(error.message)):
            ours.render(messages, "</s>", for_answer=for_answer)
    else:
        assert ours.render(messages, "</s>", for_answer=for_answer) == expected


def test_a_template_of_a_stranger_goes_through_the_sandbox(tmp_path: Path) -> None:
    path = tmp_path / "odd.jinja"
    path.write_text("{% generation %}{{ messages.__class__.__mro__ }}{% endgeneration %}")
    template = load_template(str(path))
    assert not template.shipped
    with pytest.raises(UserError, match="unsafe"):
        template.render((Message("user", "a"), Message("assistant", "b")), "</s>")


def test_answers_that_are_only_shown_are_not_learnt() -> None:
    messages = (
        Message("user", "one"),
        Message("assistant", "first", learnt=False),
        Message("user", "two"),
        Message("assistant", "second"),
    )
    rendered = load_template("tulu").render(messages, "</s>")
    assert [rendered.text[start:end] for start, end in rendered.spans] == ["second</s>"]
    assert "first</s>" in rendered.text


@pytest.mark.parametrize("name", template_names())
@settings(max_examples=60, deadline=None)
@given(messages=MESSAGES)
def test_prefixes_are_the_beginning_of_the_whole(name: str, messages: list[Message]) -> None:
    """So that the labels of 2023, counted by prefixes, need no rendering of each."""
    template = load_template(name)
    try:
        whole = template.render(messages, "</s>")
    except UserError:
        assert template.one_round
        return
    for count in range(1, len(messages) + 1):
        taken = _prefix(messages, count, whole, template, "</s>")
        assert taken == _prefix(messages, count, whole, replace(template, shipped=False), "</s>")
