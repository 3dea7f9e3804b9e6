"""Finds sums that are wrong in answers: `2 + 2 = 5`."""

import re
from fractions import Fraction
from itertools import pairwise

from packtrain.core.conversation import Conversation
from packtrain.data.lint_rules import Place, Severity
from packtrain.data.texts import answers, has_code

SEVERITY: Severity = "error"
MEND = "correct the sum and what follows from it, or drop the record"

_NUMBER = r"-?\$?(?:\d{1,3}(?:,\d{3}){1,4}|\d{1,15})(?:\.\d{1,9})?"
_OPERATOR = r"(?:[ ]?[-+*/×÷−–][ ]?|[ ]x[ ])"
_SIDE = rf"{_NUMBER}(?:{_OPERATOR}{_NUMBER}){{0,12}}"
_STATEMENT = re.compile(rf"(?<![\d.,]){_SIDE}(?:[ ]?=[ ]?{_SIDE})+")
_TOKEN = re.compile(rf"(?<=[\d ])[-+*/×÷−–x](?=[ $\d-])|{_NUMBER}")
_BEFORE = re.compile(r"\w\Z|\b\w\s+\Z|[)\]}^=+*/×÷−–:%√|<>≠≈!_\\-]\s*\Z|[.,]\Z|\d[.,]?\s*\Z")
_AFTER = re.compile(
    r"[\w^²³°!(/%:]|\.\d|,\d|\.{3}|\s*(?:[-+*/×÷−–=^%(<>≠≈\[{\\…|]|x\b|mod\b|R\d|r\d|\d|remainder|percent|with\s+a\s+remainder|and\s+a\s+remainder|repeating|recurring)",
    re.IGNORECASE,
)
_NOT_MEANT = re.compile(
    r"\b(?:not|incorrect|wrong|false|error|mistake|instead of|binary|base|hex\w*|modul\w*|mod|octal|clock)\b", re.I
)


def find(conversation: Conversation) -> Place | None:
    """The first statement of numbers, `+ - * / x` and `=` whose sides differ by more than rounding explains.

    Statements within longer formulas, with units in between, in code, with dates and remainders are left alone.
    """
    for number, answer in answers(conversation):
        if "=" not in answer or has_code(answer) or _NOT_MEANT.search(answer):
            continue
        for found in _STATEMENT.finditer(answer):
            if _BEFORE.search(answer[max(found.start() - 8, 0) : found.start()]) or _AFTER.match(answer, found.end()):
                continue
            if _is_wrong(found[0]):
                return Place(number, found.start(), found.end())
    return None


def _is_wrong(statement: str) -> bool:
    """Whether two neighbouring sides differ, one of them a calculation."""
    sides = [side.strip() for side in statement.split("=")]
    for left, right in pairwise(sides):
        values = _value(left), _value(right)
        if values[0] is None or values[1] is None or left == right:
            continue
        if len(_TOKEN.findall(left)) == len(_TOKEN.findall(right)) == 1:
            continue
        slack = max(_slack(left), _slack(right))
        if abs(values[0] - values[1]) > slack:
            return True
    return False


def _slack(side: str) -> Fraction:
    """What rounding or cutting in the last place given may change: nothing for whole results of whole numbers."""
    decimals = [len(number.partition(".")[2]) for number in re.findall(_NUMBER, side)]
    divides = any(sign in side for sign in "/÷")
    if not any(decimals) and not divides:
        return Fraction(0)
    numbers = [abs(_parsed(number)) for number in re.findall(_NUMBER, side)]
    size = max([*numbers, Fraction(1)])
    return max(Fraction(1, 10 ** min(filter(None, decimals), default=0)), size / 200)


def _parsed(number: str) -> Fraction:
    return Fraction(number.replace("$", "").replace(",", ""))


def _value(side: str) -> Fraction | None:
    """The value of numbers and operators, products before sums; None when it cannot be told."""
    tokens = _TOKEN.findall(side)
    if len(tokens) % 2 == 0:
        return None
    terms = [_parsed(tokens[0])]
    for operator, number in zip(tokens[1::2], tokens[2::2], strict=True):
        if operator not in "-+*/×÷−–x" or not number[-1].isdigit():
            return None
        value = _parsed(number)
        if operator in "*×x":
            terms[-1] *= value
        elif operator in "/÷":
            if not value:
                return None
            terms[-1] /= value
        else:
            terms.append(value if operator == "+" else -value)
    return sum(terms, Fraction(0))
