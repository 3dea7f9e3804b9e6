"""A recipe and an engine in the making, with what became of each flag."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packtrain.cli.train_py.arguments import Flags

STARTING_POINT = "alpaca-7b"
ALPACA_DATA = "alpaca_data"
"""The file of Stanford Alpaca, whose name and licence are known."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the run has to compute with."""

    world_size: int = 1
    machines: int = 1
    gpus: int = 0
    """Of this machine."""
    packages: frozenset[str] = frozenset()
    """Which of deepspeed, tensorboard and wandb are installed."""


class Draft:
    """The shipped recipe with model, data and seed of a command line; the rest is set piece by piece."""

    def __init__(self, flags: Flags) -> None:
        self.flags = flags.values
        self.values = starting_values(flags.values)
        self.settings: dict[str, Any] = {}
        """Of the engine."""
        self.became: dict[str, str] = {
            "model_name_or_path": "base.path",
            "data_path": f"data.sources.{source_name(flags.values['data_path'])}.path",
            "output_dir": "the output folder, and the recipe's name",
            "seed": "seed, which with each row's identity decides the order",
        }

    def recipe(self, key: str, value: Any, *flags: str, why: str = "") -> None:
        """Set `train.KEY` of the recipe, which `flags` decide."""
        self.values["train"][key] = value
        self.say(f"train.{key} is {value}{f' ({why})' if why else ''}", *flags)

    def engine(self, key: str, value: Any, *flags: str, why: str = "") -> None:
        """Set `engine.KEY`, which `flags` decide."""
        self.settings[key] = value
        self.say(f"engine.{key} is {value}{f' ({why})' if why else ''}", *flags)

    def say(self, text: str, *flags: str) -> None:
        """Note what became of `flags`, behind what was noted before."""
        for flag in flags:
            self.became[flag] = f"{self.became[flag]}; {text}" if flag in self.became else text


def source_name(data_path: str) -> str:
    """The name of the data set: Stanford Alpaca's for its own file, else that of the file."""
    stem = Path(data_path).stem
    return "stanford_alpaca" if stem == ALPACA_DATA else stem


def starting_values(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The shipped recipe as plain values; what train.py knows nothing of is left out."""
    from packtrain.core.recipe_file import load_recipe

    values = load_recipe(STARTING_POINT).resolved()
    folder = Path(flags["output_dir"]).resolve().name
    values["name"] = re.sub(r"[^A-Za-z0-9._-]+", "-", folder).lstrip("._-") or "tuned"
    values["title"] = f"{values['name']}, tuned by the command line of Stanford Alpaca's train.py"
    values["seed"] = flags["seed"]
    values["base"] = {"path": flags["model_name_or_path"]}
    values["evaluate"], values["generate"] = {}, None
    [source] = values["data"]["sources"].values()
    name = source_name(flags["data_path"])
    known = name == "stanford_alpaca"
    own = {"path": flags["data_path"], "license": source["license"] if known else ""}
    values["data"]["sources"] = {name: {**source, **own}}
    # the rules of the Trainer of 2023 and of train.py's own encoding
    values["train"] |= {"loss_averaging": "microbatch_mean", "encoding": "compat", "warmup_rounding": "ceil"}
    return values
