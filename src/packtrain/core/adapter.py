"""`train.adapter`: which adapter is trained instead of all weights, read from one line of text.

`none`, or a kind, or a kind and settings: `lora:r=64,alpha=16,dropout=0.05,targets=q_proj+v_proj,bias=none`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

from packtrain.core.errors import UserError
from packtrain.core.folder import unknown

Kind = Literal["lora", "rslora", "dora", "qlora"]
Bias = Literal["none", "all", "lora_only"]

NONE = "none"
ALL_LINEAR = "all-linear"
"""Every linear layer but the output head (QLoRA, Dettmers et al. 2023: needed to reach full fine-tuning)."""
QUERY_VALUE = "query-value"
"""The projections of queries and values, or the one that holds both: what peft took in 2023 when nothing was said."""
KEYS = ("r", "alpha", "dropout", "targets", "bias", "preset")

DEFAULTS = {"r": "16", "dropout": "0", "targets": ALL_LINEAR, "bias": "none"}
"""Rank 16 in all linear layers is today's start. No dropout (peft's default too): the update of a step is then the
same however the batch is packed and spread."""
RSLORA_ALPHA = "16"
"""rsLoRA divides alpha by the root of the rank, so that one alpha suits every rank (Kalajdzievski 2023)."""

PRESETS: Mapping[str, Mapping[str, str]] = {
    # open-instruct, finetune_with_lora_accelerate.sh, and its cluster configs of the 65B models; learning rate 2e-5
    "open-instruct-2023": {"r": "256", "alpha": "256", "dropout": "0.05", "targets": QUERY_VALUE},
    # open-instruct, cluster config of Alpaca LoRA 7B; learning rate 5e-5
    "alpaca-2023": {"r": "64", "alpha": "16", "dropout": "0.05", "targets": QUERY_VALUE},
    # open-instruct, finetune.py, what its flags are when not given
    "finetune-2023": {"r": "64", "alpha": "16", "dropout": "0.1", "targets": QUERY_VALUE},
    # tloen/alpaca-lora, finetune.py; learning rate 3e-4
    "alpaca-lora-2023": {"r": "8", "alpha": "16", "dropout": "0.05", "targets": "q_proj+v_proj"},
    # Dettmers et al. 2023, 7B and 13B; learning rate 2e-4
    "qlora-2023": {"r": "64", "alpha": "16", "dropout": "0.1", "targets": ALL_LINEAR},
}
"""Settings that were used in 2023, by name: `lora:preset=alpaca-2023`. What stands beside a preset goes before it."""

LOWEST_LR, USUAL_LR = 5e-5, "1e-4 to 3e-4"
"""Below the first an adapter hardly learns; axolotl's and QLoRA's range."""


@dataclass(frozen=True, slots=True)
class AdapterSpec:
    """An adapter as it is asked for; what `targets` are is known when the model is."""

    kind: Kind
    rank: int
    alpha: float
    dropout: float
    targets: tuple[str, ...]
    """Last parts of module names (`q_proj`), or `ALL_LINEAR` or `QUERY_VALUE` alone."""
    bias: Bias = "none"
    """Biases of the base that are trained too: none, all, or those of the target layers."""
    preset: str = ""

    @property
    def scale(self) -> float:
        """What the product of the two matrices is multiplied by."""
        root = self.rank**0.5 if self.kind == "rslora" else self.rank
        return self.alpha / root

    @property
    def text(self) -> str:
        """All settings as one line that `parse_adapter` reads back."""
        targets = "+".join(self.targets)
        numbers = f"r={self.rank},alpha={self.alpha:.12g},dropout={self.dropout:.12g}"
        return f"{self.kind}:{numbers},targets={targets},bias={self.bias}"


def parse_adapter(text: str) -> AdapterSpec | None:
    """The adapter that `text` asks for, None for `none`; UserError that says what there is."""
    kind, colon, settings = text.strip().partition(":")
    if kind not in (NONE, *get_args(Kind)):
        raise unknown("adapter", kind, (NONE, *get_args(Kind)))
    if kind == NONE:
        if colon:
            raise UserError(f"adapter none takes no settings, and was given {settings}", "give none, or lora:KEY=VALUE")
        return None
    given = _settings(kind, settings) if colon else {}
    preset = given.get("preset", "")
    if preset and preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    values = {**DEFAULTS, **PRESETS.get(preset, {}), **given}
    rank = _whole_number("r", values["r"])
    return AdapterSpec(
        kind=cast(Kind, kind),
        rank=rank,
        alpha=_alpha(values.get("alpha", RSLORA_ALPHA if kind == "rslora" else str(2 * rank))),
        dropout=_share("dropout", values["dropout"]),
        targets=_targets(values["targets"]),
        bias=_bias(values["bias"]),
        preset=preset,
    )


def learning_rate_note(spec: AdapterSpec, lr: float) -> str | None:
    """What to tell a person whose learning rate suits full fine-tuning but not this adapter; None when it suits.

    A preset of 2023 is believed: its runs used 2e-5 and 5e-5 on purpose.
    """
    if spec.preset or lr >= LOWEST_LR:
        return None
    return f"train.lr={lr:g} is a rate for tuning all weights; adapters want {USUAL_LR}"


def _settings(kind: str, text: str) -> dict[str, str]:
    """Keys to values of `r=64,alpha=16`."""
    found: dict[str, str] = {}
    for setting in text.split(","):
        key, equals, value = (part.strip() for part in setting.partition("="))
        if key not in KEYS:
            raise unknown(f"setting of {kind}", key or "nothing", KEYS)
        if not equals or not value:
            raise UserError(f"{kind}: {key} has no value", f"give it one, as in {kind}:r=16,alpha=32")
        if key in found:
            raise UserError(f"{kind}: {key} stands twice", "leave one of the two out")
        found[key] = value
    return found


def _number(key: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise UserError(f"{key}={value} is not a number", f"give one, as in {key}=16") from None


def _whole_number(key: str, value: str) -> int:
    number = _number(key, value)
    if not 1 <= number < 2**16 or number != int(number):
        raise UserError(f"{key}={value} is not a rank", "give a whole number from 1 on, as in r=16")
    return int(number)


def _alpha(value: str) -> float:
    number = _number("alpha", value)
    if not 0 < number < 2**16:
        raise UserError(f"alpha={value} cannot scale an adapter", "give a number above 0, such as twice the rank")
    return number


def _share(key: str, value: str) -> float:
    number = _number(key, value)
    if not 0 <= number < 1:
        raise UserError(f"{key}={value} is not a share", "give a number from 0 to below 1, as in dropout=0.05")
    return number


def _bias(value: str) -> Bias:
    if value not in get_args(Bias):
        raise unknown("bias", value, get_args(Bias))
    return cast(Bias, value)


def _targets(value: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value.split("+"))
    hint = f"give {ALL_LINEAR}, {QUERY_VALUE}, or names of layers such as targets=q_proj+v_proj"
    if not all(names) or len(set(names)) != len(names):
        raise UserError(f"targets={value} names no layer, or one twice", hint)
    if len(names) > 1 and {ALL_LINEAR, QUERY_VALUE} & set(names):
        raise UserError(f"targets={value}: {ALL_LINEAR} and {QUERY_VALUE} stand alone", hint)
    return names
