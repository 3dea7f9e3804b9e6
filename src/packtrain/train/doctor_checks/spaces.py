"""Finds a tokenizer.json that does not split runs of spaces as the SentencePiece model beside it.

transformers of 2026 converts LLaMA's `tokenizer.model` so that `Hello  world` and every indented line of code get other
tokens than the base was trained on.
"""

from collections.abc import Iterator

from packtrain.train.doctor_checks import Finding, warning
from packtrain.train.examined import Examined

NEEDS = ("tokenizer", "sentencepiece_file")
BEFORE_TRAINING = True
FINE = "runs of spaces are split as by SentencePiece"
TEXTS = ("Hello  world", "if x:\n    return  1\n\telse:", "a" + " " * 16 + "b", "one   two    three", "3.14 * 2 = 6.28")


def check(examined: Examined) -> Iterator[Finding]:
    """At most one finding: the first text that the two split differently."""
    tokenizer, model = examined.tokenizer, examined.sentencepiece_file
    if tokenizer is None or model is None:
        return
    from sentencepiece import SentencePieceProcessor

    try:
        reference = SentencePieceProcessor(model_file=str(model))
    except (OSError, RuntimeError):  # other tokenizers (tiktoken) use this name, too
        return
    around = len(tokenizer.ids(""))
    for text in TEXTS:
        ours, theirs = tokenizer.ids(text)[around:], list(reference.encode(text))
        if ours != theirs:
            what = f"{text!r} becomes {ours} instead of SentencePiece's {theirs}"
            mend = "take tokenizer.json away: packtrain then reads tokenizer.model itself, as the base was trained"
            yield warning(what, str(examined.folder / "tokenizer.json"), mend)
            return
