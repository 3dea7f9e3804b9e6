"""Text that is safe and honest on a terminal: data may hold escape sequences, bidi overrides and invisible characters.

Whatever has no sign of its own, or acts on what stands beside it, is written as ‹U+200B›.
"""

import json
import re
import unicodedata
from functools import lru_cache
from typing import Any

SPACE, NEWLINE, TAB = "·", "⏎", "→"
OPEN, CLOSE = "⟦", "⟧"
"""Around what is learnt."""

_MARKS = frozenset(SPACE + NEWLINE + TAB + OPEN + CLOSE + "‹›")
"""Signs that mean something here: where the data hold them they are escaped, so that they cannot be mistaken."""
_WITHOUT_SIGN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"})
_BLANK_LETTERS = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Letters and marks by their category that fonts draw as nothing: fillers, variation selectors, the Braille blank."""
_JSON_ESCAPED = re.compile(
    "[\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb]"
)


def visible(text: str) -> str:
    """`text` with every character visible: spaces, line feeds and tabs as signs, others without a sign escaped."""
    return "".join(map(_visible, text))


def harmless(text: str) -> str:
    """`text` for a title, a table or a message: as it is, but for what has no sign; spaces stay spaces."""
    return "".join(char if char == " " or char in _MARKS else _visible(char) for char in text)


def escaped(name: str) -> str:
    """`‹name›`: something that stands for characters or bytes, in the style of all escapes."""
    return f"‹{name}›"


def harmless_json(value: Any) -> str:
    """The JSON text of `value` on one line; control, bidi and invisible characters and lone surrogates as `\\uXXXX`.

    Python's `json` escapes U+0000 to U+001F alone; U+009B begins a terminal sequence as well, and a
    lone surrogate cannot be written as UTF-8. The decoded value is the same.
    """
    text = json.dumps(value, ensure_ascii=False)
    return _JSON_ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


@lru_cache(maxsize=4096)
def _visible(char: str) -> str:
    signs = {" ": SPACE, "\n": NEWLINE, "\t": TAB}
    if char in signs:
        return signs[char]
    hidden = unicodedata.category(char) in _WITHOUT_SIGN or _BLANK_LETTERS.match(char)
    return escaped(f"U+{ord(char):04X}") if hidden or char in _MARKS else char
