"""Finds answers in another script than the question's, although no other language was asked for."""

import re

from packtrain.core.conversation import Conversation
from packtrain.data.lint_rules import Place, Severity
from packtrain.data.texts import rounds

SEVERITY: Severity = "warning"
MEND = "drop the record, unless the answer is right in its language"

FEWEST_LETTERS = 40
MOST_SHARE = 0.1
LEAST_SHARE = 0.6
_OTHER = re.compile(r"[\u0370-\u1fff\u2c00-\ua7ff\uac00-\ud7ff\uf900-\ufdff\ufe70-\ufeff]")
_LETTER = re.compile(r"[^\W\d_]")
_ASKED_FOR = re.compile(
    r"translat|languag|\b(?:in|into|to|write|say|speak)\s+(?:[a-z]+\s)?(?:chinese|mandarin|japanese|korean|russian|ukrainian|greek|arabic|"
    r"hebrew|hindi|bengali|thai|persian|urdu|tamil|telugu|bulgarian|serbian|georgian|armenian|kanji|hiragana|cyrillic|english)"
    r"|chinese|japanese|korean|russian|arabic|hebrew|greek|hindi|thai|alphabet|script|英|translate|翻译|翻訳|перевед",
    re.IGNORECASE,
)


def find(conversation: Conversation) -> Place | None:
    """The first answer mostly in letters of which the question, with all before it, has next to none."""
    asked_for = False
    for number, question, context, answer in rounds(conversation):
        asked = f"{question}\n{context}"
        asked_for = asked_for or bool(_ASKED_FOR.search(asked))
        if asked_for:
            return None
        if asked.isascii() and answer.isascii():
            continue
        in_question, in_answer = _share(asked), _share(answer)
        if in_question is None or in_answer is None:
            continue
        if min(in_question, in_answer) <= MOST_SHARE and abs(in_question - in_answer) >= LEAST_SHARE:
            return Place(number + 1, 0, len(answer))
    return None


def _share(text: str) -> float | None:
    """The share of letters that are not of the Latin script; None for too few letters."""
    letters = len(_LETTER.findall(text))
    return len(_OTHER.findall(text)) / letters if letters >= FEWEST_LETTERS else None
