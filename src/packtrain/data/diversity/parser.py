"""What an instruction asks for: its root verb and the noun that is the direct object; and who can tell them.

The figure that the Self-Instruct paper (arXiv 2212.10560, section 3.2) and Stanford Alpaca's README draw counts these
pairs. Two parsers find them: spaCy, as the paper does it, where a model of English is installed, and a shallow parser
of our own that needs nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from packtrain.core.errors import UserError
from packtrain.core.extras import need

PARSERS = ("auto", "spacy", "lexicon")
_OTHERWISE = "give --parser lexicon"


@dataclass(frozen=True, slots=True)
class Root:
    """What one instruction asks for, in base forms and small letters: `write`, `story`."""

    verb: str | None
    object: str | None
    """Head of the direct object; a common noun, as in the paper: names, pronouns and clauses are none."""


NO_ROOT = Root(None, None)


class InstructionParser(Protocol):
    """Finds the roots of instructions."""

    @property
    def name(self) -> str:
        """What reports call the parser: figures of different parsers are not comparable to the last row."""
        ...

    def roots(self, instructions: Iterable[str]) -> Iterator[Root]:
        """One root per instruction, in their order."""
        ...


def open_parser(name: str = "auto") -> InstructionParser:
    """The parser called `name`: `spacy`, `lexicon`, or `auto` for spaCy where one of its English models is installed.

    UserError for an unknown name, and for `spacy` where it or its model is not installed.
    """
    from packtrain.data.diversity.lexicon_parser import LexiconParser
    from packtrain.data.diversity.spacy_parser import MODELS, SpacyParser, installed_model

    if name not in PARSERS:
        raise UserError(f"no parser is called {name}", f"--parser is one of {', '.join(PARSERS)}")
    model = installed_model() if name != "lexicon" else None
    if model is not None:
        return SpacyParser(model)
    if name == "spacy":
        need("parser", "--parser spacy", _OTHERWISE)
        raise UserError(
            "spaCy is installed without a model of English", f"python -m spacy download {MODELS[0]}, or {_OTHERWISE}"
        )
    return LexiconParser()
