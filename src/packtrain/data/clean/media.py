"""Drop requests to see, hear, draw or record something, which a text model can only pretend to.

Source: AlpacaDataCleaned (github.com/gururise/AlpacaDataCleaned). Dropped are questions about "the following photo"
and the like that bring nothing along, requests to draw, photograph or record or for an image, a video or an animation,
and answers that consist of an invented image link. Kept are logos, posters, songs and charts, which words can lay out,
all that asks for code, and answers that say that it cannot be done.
"""

import re

from packtrain.core.conversation import Conversation
from packtrain.data.clean import Stage
from packtrain.data.clean.placeholder_input import is_placeholder
from packtrain.data.texts import asks_for_code, declines, has_code, rounds

STAGE = Stage.FAULT

_PICTURE = r"(?:image|picture|photo|photograph|drawing|sketch|illustration|video|animation|gif|audio|recording)"
_SHOWN = (
    rf"(?:{_PICTURE}|painting|cartoon|comic|screenshot|logo|graph|diagram|clip|(?:(?:pie|bar)[ ])?chart|bar[ ]graph)"
)
_MISSING = re.compile(
    rf"""\b(?:(?:this|the[ ](?:following|given|attached|provided|above|below))[ ](?:\w+[ ]){{0,2}}?{_SHOWN}s?\b
    |{_SHOWN}s?[ ](?:below|above|attached)\b)
    (?![ ](?:of|by|titled|called|gallery|album|game|editor|title|caption|classif\w*|database)\b)""",
    re.IGNORECASE | re.VERBOSE,
)
_BROUGHT_ALONG = re.compile(r":\s*\S|\n\s*\S|[\"“”'‘’`|]\w")
_ABSTRACT = (
    r"(?:conclusions?|inferences?|comparisons?|parallels?|analog(?:y|ies)|distinctions?|lessons?|line|attention"
    r"|connections?|diagram|chart|graph|table|map|plan|outline|timeline|flow\w*|sentence|profile|character)"
)
_REQUEST = re.compile(
    rf"""\s*(?:please[ ]|can[ ]you[ ]|could[ ]you[ ]|i[ ]want[ ]you[ ]to[ ])?(?:
      (?:draw|sketch|photograph|film)[ ](?:me[ ])?(?:a|an|the|your|some|two|three)[ ]
        (?!(?:\w+[ ]){{0,6}}{_ABSTRACT}\b)
      | paint[ ](?:me[ ])?(?:a|an|the)[ ](?!(?:\w+[ ])?(?:picture|portrait|image|scene)\b)
      | record[ ](?:me[ ])?(?:a|an|your)[ ](?:[\w-]+[ ]){{0,3}}
        (?:melody|song|video|audio|sound|clip|message[ ]in|podcast)\b
      | (?:create|generate|make|produce|render|take|record|shoot)[ ](?:me[ ])?(?:a|an|some|two|three)[ ]
        (?:(?!(?:for|about|of|to|from|with)\b)[\w-]+[ ]){{0,3}}?{_PICTURE}s?
        (?=[.!?]*\s*\Z|[ ](?:of|showing|depicting|that[ ](?:shows|depicts|illustrates)|which|with|in[ ]which)\b)
      | (?:edit|crop|colori[sz]e|enhance|retouch|rotate|resize|brighten)[ ](?:this|the)[ ]
        (?:\w+[ ]){{0,5}}?{_PICTURE}s?\b
      | (?:edit|enhance)[ ]the[ ](?:sound|audio)\b
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_IN_WORDS = re.compile(
    r"\b(?:biographical|describ\w+|descripti\w+|caption|script|storyboard|titles?|word picture|list|ideas?|names?"
    r"|outline|sentence|text|prompts?|character)\b",
    re.IGNORECASE,
)
_IMAGE_LINK = re.compile(r"!\[[^\]\n]{0,300}\]\(\s{0,9}<?https?://[^)\n]{0,2000}\)")
_ASKS_FOR_LINK = re.compile(r"\b(?:URLs?|links?|unsplash|markdown|embed\w*)\b|!\[", re.IGNORECASE)
_REST_CHARACTERS = 200


def apply(conversation: Conversation) -> Conversation | str:
    """The reason, when a question asks for what is not text."""
    for _, question, context, answer in rounds(conversation):
        reason = _reason(question, context, answer)
        if reason and not (asks_for_code(question) or has_code(answer) or declines(answer)):
            return reason
    return conversation


def _reason(question: str, context: str, answer: str) -> str | None:
    if _lacks_what_it_shows(question, context):
        return "asks about a picture or a recording that is not there"
    if _REQUEST.match(question) and not _IN_WORDS.search(question):
        return "asks for a picture or a recording"
    is_link = "![" in answer and len(_IMAGE_LINK.sub("", answer).strip()) < min(_REST_CHARACTERS, len(answer.strip()))
    if is_link and not _ASKS_FOR_LINK.search(f"{question}\n{context}"):
        return "the answer is a link to an image"
    return None


def _lacks_what_it_shows(question: str, context: str) -> bool:
    if context.strip() and not is_placeholder(context):
        return False
    found = _MISSING.search(question)
    return bool(found) and not _BROUGHT_ALONG.search(question)
