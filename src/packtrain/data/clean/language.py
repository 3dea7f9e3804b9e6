"""Keep conversations in the languages asked for, as in `language=en` or `language=en+de`.

Source: optional_clean.py of FastChat. The language is that of all texts together without their code blocks, as the
library py3langid sees it (139 languages, by their two-letter codes of ISO 639-1 where there are any). A conversation is
dropped only when 60 letters or more are in another language with a probability of 0.95 or more.
"""

import re
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from packtrain.core.conversation import Conversation
from packtrain.core.extras import imported
from packtrain.core.folder import unknown
from packtrain.data.clean import Stage
from packtrain.data.texts import texts

STAGE = Stage.CHOICE

FEWEST_LETTERS = 60
SURE = 0.95
_LONGEST_CHARACTERS = 4000
_CODE_BLOCK = re.compile(r"```.*?(?:```|\Z)|https?://\S+", re.DOTALL)
_NOT_LETTERS = re.compile(r"[\W\d_]+")


def choose(argument: str) -> Callable[[Conversation], Conversation | str]:
    """The rule for languages joined by `+`; UserError for an unknown one and when py3langid is not installed."""
    languages = frozenset(argument.split("+"))
    known = sorted(map(str, _identifier().labels))
    for language in languages:
        if language not in known:
            raise unknown("language", language, known)
    return partial(_apply, languages=languages)


def _apply(conversation: Conversation, languages: frozenset[str]) -> Conversation | str:
    text = _CODE_BLOCK.sub(" ", "\n".join(text for _, text, _ in texts(conversation)))[:_LONGEST_CHARACTERS]
    if len(_NOT_LETTERS.sub("", text)) < FEWEST_LETTERS:
        return conversation
    language, probability = _identifier().classify(text.encode("utf-8", "ignore"))
    return f"in another language: {language}" if language not in languages and probability >= SURE else conversation


@cache
def _identifier() -> Any:
    langid = imported("py3langid.langid", "language", "the cleaning rule language")
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
