"""Diffs without a manifest: what each family of scripts did, so that exactly that can be undone.

Sources: weight_diff.py of tatsu-lab/stanford_alpaca and allenai/open-instruct, recover_model_weights.py
of tatsu-lab/alpaca_farm, fastchat/model/{make,apply}_delta.py of lm-sys/FastChat (0.1.10 and 0.2).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packtrain.core.errors import UserError
from packtrain.weights.store import TensorStore
from packtrain.weights.vocabulary import is_token_table

SUM_FILE = "model_sum.txt"
"""Where alpaca_farm publishes the sum of all weights."""
BACKBONE = "backbone_model."
"""Before the names of the base's tensors in a reward model of alpaca_farm."""


@dataclass(frozen=True)
class Family:
    """One family of diffs."""

    name: str
    growth: Literal["mean", "zeros", "none"]
    """What the token row that the base lacks was in the subtraction; `none`: rows are never added."""
    arithmetic: Literal["float32", "float16"]
    """Type of the addition, and of the result unless another is asked for."""
    keeps_what_differs: bool = False
    """Tensors that the base lacks or has in another shape were stored as they are."""
    prefix: str = ""
    """Before the base's names."""

    @property
    def max_grown_rows(self) -> int:
        """Token rows that the base may lack: the scripts add `[PAD]` and nothing else."""
        return 0 if self.growth == "none" else 1


FAMILIES = {
    family.name: family
    for family in (
        Family("alpaca", "mean", "float32"),
        Family("open-instruct", "mean", "float32"),
        Family("alpaca-farm", "mean", "float32", keeps_what_differs=True),
        Family("fastchat-v0", "zeros", "float16"),
        Family("fastchat", "none", "float16"),
    )
}
REWARD_MODEL = Family("alpaca-farm", "mean", "float32", keeps_what_differs=True, prefix=BACKBONE)


def family_named(name: str, diff: TensorStore) -> Family:
    """The family called `name`; UserError when there is none. Reward models of alpaca_farm are seen by their names."""
    if name not in FAMILIES:
        raise UserError(f"unknown family of diffs: {name}", f"there are: {', '.join(FAMILIES)}")
    if name == "alpaca-farm" and any(each.startswith(BACKBONE) for each in diff):
        return REWARD_MODEL
    return FAMILIES[name]


def guess_family(folder: Path, diff: TensorStore, base: TensorStore) -> Family:
    """The family of a diff as its files show it; UserError when two would read it differently.

    A sum of weights or a backbone: alpaca-farm. Stored in float16: fastchat, unless the base lacks a
    token row: version 0 of fastchat takes it for zeros, the others for a mean. Else alpaca, whose rule
    open-instruct shares.
    """
    if (folder / SUM_FILE).exists() or any(name.startswith(BACKBONE) for name in diff):
        return family_named("alpaca-farm", diff)
    if any(diff.info(name).dtype != "float16" for name in diff):
        return FAMILIES["alpaca"]
    for name in diff:
        if is_token_table(name) and name in base and base.info(name).shape[0] < diff.info(name).shape[0]:
            raise UserError(
                f"{folder} has no manifest and its family cannot be told: stored in float16, and tensor {name} has "
                "more rows than the base's",
                "say whose diff it is: --family fastchat-v0 (Vicuna v0: the row of [PAD] was zeros) or "
                "--family alpaca (the mean of the other rows)",
            )
    return FAMILIES["fastchat"]
