"""Answers: every block becomes a task or gets a reason; tests/oracles has the original's cases."""

from packtrain.generate.parse import MALFORMED, TRUNCATED, Block, parse_answer
from packtrain.generate.task import Task

ANSWER = (
    " Name a bird\n4. Input:\n<noinput>\n4. Output:\nwren\n###\n5. Instruction: Add\n5. Input:\n1 2\n5. Output:\n3\n"
)
TASKS = [Task("Name a bird", "", "wren"), Task("Add", "1 2", "3")]


def reasons(blocks: list[Block]) -> list[str | None]:
    return [block.reason for block in blocks]


def test_a_good_answer() -> None:
    blocks = parse_answer(ANSWER, "stop", 3)
    assert [block.task for block in blocks] == TASKS
    assert [block.number for block in blocks] == [4, 5]
    assert reasons(blocks) == [None, None]


def test_an_answer_may_repeat_the_label_or_the_separator_before_it() -> None:
    for opening in ("4. Instruction:", "\n4. Instruction:", "###\n4. Instruction:", "\n### \n4. Instruction:"):
        assert [block.task for block in parse_answer(opening + ANSWER, "stop", 3)] == TASKS


def test_the_end_of_an_answer_that_was_cut_off_is_not_trusted() -> None:
    blocks = parse_answer(ANSWER, "length", 3)
    assert [block.task for block in blocks] == [TASKS[0], None]
    assert reasons(blocks) == [None, TRUNCATED]


def test_what_cannot_be_read_is_kept_as_text() -> None:
    blocks = parse_answer("I cannot help with that.", "stop", 3)
    assert reasons(blocks) == [MALFORMED]
    assert blocks[0].text == "4. Instruction:I cannot help with that."
    assert reasons(parse_answer("", "stop", 3)) == [MALFORMED]
    assert reasons(parse_answer(" \n4. Input:\na\n4. Output:\nb", "stop", 3)) == [MALFORMED]
