"""Each filter with tasks that it lets pass and tasks that it rejects, at the bounds of its rule."""

import pytest

from packtrain.core.errors import UserError
from packtrain.generate.filters import load_filters, rejection
from packtrain.generate.task import Task

CASES = {
    "length": (["one two three four", "w " * 150], ["one two three", "", "w " * 151]),
    "modality": (
        ["Explain profiles of people", "Describe imagery here", "Mapping the drawbacks", "Go into town"],
        ["Describe the image", "the bar-graph", "Please GO TO bed", "Play the video's end", "Make a flowchart"],
    ),
    "program": (["write a program", "Please Write a program", "Write the program"], ["Write a program that sorts"]),
    "punctuation": (["3 reasons", "Name 'this'", ""], ['"Quote" this', "(Optional) name", "- list"]),
    "script": (["Explain naïve words", "7 things", ""], ["École", "翻译", "“Quoted”"]),
}


def test_there_is_a_case_for_every_filter_in_the_order_of_the_original() -> None:
    assert list(load_filters()) == list(CASES) == ["length", "modality", "program", "punctuation", "script"]


@pytest.mark.parametrize("name", CASES)
def test_filter(name: str) -> None:
    objection = load_filters([name])[name]
    passing, failing = CASES[name]
    assert [text for text in passing if objection(Task(text, "", "x"))] == []
    assert [text for text in failing if not objection(Task(text, "", "x"))] == []


def test_the_first_filter_that_objects_gives_the_reason() -> None:
    assert rejection(Task("Draw it", "", ""), load_filters()) == ("length", "2 words, not 4 to 150")
    assert rejection(Task("Draw it", "", ""), load_filters(["script", "modality"])) == ("modality", "mentions 'Draw'")
    assert rejection(Task("Draw it", "", ""), load_filters([])) is None


def test_an_unknown_filter_lists_those_there_are() -> None:
    with pytest.raises(UserError, match="unknown filter: lenght") as caught:
        load_filters(["lenght"])
    assert "did you mean length" in caught.value.hint
    assert "script" in caught.value.hint
