"""What a data format says of its data set: where it comes from, what it allows, how large it should be."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Facts about a published data set; figures are targets to compare with, nothing that the program relies on."""

    dataset: str
    """The name that Open-Instruct's converter gives the set, and the default name here."""
    title: str
    source: str
    """Where its publishers put it."""
    license: str
    """An identifier of `card/licences.yaml`; "" when the data are the user's own."""
    common_shape: bool = False
    """Whether people's own data come in this shape too: then only data of the set's name are taken for the set."""
    citation: str = ""
    """A key of `card/citations.bib`."""
    files: tuple[str, ...] = ()
    """Names of the raw files inside a folder, in the order in which they are read (shell patterns are allowed)."""
    elsewhere: tuple[str, ...] = ()
    """Other places that hold the same file: links rot."""
    rows: int | None = None
    """Conversations after conversion, as the publishers or Table 1 of arXiv 2306.04751 count them."""
    rounds: float | None = None
    """Mean number of question-and-answer pairs, Table 1 of arXiv 2306.04751."""
    prompt_tokens: float | None = None
    """Mean length of a question in LLaMA tokens, Table 1 of arXiv 2306.04751."""
    completion_tokens: float | None = None
    """Mean length of an answer in LLaMA tokens, Table 1 of arXiv 2306.04751."""
