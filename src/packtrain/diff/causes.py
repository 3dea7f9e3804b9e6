"""Likely causes: what two configurations, two tokenizers or two sets of tensors say against each other."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from packtrain.core.manifest import sha256_of_file

_MISMATCHES = (
    ("model_type", "architectures"),
    ("num_hidden_layers", "numbers of layers"),
    ("hidden_size", "widths"),
    ("intermediate_size", "widths of the feed-forward layers"),
    ("num_key_value_heads", "numbers of key-value heads"),
)
LLAMA_CONTEXT, LLAMA_2_CONTEXT = 2048, 4096


def likely_cause(other: Mapping[str, Any], base: Mapping[str, Any]) -> str | None:
    """What the configurations of a tuned model or diff and of a base say against each other; None when they agree."""
    for key, what in _MISMATCHES:
        theirs, ours = other.get(key), base.get(key)
        if theirs is not None and ours is not None and theirs != ours:
            return f"different {what}: the base says {key} {ours}, the other {theirs}; give the base it was tuned from"
    theirs, ours = other.get("max_position_embeddings"), base.get("max_position_embeddings")
    if base.get("model_type") == "llama" and theirs != ours and LLAMA_2_CONTEXT in (theirs, ours):
        return (
            f"the base looks like {_generation(ours)}, the other like {_generation(theirs)}: their shapes may be the "
            "same, their weights are not; give the base it was tuned from"
        )
    return None


def _generation(context: object) -> str:
    names = {LLAMA_CONTEXT: "LLaMA", LLAMA_2_CONTEXT: "Llama-2"}
    name = names.get(context, "another LLaMA") if isinstance(context, int) else "another LLaMA"
    return f"{name} (context {context})"


def cause_of_differing(names: Collection[str], compared: Collection[str]) -> str | None:
    """The likely cause when of the `compared` base tensors just those in `names` are not the recorded ones."""
    if all(name.endswith(("q_proj.weight", "k_proj.weight")) for name in names):
        return (
            "only query and key projections differ: this is an older conversion of the same weights, with their rows "
            "in another order; convert Meta's files again (packtrain convert llama), or get a newer conversion"
        )
    if all("embed" in name or name.endswith("lm_head.weight") for name in names) and len(names) < len(compared):
        return "only token tables differ: rows were added or changed after the conversion; get the unchanged base"
    return None


def doubts(other: Path, other_config: Mapping[str, Any], base: Path, base_config: Mapping[str, Any]) -> list[str]:
    """What speaks against the base without proving anything: sentences for the user to read before hours of work."""
    found = []
    if cause := likely_cause(other_config, base_config):
        found.append(cause)
    if base_config.get("model_type") == "llama" and (
        base_config.get("bos_token_id"),
        base_config.get("eos_token_id"),
    ) == (0, 1):
        found.append(
            "the base's configuration has bos_token_id 0 and eos_token_id 1, as third-party conversions of March 2023 "
            "(decapoda-research) do, whose weights may have older orders too; a newer conversion says 1 and 2"
        )
    name = "tokenizer.model"
    if (
        (base / name).is_file()
        and (other / name).is_file()
        and sha256_of_file(base / name) != sha256_of_file(other / name)
    ):
        found.append(f"the base's {name} is not the other's: another conversion, or another model")
    return found


def conversion_of(folder: Path) -> str | None:
    """The version of transformers that a folder's configuration names; None when it names none."""
    try:
        version = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("transformers_version")
    except (OSError, ValueError, AttributeError):
        return None
    return version if isinstance(version, str) else None
