"""Finds special tokens that are not declared, declared as empty text, or not in the vocabulary.

The conversions of LLaMA of early 2023 declared bos, eos and unk as "", which the tests for None of the trainers of that
time took for a token (stanford_alpaca#126); Galactica declares none at all (galai#77).
"""

import json
from collections.abc import Iterator

from packtrain.train.doctor_checks import Finding, error, fine, warning
from packtrain.train.examined import ROLES, TOKENIZER_CONFIG, Examined

NEEDS = ("tokenizer",)
BEFORE_TRAINING = False
FINE = "the special tokens are declared and in the vocabulary"


def check(examined: Examined) -> Iterator[Finding]:
    """One finding for each role that is not as it should be."""
    tokenizer, where = examined.tokenizer, str(examined.folder / TOKENIZER_CONFIG)
    if tokenizer is None:
        return
    taken = {"eos_token": tokenizer.eos_token, "pad_token": tokenizer.pad_token}
    for role in ROLES:
        text = examined.declared(role)
        instead = f"; {taken[role]} is used" if taken.get(role) else ""
        entry = f"{json.dumps(role)}: {json.dumps(taken.get(role) or '...')}"
        if text == "":
            yield warning(f"{role} is declared as empty text{instead}", where, f"write {entry}, or take the line out")
        elif text is not None and tokenizer.backend.token_to_id(text) is None:
            what = f"{role} is declared as {text!r}, which is not in the vocabulary{instead}"
            mend = "declare a token that is in the vocabulary; other programs add this one behind the token table"
            yield warning(what, where, mend) if examined.recipe else error(what, where, mend)
        elif text is None and role == "eos_token":
            what = f"no end-of-sequence token is declared{instead}"
            yield warning(what, where, f"write {entry}: other programs would have none, and the model never stop")
        elif text is None and role == "pad_token":
            yield fine(f"no padding token is declared{instead or ': training adds one'}")
