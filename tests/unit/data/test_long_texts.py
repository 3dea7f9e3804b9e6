"""Texts that go on and on: every lint and cleaning rule ends, and what it makes of them is no longer than it was.

A rule whose work grows with the square of the length needs minutes for some of these texts, others milliseconds.
"""

import pytest

from packtrain.core.conversation import Conversation, Message
from packtrain.data.cleaning import load_rules
from packtrain.data.lint import load_lint_rules
from packtrain.data.page_text import markdown

PAGE = '<div class="markdown prose">'
PARTS = (
    "a", " ", "\n", "1 ", "1 + ", "1=1 ", "-", "(", "[", "![", "&#1", "\u0301", "中", "\ud800",
    "<", "<a", "<p ", "<ul><li>", "<pre><code>x", "</p>", "```\n", "\n\n2", "\nInput:", "noinput\n", "1 / 2\n\n",
    "```Copy code", "python\nCopy code", "Copy1 chars / 1 words",
    "Bard ", "the following picture ", "create a ", "what is the current weather ", "Q: a\n\nx\n",
)  # fmt: skip
"""What the texts consist of, again and again."""
CHARACTERS = 30_000


def talks(part: str) -> list[Conversation]:
    """Conversations with a long question, context, answer and page."""
    text = part * (CHARACTERS // len(part))
    rounds = (
        (Message("user", f"Summarize this: {text}"), Message("assistant", text)),
        (Message("user", "What is 2 + 2?", text), Message("assistant", f"x {text}!")),
        (Message("user", "Go on."), Message("assistant", PAGE + text)),
    )
    return [Conversation("d", "x", messages) for messages in rounds]


@pytest.mark.parametrize("part", PARTS, ids=ascii)
def test_every_rule_ends_and_does_nothing_the_second_time(part: str) -> None:
    lint_rules, rules = load_lint_rules(), load_rules()
    for talk in talks(part):
        for lint_rule in lint_rules:
            place = lint_rule.find(talk)
            assert place is None or place.message < len(talk.messages)
        for rule in rules:
            found = rule.apply(talk)
            assert isinstance(found, str) or rule.apply(found) is found
            kept = () if isinstance(found, str) else found.messages
            assert sum(len(message.content) for message in kept) < 5 * CHARACTERS


def test_lists_inside_lists_are_indented_so_far_and_no_further() -> None:
    text = markdown("<ul><li>a" * 9 + "<ul><li>b" * 1000)
    lines = [line for line in text.splitlines() if line]
    assert [len(line) - len(line.lstrip()) for line in lines[:9]] == [3 * depth for depth in range(9)]
    assert {len(line) - len(line.lstrip()) for line in lines[12:]} == {30}


def test_a_tag_that_does_not_end_is_text() -> None:
    assert markdown("<p>1 <b>2</b> 3</p> <a href='x' 4 <") == "1 **2** 3\n\n <a href='x' 4 <"
