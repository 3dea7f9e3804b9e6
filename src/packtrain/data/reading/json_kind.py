"""What a decoded JSON value is, in words for error messages."""

_KINDS = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}


def kind_of(value: object) -> str:
    """`an object`, `a list`, `text`, `a number`, `true or false` or `null`."""
    return _KINDS.get(type(value), "null" if value is None else type(value).__name__)
