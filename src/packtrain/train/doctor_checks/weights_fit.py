"""Finds tensors that the model of config.json has and the files do not, or in another shape.

transformers draws what is missing at random and says so in a warning among many; a `vocab_size` that is not the number
of rows in the files ends in an error when everything else is ready.
"""

import re
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from packtrain.train.doctor_checks import Finding, error, fine, warning
from packtrain.train.examined import Examined
from packtrain.weights.vocabulary import tied_names

NEEDS = ("store", "config")
BEFORE_TRAINING = False
FINE = "the files hold every tensor of the model, in its shape"
_HINT = "fetch or make the folder again, all files of it"
_BUFFERS = re.compile(r"(^|\.)(inv_freq|masked_bias|(attn|attention)\.bias)$")
"""Constants that checkpoints of 2023 hold and models compute."""


def check(examined: Examined) -> Iterator[Finding]:
    """What is missing, and what has another shape.

    transformers translates some names (experts in one tensor, Pythia's output table): then as many numbers as are
    missing stand there under names that the model does not know.
    """
    store, config = examined.store, examined.config
    if store is None or config is None:
        return
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        with torch.device("meta"):
            loaded = AutoConfig.from_pretrained(examined.folder, local_files_only=True, trust_remote_code=False)
            model: Any = AutoModelForCausalLM.from_config(loaded)
    except Exception as problem:  # transformers raises many kinds for a config that it cannot use
        reason = " ".join(str(problem).split())[:200]
        yield error(f"transformers cannot make the model: {reason}", str(examined.folder / "config.json"), _HINT)
        return
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    there = {_known_as(name, wanted, model.base_model_prefix): store.info(name).shape for name in store}
    there |= {alias: there[to] for alias, to in _tied(examined, wanted, model).items() if to in there}
    missing = [name for name in wanted if name not in there]
    others = [name for name in there if name not in wanted and not _BUFFERS.search(name)]
    if missing and not others:
        yield error(f"the files lack {_several(missing)}", str(examined.folder), _HINT)
    elif missing and sum(prod(wanted[name]) for name in missing) != sum(prod(there[name]) for name in others):
        what = f"the model has {_several(missing)}, the files {_several(others)} instead"
        yield warning(what, str(examined.folder), "if loading says that tensors are missing, fetch the folder again")
    elif missing:
        yield fine(f"the files have as much under other names, such as {others[0]} for {missing[0]}")
    for name, shape in wanted.items():
        if name in there and there[name] != shape:
            what = f"{name} is {list(there[name])} in the files and {list(shape)} by the config"
            yield error(what, str(examined.folder), "config.json and weights are of different models: " + _HINT)


def _known_as(name: str, wanted: Mapping[str, Any], prefix: str) -> str:
    """The model's name of a tensor: files of bare models (GPT-2, OPT) leave the first part out."""
    return name if name in wanted or f"{prefix}.{name}" not in wanted else f"{prefix}.{name}"


def _tied(examined: Examined, wanted: Mapping[str, Any], model: Any) -> dict[str, str]:
    """Names of the model that stand for another tensor, to that one."""
    if examined.store is None or examined.config is None:
        return {}
    prefix = model.base_model_prefix
    named = tied_names(examined.store, examined.config)
    return {_known_as(name, wanted, prefix): _known_as(to, wanted, prefix) for name, to in named.items()}


def _several(names: list[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")
