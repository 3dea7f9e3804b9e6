"""Drop conversations that name another assistant, its model or its maker.

Source: the filter of Tulu 2 (arXiv 2311.10702) in Open-Instruct, whose list of names is kept; there they are searched
as parts of words in any case, so that palm trees, bards and Claude Monet are dropped too. Here OpenAI, ChatGPT,
GPT-3, GPT-3.5, GPT-4, Bing Chat, LAION and OpenAssistant count as whole words wherever they stand. The others are
ordinary words or names: Bard, Palm and Claude need a word about language models or their maker beside them or a
version behind them, Anthropic the place of a proper noun, Open Assistant its capitals.
"""

import re

from packtrain.core.conversation import Conversation
from packtrain.data.clean import Stage
from packtrain.data.texts import texts

STAGE = Stage.CHOICE

_PARTS = ("gpt", "openai", "open ai", "bard", "palm", "claude", "anthropic", "laion", "assistant", "bing")
"""One of these is in every text that the patterns below match, lower case; looking for them first saves the time."""
_CERTAIN = re.compile(
    r"""\b(?: open[ ]?ai | chat[ -]?gpt | gpt[ -]?(?:3\.5|3|4)(?![.\d]*\d) | bing[ -]?chat | laion | openassistant)
        (?![^\W\d_]) | (?-i:\bOpen[ -]Assistant\b|\bPaLM\b)""",
    re.IGNORECASE | re.VERBOSE,
)
_MODEL = (
    r"(?:chat[ ]?bots?|language[ ]models?|LLMs?|AI[ ](?:assistant|model|chat|tool|system)s?|virtual[ ]assistants?"
    r"|Google[ ]AI)"
)
_NEEDS_COMPANY = re.compile(
    rf"""\bGoogle(?:'s|’s)?[ ]Bard\b | \bBard[ ](?:AI|API)\b | \bBard\b[^.\n]{{0,40}}\b{_MODEL}
    | \b{_MODEL}[^.\n]{{0,25}}\bBard\b
    | \bP(?:ALM|alm)\b[^.\n]{{0,40}}\blanguage[ ]model | \blanguage[ ]models?[^.\n]{{0,25}}\bP(?:ALM|alm)\b
    | \bClaude(?:[ -](?:v?[1-4](?:\.\d)?\b(?![ ]?[-–/%\d])|Instant\b|Opus\b|Sonnet\b|Haiku\b|AI\b))
    | \bClaude\b[^.\n]{{0,40}}\b{_MODEL} | \b{_MODEL}[^.\n]{{0,25}}\bClaude\b
    | (?:\b(?:by|from|at|with|and|like|of|called|named)\s)Anthropic\b(?!\s[a-z]*(?:principle|reasoning|argument|bias))
    | \bAnthropic(?:'s|’s|,[ ]Inc|[ ](?:AI|API|Inc|PBC|is|was|has|and|trained|created|developed|made
        |built|released)\b)""",
    re.VERBOSE,
)
SIGNS = (_CERTAIN, _NEEDS_COMPANY)


def apply(conversation: Conversation) -> Conversation | str:
    """The reason, when a text holds one of the names."""
    for _, text, _ in texts(conversation):
        lower = text.lower()
        if any(part in lower for part in _PARTS) and (_CERTAIN.search(text) or _NEEDS_COMPANY.search(text)):
            return "names another assistant"
    return conversation
