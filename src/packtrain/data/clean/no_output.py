"""Drop conversations with an answer that only says that there is none: `<nooutput>`, `N/A`, `<output image>` ...

Source: AlpacaDataCleaned (github.com/gururise/AlpacaDataCleaned). Bare words may be right answers: `N/A` counts only
when the question does not name it, `nan` and `null` only when neither the question nor its input does and no code is
asked for, `None` only in pointed brackets. A thing in brackets counts when it is a picture, a sound or the like.
"""

import re

from packtrain.core.conversation import Conversation
from packtrain.data.clean import Stage
from packtrain.data.texts import asks_for_code, rounds

STAGE = Stage.FAULT

_LONGEST_CHARACTERS = 120
_NOTHING = re.compile(r"no[\s_-]*(?:output|input)|n/a|not applicable")
_MAYBE_NOTHING = re.compile(r"nan|null")
_NOTHING_IN_BRACKETS = re.compile(r"none|na|empty|blank|output")
_AROUND = " \t\r\n<>[]\"'`“”.:\\"
_THING = re.compile(r"(?:<[^<>/=\"]{3,110}>|\[[^][,=]{3,110}\]|\s)+")
_MEDIUM = re.compile(
    r"\b(?:images?|pictures?|photos?|sketch|drawing|logos?|audio|videos?|music|musical|songs?|posters?|graphic|charts?"
    r"|diagrams?|visual)\b|^\W*no ?output\b",
    re.IGNORECASE,
)


def apply(conversation: Conversation) -> Conversation | str:
    """The reason, when an answer is a placeholder."""
    for _, question, context, answer in rounds(conversation):
        if len(answer) <= _LONGEST_CHARACTERS and is_placeholder(answer, question, context):
            return "an answer is a placeholder"
    return conversation


def is_placeholder(answer: str, question: str, context: str = "") -> bool:
    """Whether an answer to a question only stands for one."""
    words = answer.strip(_AROUND).casefold()
    in_brackets = answer.strip()[:1] in ("<", "[")
    if _NOTHING.fullmatch(words):
        return in_brackets or words not in question.casefold()
    if _MAYBE_NOTHING.fullmatch(words):
        return words not in f"{question}\n{context}".casefold() and not asks_for_code(question)
    if in_brackets and _NOTHING_IN_BRACKETS.fullmatch(words):
        return answer.strip().startswith("<")
    return bool(_THING.fullmatch(answer) and _MEDIUM.search(answer))
