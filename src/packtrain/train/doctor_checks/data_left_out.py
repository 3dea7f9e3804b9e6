"""Finds training data of which much cannot be learnt from.

Trainers that leave out in silence what their template cannot show, or mask all of it, train on next to nothing
(axolotl#2089; TRL#3927: loss zero).
"""

from collections.abc import Iterator

from packtrain.train.doctor_checks import Finding, error, fine, warning
from packtrain.train.examined import Examined

NEEDS = ("encoded",)
BEFORE_TRAINING = True
FINE = "every conversation can be learnt from"
MOST_LEFT_OUT_SHARE = 0.5
"""From here on an error: template and data do not belong together."""
TOLD_SHARE = 0.01
"""From here on a warning."""


def check(examined: Examined) -> Iterator[Finding]:
    """One finding with the counts by reason."""
    encoded = examined.encoded
    if encoded is None or not encoded.conversations:
        return
    dropped = encoded.conversations - len(encoded)
    if not dropped:
        return
    reasons = "; ".join(f"{reason}: {count:,}" for reason, count in encoded.dropped.most_common())
    what = f"{dropped:,} of {encoded.conversations:,} conversations are left out ({reasons})"
    mend = "packtrain data inspect shows single ones; another template, a higher limit or cleaning may keep them"
    if dropped >= MOST_LEFT_OUT_SHARE * encoded.conversations:
        yield error(what, "the training data", mend)
    elif dropped >= TOLD_SHARE * encoded.conversations:
        yield warning(what, "the training data", mend)
    else:
        yield fine(what)
