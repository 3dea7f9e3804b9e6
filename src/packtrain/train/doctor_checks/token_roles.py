"""Finds an end-of-sequence that is the unknown token, and a padding token that has another role, too.

With the ids of the decapoda conversions trainers of 2023 taught `<unk>` as the end (alpaca-lora#279). Where labels are
masked by the padding id, padding with the end-of-sequence takes the end out of the loss: the model never stops
(transformers#23530, trl#976). Here labels come from places in the text, so that only other programs suffer.
"""

from collections.abc import Iterator

from packtrain.train.doctor_checks import Finding, error, fine, warning
from packtrain.train.examined import TOKENIZER_CONFIG, Examined

NEEDS = ("tokenizer",)
BEFORE_TRAINING = True
FINE = "no special token has the role of another"
UNKNOWN = ("<unk>", "[UNK]", "<|unk|>", "<UNK>", "<|unknown|>")
"""What vocabularies call the token for what they cannot write."""


def check(examined: Examined) -> Iterator[Finding]:
    """An error for an unknown token as the end; the rest is told only where the folder is used as it is."""
    tokenizer, where = examined.tokenizer, str(examined.folder / TOKENIZER_CONFIG)
    if tokenizer is None:
        return
    if tokenizer.eos_token in UNKNOWN:
        what = f"the end-of-sequence token is {tokenizer.eos_token}, the token for unknown text"
        yield error(what, where, 'declare the token that ends a text as "eos_token", for LLaMA </s>')
    if tokenizer.eos_token == tokenizer.bos_token:
        yield fine(f"{tokenizer.eos_token} both begins and ends texts, as in OPT, GPT-2 and Pythia")
    if examined.recipe is not None or tokenizer.pad_token is None:
        return
    others = {"end-of-sequence": tokenizer.eos_token, "unknown": tokenizer.unk_token, "beginning": tokenizer.bos_token}
    same = [role for role, token in others.items() if token == tokenizer.pad_token]
    if same:
        what = f"the padding token {tokenizer.pad_token} is the {' and '.join(same)} token, too"
        mend = "nothing for packtrain; programs that mask labels by the padding id need a padding token of its own"
        yield warning(what, where, mend)
