"""Finds text that was decoded as the wrong encoding: `â€™` for an apostrophe, `Ã©` for é, the replacement character."""

import re

from packtrain.core.conversation import Conversation
from packtrain.data.lint_rules import Place, Severity
from packtrain.data.texts import texts

SEVERITY: Severity = "warning"
MEND = "read the source as UTF-8; for a single file the library ftfy undoes it"

_WINDOWS_1252 = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
"""What the bytes 0x80 to 0x9f are in Windows-1252."""
_SUSPECT = re.compile(f"[\u00c2-\u00f4][\u0080-\u00bf{_WINDOWS_1252}]{{1,3}}|\ufffd")


def find(conversation: Conversation) -> Place | None:
    """The first characters that are UTF-8 when written as Windows-1252, or that stand for an undecodable byte."""
    for number, text, in_context in texts(conversation):
        if text.isascii():
            continue
        for found in _SUSPECT.finditer(text):
            if found[0] == "\ufffd" or _is_utf8(found[0]):
                return Place(number, found.start(), found.end(), in_context=in_context)
    return None


def _is_utf8(characters: str) -> bool:
    data = bytearray()
    for character in characters:
        if ord(character) < 0x100:
            data.append(ord(character))
        else:
            data += character.encode("cp1252", "replace")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > 1
    return True
