"""JSON as text that can always be written: half a surrogate pair, which JSON can name, is no UTF-8."""

import json
from typing import Any

from packtrain.core.errors import UserError

NOT_UNICODE = "text is not valid Unicode"
"""Why a conversation with half a surrogate pair in it is left out."""
_on_one_line = json.JSONEncoder(ensure_ascii=False).encode


def json_text(value: Any, indent: int | None = None) -> str:
    """The JSON of a value with its characters as they are; with all but ASCII escaped when some are no Unicode."""
    text = _on_one_line(value) if indent is None else json.dumps(value, ensure_ascii=False, indent=indent)
    return text if is_unicode(text) else json.dumps(value, indent=indent)


def is_unicode(text: str) -> bool:
    """Whether `text` can be written as UTF-8: half a surrogate pair cannot."""
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_unicode(text: str) -> str:
    """`text` with a question mark for each half of a surrogate pair, which can be named and cannot be written."""
    return text if is_unicode(text) else text.encode("utf-8", "replace").decode("utf-8")


def json_value(line: str, where: str) -> Any:
    """The value that one line of a JSON Lines file holds; UserError naming `where` when it is none."""
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{where}: not valid JSON ({error.msg.removesuffix(' at')} at column {error.colno})",
            "each line must be one complete JSON object; the file may be cut short",
        ) from error
    except RecursionError as error:
        raise UserError(f"{where}: nested too deeply", "each line must be one record") from error
    except ValueError as error:
        raise UserError(f"{where}: holds a number of thousands of digits", "each line must be one record") from error
