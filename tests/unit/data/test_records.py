"""Records: which fields they must have, and what counts as text."""

import pytest

from packtrain.core.errors import UserError
from packtrain.data.records import Record, not_text


def test_missing_fields_are_named_with_those_found_and_the_place() -> None:
    record = Record(3, "data.jsonl:4", {"instruction": "x", "output": None})
    record.require("instruction", "output")
    with pytest.raises(UserError) as caught:
        record.require("instruction", "response", "context")
    assert caught.value.message == (
        "data.jsonl:4: missing response, context (found: instruction, output; expected: instruction, response, context)"
    )
    with pytest.raises(UserError, match="found: none"):
        Record(0, "here", {}).require("text")


def test_the_first_value_that_is_no_string_is_the_reason() -> None:
    assert not_text(("a", "x"), ("b", "")) is None
    assert not_text(("a", "x"), ("b", None), ("c", 1)) == "b is not text"
