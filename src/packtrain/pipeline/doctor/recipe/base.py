"""Finds a base that is not on this machine."""

from collections.abc import Iterator

from packtrain.card import known
from packtrain.core.errors import UserError
from packtrain.pipeline.doctor.wanted import Wanted, at_hand, is_hub_id
from packtrain.train.doctor_checks import Finding, error, fine, warning

STAGES = ("train", "diff", "recover", "evaluate")
_WHERE = "base.path"


def check(wanted: Wanted) -> Iterator[Finding]:
    """One finding; of a base whose makers are known it says how one gets it."""
    from huggingface_hub import constants

    path = wanted.recipe.base.path
    try:
        folder = at_hand(path)
    except UserError as problem:
        yield error(problem.message, _WHERE, problem.hint)
        return
    if folder is not None:
        yield fine(f"the base is here: {folder}")
    elif not is_hub_id(path):
        told = " ".join(str(known.base(wanted.recipe).get("where", "")).split())
        yield error(f"no model folder at {path}", _WHERE, f"name one: base.path=FOLDER. {told}".strip())
    elif constants.HF_HUB_OFFLINE:
        mend = "unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE, or name a folder: base.path=FOLDER"
        yield error(f"{path} is no folder and not whole in the Hub's cache, and nothing may be fetched", _WHERE, mend)
    else:
        mend = f"fetch it before: hf download {path.partition('@')[0]}; then its files can be looked at, too"
        yield warning(f"{path} is not on this machine: it is fetched from the Hub first", _WHERE, mend)
