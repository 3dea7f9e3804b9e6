"""Turn answers that are the HTML of the chat program's web page into Markdown.

Source: clean_sharegpt.py of FastChat, which converts every message. Here only an answer that begins with a tag and
bears the page's own marks (the classes of its text and code blocks, its buttons) is converted; HTML that was asked
for, `<` in formulas and code, and text with single tags are left alone. So is HTML with declarations or with buttons,
drawings or scripts that are not closed, and a text of which the conversion would be HTML again.
"""

import re

from packtrain.core.conversation import Conversation
from packtrain.data.clean import Stage
from packtrain.data.page_text import SKIPPED, markdown
from packtrain.data.texts import rewritten

STAGE = Stage.MARKUP

_BEGINS_WITH_TAG = re.compile(
    r"\s*(?:\d{1,2} / \d{1,2}\s*)?<(?:div|p|ol|ul|h[1-6]|pre|table|blockquote|span)\b", re.IGNORECASE
)
_MARKS_OF_PAGE = re.compile(
    r"""class=["'][^"'<>]*(?:\bmarkdown[ ]prose\b|\bprose-invert\b|\bhljs\b|!?\bwhitespace-pre(?:-wrap)?\b[^"'<>]*["']
    |\bbg-black[ ]rounded-md\b|\bflex[ ]ml-auto[ ]gap-2\b|\bbreak-words\b|\bresult-streaming\b)""",
    re.VERBOSE,
)


def apply(conversation: Conversation) -> Conversation | str:
    """The conversation with the page's HTML as Markdown."""
    return rewritten(conversation, _converted)


def _converted(text: str) -> str:
    if not _is_page(text):
        return text
    found = markdown(text)
    return text if _is_page(found) else found


def _is_page(text: str) -> bool:
    if "class=" not in text or "<!" in text or not _BEGINS_WITH_TAG.match(text) or not _MARKS_OF_PAGE.search(text):
        return False
    return all(text.count(f"<{tag}") == text.count(f"</{tag}>") for tag in SKIPPED)
