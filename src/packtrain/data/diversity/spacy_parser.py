"""Roots of instructions as Self-Instruct finds them: by spaCy's dependency parse of the first sentence."""

from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points
from itertools import islice
from typing import Protocol

from packtrain.core.extras import imported, installed
from packtrain.data.diversity.parser import NO_ROOT, Root

MODELS = ("en_core_web_md", "en_core_web_lg", "en_core_web_sm", "en_core_web_trf")
"""In the order of preference; the first is the one that Self-Instruct parses with."""
_OBJECTS = ("dobj", "obj")
_MAX_CHARACTERS = 10_000
"""Of an instruction: its first sentence is within, and a parser's memory has limits."""


class ParsedWord(Protocol):
    """What is used of spaCy's `Token`."""

    pos_: str
    dep_: str
    lemma_: str

    @property
    def children(self) -> Iterable["ParsedWord"]:
        """The words that depend on this one, in the order of the sentence."""
        ...


def root_of_tree(word: ParsedWord) -> Root:
    """Verb and object under the root of a parse, by the rule of Self-Instruct's notebook.

    A root that is a verb counts, with the first direct object that is a common noun; otherwise the same is asked of
    the root's first child. So a question with a form of `be` (an auxiliary in spaCy's terms) has no root.
    """
    while word.pos_ != "VERB":
        first = next(iter(word.children), None)
        if first is None:
            return NO_ROOT
        word = first
    objects = (child.lemma_ for child in word.children if child.dep_ in _OBJECTS and child.pos_ == "NOUN")
    found = next(objects, None)
    return Root(word.lemma_.lower(), found.lower() if found else None)


def installed_model() -> str | None:
    """The best of spaCy's English models that are installed; None without one, or without spaCy."""
    if not installed("parser")["spacy"]:
        return None
    models = {entry.name for entry in entry_points(group="spacy_models")}
    return next((model for model in MODELS if model in models), None)


class SpacyParser:
    """Parses with an installed model of spaCy."""

    def __init__(self, model: str) -> None:
        spacy = imported("spacy", "parser", "--parser spacy", "give --parser lexicon")
        self._pipeline = spacy.load(model, exclude=["ner"])
        self._name = f"spacy {model} {self._pipeline.meta['version']}"

    @property
    def name(self) -> str:
        """`spacy`, the model and its version."""
        return self._name

    def roots(self, instructions: Iterable[str]) -> Iterator[Root]:
        """One root per instruction: that of its first sentence."""
        for parsed in self._pipeline.pipe(text.strip()[:_MAX_CHARACTERS] for text in instructions):
            sentence = next(islice(parsed.sents, 1), None)
            yield root_of_tree(sentence.root) if sentence is not None else NO_ROOT
