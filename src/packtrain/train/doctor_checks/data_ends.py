"""Finds training data of which the length limit takes the ends away.

A conversation that is cut at `train.max_length_tokens` loses the end of its last answer, and with it the
end-of-sequence; where that happens to many, the model learns to run on.
"""

from collections.abc import Iterator

import numpy as np

from packtrain.prompts.encode import IGNORED
from packtrain.prompts.stop_tokens import stop_ids
from packtrain.train.doctor_checks import Finding, error, fine, warning
from packtrain.train.doctor_checks.answers_end import LAST_TOKENS
from packtrain.train.examined import Examined

NEEDS = ("tokenizer", "encoded")
BEFORE_TRAINING = True
FINE = "every conversation ends by a stop token"
MOST_LOOKED_AT = 5_000
"""Conversations; of longer files as many, evenly spread."""
MOST_LOST_SHARE = 0.05
"""From here on a warning: the data sets of the cards lose the ends of one in a hundred at most, ShareGPT's of a few."""


def check(examined: Examined) -> Iterator[Finding]:
    """One finding with the figures."""
    tokenizer, encoded = examined.tokenizer, examined.encoded
    if tokenizer is None or encoded is None or not len(encoded):
        return
    stops = stop_ids(tokenizer, examined.template)
    looked_at = min(len(encoded), MOST_LOOKED_AT)
    lost = 0
    for number in range(looked_at):
        labels = np.asarray(encoded[number * len(encoded) // looked_at].labels)
        lost += not np.isin(labels[labels != IGNORED][-LAST_TOKENS:], stops).any()
    if not lost:
        return
    of = f"{lost:,} of {looked_at:,} conversations" + (" looked at" if looked_at < len(encoded) else "")
    what = (
        f"{of} do not end by a stop token; {encoded.cut_at_limit:,} of {encoded.conversations:,} are cut at the limit"
    )
    mend = "raise train.max_length_tokens, or split or leave out what is longer"
    if lost == looked_at:
        yield error(f"nothing teaches the model to stop: {what}", "the training data", mend)
    elif lost >= MOST_LOST_SHARE * looked_at:
        yield warning(what, "the training data", mend)
    else:
        yield fine(what)
