"""Where in a model a tensor belongs, as its name tells: the layer, or what stands around the layers, and the kind."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from packtrain.weights.vocabulary import INPUT_TABLES, OUTPUT_TABLES

EMBEDDINGS, FINAL_NORM, HEAD, OTHER = "embeddings", "final norm", "head", "other"
"""Groups of tensors that belong to no layer."""

_LAYER = re.compile(r"(?:(?P<stack>.*?)\.)?(?P<layer>\d+)\.(?P<rest>.+)")
_ATTENTION = ("self_attn.", "self_attention.", "attention.", "attn.")
_USUAL_ORDER = ("q", "k", "v", "o", "out", "gate", "up", "down", "fc1", "fc2")
"""Kinds that have one, by the beginnings of their names."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor belongs."""

    group: str
    """The layer's number as text (after the name of its stack where a model has several), or what is no layer."""
    layer: int | None
    kind: str
    """`q_proj`, `mlp.up_proj`, `input_layernorm`, `embed_tokens`; biases say so: `q_proj.bias`."""


def places(names: Iterable[str]) -> dict[str, Place]:
    """Place of every tensor of a model, in reading order: embeddings, layers, final norm, head, others."""
    names = list(names)
    matches = {name: match for name in names if (match := _LAYER.fullmatch(name))}
    stacks = list(dict.fromkeys(match["stack"] for match in matches.values()))
    found: dict[str, tuple[tuple[int, int, int], Place]] = {}
    for name in names:
        if match := matches.get(name):
            layer = int(match["layer"])
            group = str(layer) if len(stacks) == 1 else f"{match['stack']} {layer}"
            found[name] = (1, stacks.index(match["stack"]), layer), Place(group, layer, _kind(match["rest"]))
        else:
            rank, group = _around(name)
            found[name] = (rank, 0, 0), Place(group, None, _kind(name).rpartition("embeddings.")[2])
    return {name: place for name, (_, place) in sorted(found.items(), key=lambda item: item[1][0])}


def usual_order(kind: str) -> tuple[bool, bool, bool, int, str]:
    """A key to sort kinds by: matrices of attention, then of the feed-forward part, biases, norms."""
    last = kind.rpartition("mlp.")[2]
    usual = next((n for n, begin in enumerate(_USUAL_ORDER) if last.startswith((f"{begin}_", f"{begin}."))), 99)
    return "norm" in kind, kind.endswith(".bias"), "mlp" in kind or last.startswith("fc"), usual, kind


def _around(name: str) -> tuple[int, str]:
    if name.endswith(OUTPUT_TABLES) or name.split(".")[0] == "lm_head":
        return 3, HEAD
    if name.endswith(INPUT_TABLES) or "embed" in name or name.endswith("wpe.weight"):
        return 0, EMBEDDINGS
    if "norm" in name or "ln_f" in name:
        return 2, FINAL_NORM
    return 4, OTHER


def _kind(rest: str) -> str:
    parts = [part for part in rest.removesuffix(".weight").split(".") if not part.isdigit()]
    kind = ".".join(parts)
    for prefix in _ATTENTION:
        kind = kind.removeprefix(prefix)
    return kind.removeprefix("model.").removeprefix("decoder.").removeprefix("transformer.")
