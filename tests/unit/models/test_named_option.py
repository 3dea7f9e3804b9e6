"""Reading which option an answer in words names."""

import pytest

from packtrain.models.named_option import named_option

LETTERS = (" A", " B", " C", " D")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("B", 1),
        (" B", 1),
        ("\n\nB.", 1),
        ("(C) Paris", 2),
        ("**D**", 3),
        ("`A`", 0),
        ('"A"', 0),
        ("A) red", 0),
        ("A. red", 0),
        ("A\nbecause", 0),
        ("B because", 1),
        ("The answer is: C", 2),
        ("The answer is: **C**", 2),
        ("A good question", -1),
        ("Both", -1),
        ("Banana", -1),
        ("B_1", -1),
        ("b", -1),
        ("E", -1),
        ("I think B", -1),
        ("The correct answer is B.", 1),
        ("Answer: **C**", 2),
        ("option (D)", 3),
        ("The correct answer is not B", -1),
        ("The best answer is a good one", -1),
        ("The answers: B", -1),
        ("", -1),
        ("The answer is:", -1),
    ],
)
def test_letters(answer: str, expected: int) -> None:
    assert named_option(answer, LETTERS, "Question\nA. red\nThe answer is:") == expected


def test_words_and_the_longest_of_them() -> None:
    assert named_option("New York City is", ("New", "New York", "York")) == 1
    assert named_option("New Yorker", ("New", "New York")) == 0
    assert named_option("yes, no", ("no", "yes")) == 1
    assert named_option("same", ("same", " same")) == 0
    assert named_option("anything", ("", " ")) == -1
    assert named_option("-1 is it", ("1", "-1")) == 1
    assert named_option("Ответ", ("Отв", "Ответ")) == 1
