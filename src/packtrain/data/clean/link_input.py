"""Drop conversations whose input is only a link or a placeholder for something attached: `<Picture Attached>`.

Source: AlpacaDataCleaned (github.com/gururise/AlpacaDataCleaned): a model that cannot open links learns to invent what
is behind them. Kept are questions about the link itself or about code, and answers that say that it cannot be opened.
A placeholder that describes the thing in three words or more (`[photo of a person walking in the woods]`) is kept too.
"""

import re

from packtrain.core.conversation import Conversation
from packtrain.data.clean import Stage
from packtrain.data.texts import asks_for_code, declines, has_code, rounds

STAGE = Stage.FAULT

_LABEL = r"(?:\w+(?:[ ]\w+)?[ ]?:\s*)?"
_ONLY_LINK = re.compile(
    rf"""\W*{_LABEL}(?:https?://\S+|www\.\S+)\W*
    | \s*{_LABEL}!\[[^\]\n]*\]\([^)\s]*\)\s* | \s*{_LABEL}<img\s[^<>]*>\s* | \s*<image:[^<>]*>\s*""",
    re.IGNORECASE | re.VERBOSE,
)
_ONLY_BRACKETS = re.compile(rf"(?:\s*{_LABEL}(?:<[^<>\n=]{{2,60}}>|\[[^][,\n=]{{2,60}}\]|\([^()\n=]{{2,60}}\)))+\s*")
_ATTACHMENT = re.compile(
    r"\b(?:image|picture|photo|photograph|figure|audio|video|clip|recording|sound|link|url|attached|attachment|attach"
    r"|file|insert|document|article|dataset|table|excel|spreadsheet|pdf|screenshot)s?\b",
    re.IGNORECASE,
)
_DESCRIPTION = re.compile(r"(?:\bof\b|\babout\b|:)(.*)", re.IGNORECASE | re.DOTALL)
_EMPTY_WORDS = {"a", "an", "the", "of", "in", "at", "on", "during", "with", "from", "to", "and", "here", "two", "some"}
_ABOUT_LINK = re.compile(
    r"\b(?:URLs?|URI|links?|domain|hostname|protocol|address|valid|shorten|encode|decode|hyperlink|string"
    r"|home ?page)\b",
    re.I,
)
_READ = re.compile(
    r"\b(?:summar\w+|article|painting|photo\w*|picture|image|video|song|music|content|review|story|essay|blog|poem)\b",
    re.I,
)


def apply(conversation: Conversation) -> Conversation | str:
    """The reason, when what is asked about is behind a link or not there."""
    for _, question, context, answer in rounds(conversation):
        if not context.strip() or len(context) > 400 or asks_for_code(question) or has_code(answer) or declines(answer):
            continue
        if _ONLY_LINK.fullmatch(context) and (_READ.search(question) or not _ABOUT_LINK.search(question)):
            return "the input is only a link"
        if _is_attachment(context):
            return "the input is a placeholder for something attached"
    return conversation


def _is_attachment(context: str) -> bool:
    if not (_ONLY_BRACKETS.fullmatch(context) and _ATTACHMENT.search(context)):
        return False
    described = _DESCRIPTION.search(context)
    words = set(re.findall(r"\w+", described[1].casefold())) - _EMPTY_WORDS if described else set()
    return len(words) < 3
