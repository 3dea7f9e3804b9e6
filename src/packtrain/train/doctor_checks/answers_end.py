"""Finds templates whose answers are not learnt, or are learnt without a token that ends them.

A model that is never shown the end of an answer never stops: no `</s>` in the text (Chinese-LLaMA-Alpaca#483), or one
outside the marks, or one that the tokenizer does not read as the token (LLaMA's of transformers 4.31, whose special
tokens were `normalized`, did not behind a word).
"""

from collections.abc import Iterator

import numpy as np

from packtrain.core.conversation import Conversation, Message
from packtrain.prompts.encode import IGNORED, encode
from packtrain.prompts.own_template import OTHER, OwnTemplate
from packtrain.prompts.stop_tokens import answer_end, stop_ids
from packtrain.train.doctor_checks import Finding, error, fine, warning
from packtrain.train.examined import Examined

NEEDS = ("tokenizer", "template")
BEFORE_TRAINING = True
FINE = "the end of an answer is learnt"
LAST_TOKENS = 3
"""Where the end is looked for: white space that is learnt behind it takes up to two tokens (SentencePiece)."""
_ROUND = Conversation("doctor", "0", (Message("user", "Name one."), Message("assistant", "Red and blue")))


def check(examined: Examined) -> Iterator[Finding]:
    """At most one finding."""
    tokenizer, template = examined.tokenizer, examined.template
    if tokenizer is None or template is None:
        return
    where = f"template {template.name}"
    if isinstance(template, OwnTemplate) and template.problem:
        yield warning(template.problem, where, OTHER)
        return
    encoded = encode([_ROUND], template, tokenizer, 1 << 20)
    if not encoded.examples:
        if "nothing to learn" not in next(iter(encoded.dropped), ""):
            return  # a format that cannot show one question and one answer
        if examined.recipe is None:
            yield fine("the chat template marks nothing to learn: it is for use, not for training")
        else:
            mend = "put {% generation %} ... {% endgeneration %} around what the assistant says, its end included"
            yield error("the template marks nothing to learn", where, mend)
        return
    labels = np.asarray(encoded.examples[0].labels)
    last = labels[labels != IGNORED][-LAST_TOKENS:].tolist()
    if {*last} & {*stop_ids(tokenizer, template)}:
        return
    end = answer_end(tokenizer, template)
    if end is None:
        ending = tokenizer.decode(last, skip_special=False)
        what = f"what is learnt of an answer ends by {ending!r} and not by a stop token"
        yield error(what, where, "write eos_token before {% endgeneration %}")
    else:
        what = f"the tokenizer does not read {end} behind a word as its token: the end of an answer is never learnt"
        yield error(what, str(examined.folder), f'set "normalized" of {end} to false in tokenizer.json')
