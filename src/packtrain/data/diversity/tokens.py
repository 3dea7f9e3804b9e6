"""Sentences of an instruction as tokens: words, numbers, quotations and marks."""

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["word", "number", "quote", "mark"]

_MAX_CHARACTERS = 2_000
"""Of an instruction: what it asks for is said before the material that it brings along."""
_TOKEN = re.compile(
    r"""
    (?P<quote> "[^"\n]{1,300}" | “[^”\n]{1,300}” | ‘[^’\n]{1,300}’ | `[^`\n]{1,300}` | (?<!\w)'[^'\n]{1,300}'(?!\w) )
  | (?P<number> \#?[$€£]?\d+(?:[.,:]\d+)*(?:st|nd|rd|th|%)?(?![\w-]) (?:[-–]\d+(?![\w-]))? )
  | (?P<word> [^\W_][\w]*(?:['’/&.-][^\W_]\w*)*(?:['’](?=\s))?  | & )
  | (?P<mark> [.!?]+(?=\s|$) | \n+ | \S )
    """,
    re.VERBOSE,
)
_PARENTHESES = re.compile(r"\s*\([^()\n]{0,200}\)")
_THANK_YOU = re.compile(r"\b(thank) you (?=\w)", re.IGNORECASE)
_ACRONYMS = ("US", "IT")
"""Those that would be pronouns in small letters."""
_KINDS: dict[str, Kind] = {"word": "word", "number": "number", "quote": "quote", "mark": "mark"}
_END = re.compile(r"[.!?]+|\n+")


@dataclass(frozen=True, slots=True)
class Token:
    """A word, number, quotation or mark."""

    text: str
    lower: str
    """In small letters, with straight apostrophes; `US` and `IT` stay as they are."""
    kind: Kind

    @property
    def titled(self) -> bool:
        """Whether it begins with a capital letter and is no acronym: `Paris`, but not `HTML`."""
        return self.text[:1].isupper() and not self.text[1:2].isupper() and len(self.text) > 1


def sentences(text: str) -> list[list[Token]]:
    """The tokens of each sentence, the mark at its end left out; what stands in parentheses is passed over."""
    found: list[list[Token]] = [[]]
    shortened = _PARENTHESES.sub("", text[:_MAX_CHARACTERS]) or text[:_MAX_CHARACTERS]
    shortened = _THANK_YOU.sub(r"\1-you ", shortened)
    for match in _TOKEN.finditer(shortened):
        kind, written = match.lastgroup, match[0]
        if kind == "mark" and _END.fullmatch(written):
            found.append([])
        elif kind is not None:
            lower = written if written in _ACRONYMS else written.lower().replace("’", "'")
            found[-1].append(Token(written, lower, _KINDS[kind]))
    return [_without_titles(sentence) for sentence in found if sentence]


def word_at(tokens: list[Token], place: int) -> str:
    """The word at `place` in small letters; "" outside the sentence."""
    return tokens[place].lower if 0 <= place < len(tokens) else ""


def _without_titles(sentence: list[Token]) -> list[Token]:
    """In small letters where nearly all words begin with a capital one: there it says nothing about names."""
    words = [token for token in sentence if token.kind == "word"]
    if len(words) < 3 or sum(token.text[0].isupper() for token in words) <= 0.7 * len(words):
        return sentence
    return [Token(token.lower, token.lower, token.kind) if token.kind == "word" else token for token in sentence]
