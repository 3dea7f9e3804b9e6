"""Finds special tokens for which tokenizer, config.json and generation_config.json have different ids.

Generation stops at the ids of the configs, texts are made with those of the tokenizer; where they differ the model runs
on. Conversions of LLaMA of early 2023 have bos 0 and eos 1 or 0 in their configs (transformers#22239, alpaca-lora#279).
"""

from collections.abc import Iterator
from typing import Any

from packtrain.prompts.tokenizer import Tokenizer
from packtrain.train.doctor_checks import Finding, warning
from packtrain.train.examined import Examined
from packtrain.weights.model_files import CONFIG, GENERATION_CONFIG

NEEDS = ("tokenizer", "config")
BEFORE_TRAINING = False
FINE = "tokenizer and configs have the same special ids"
EARLY_LLAMA_IDS = ((0, 0), (0, 1))
"""Of bos and eos in the configs of decapoda-research and its copies."""
LLAMA_TOKENS = ["<unk>", "<s>", "</s>"]


def check(examined: Examined) -> Iterator[Finding]:
    """One warning for each role whose ids differ, with all of them."""
    tokenizer = examined.tokenizer
    if tokenizer is None:
        return
    pad = tokenizer.pad_token if examined.declared("pad_token") else None  # else it is what training adds
    tokens = {"bos": tokenizer.bos_token, "eos": tokenizer.eos_token, "pad": pad}
    for role, token in tokens.items():
        named = {"the tokenizer": set() if token is None else {tokenizer.id_of(token)}}
        named[CONFIG] = ids(examined.setting(f"{role}_token_id"))
        named[GENERATION_CONFIG] = ids((examined.generation_config or {}).get(f"{role}_token_id"))
        given = {source: found for source, found in named.items() if found}
        sets = list(given.values())
        if all(one <= other or other <= one for one in sets for other in sets):
            continue
        told = ", ".join(f"{source} {_shown(found, tokenizer)}" for source, found in given.items())
        cause = "; these are the ids of an early LLaMA conversion" if _of_early_llama(examined, tokenizer) else ""
        mend = (
            "the tuned model gets the tokenizer's ids" if examined.recipe else "write the tokenizer's ids in both files"
        )
        yield warning(f"ids of {role} differ: {told}{cause}", str(examined.folder), mend)


def ids(value: Any) -> set[int]:
    """The ids that a config gives to a role: one, several or none."""
    values = value if isinstance(value, list) else [value]
    return {one for one in values if isinstance(one, int) and not isinstance(one, bool)}


def _of_early_llama(examined: Examined, tokenizer: Tokenizer) -> bool:
    pair = (examined.setting("bos_token_id"), examined.setting("eos_token_id"))
    return pair in EARLY_LLAMA_IDS and [tokenizer.backend.id_to_token(place) for place in range(3)] == LLAMA_TOKENS


def _shown(found: set[int], tokenizer: Tokenizer) -> str:
    tokens = {one: tokenizer.backend.id_to_token(one) if one >= 0 else None for one in sorted(found)}
    return " and ".join(f"{one} ({token or 'no token'})" for one, token in tokens.items())
