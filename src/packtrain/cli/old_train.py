"""The command line of Stanford Alpaca's train.py, done by today's data preparation and training.

The script that bears the old name is in compat/. Every flag is mapped onto a recipe or an engine setting, or has no
effect; the recipe and what became of each flag are printed before training.
"""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from packtrain.cli.main import end
from packtrain.cli.old_names import in_old_words
from packtrain.cli.options import print_table, report_rows
from packtrain.cli.train_py.arguments import Flags, help_text, parse
from packtrain.cli.train_py.deepspeed_file import DeepSpeedFile, read_deepspeed
from packtrain.cli.train_py.draft import Machine, starting_values
from packtrain.cli.train_py.flags import FLAGS
from packtrain.cli.train_py.translate import Translation, contradictions, environment, translate
from packtrain.core.errors import UserError
from packtrain.core.progress import say

PACKAGES = ("deepspeed", "tensorboard", "wandb")
_TODAY = {
    "--out": "--output_dir",
    "--resume": "--resume_from_checkpoint True",
    "--overwrite": "--overwrite_output_dir",
    r"train\.max_length_tokens=": "--model_max_length ",
    r"train\.max_length_tokens": "--model_max_length",
    r"train\.epochs": "--num_train_epochs",
    r"train\.lr": "--learning_rate",
    r"engine\.activation_checkpointing=false": "--gradient_checkpointing False",
}
"""What errors of today's stages call a thing, and how train.py calls it."""


def train() -> NoReturn:
    """Run the command line of the process as train.py did, and exit; the statuses are those of `packtrain`."""
    script = Path(sys.argv[0]).resolve().parent
    end(lambda: run(sys.argv[1:], beside=script), debug="--debug" in sys.argv[1:])


def run(arguments: Sequence[str], *, beside: Path) -> None:
    """Do what `arguments` ask; `beside` is the folder of the script, where a DeepSpeed file may lie.

    Every process of a launcher calls it. UserError names everything that is wrong with the arguments.
    """
    if not arguments or "--help" in arguments or "-h" in arguments:
        print(help_text())
        return
    flags, deepspeed = _read(arguments, beside)
    os.environ.update(environment(flags))
    with in_old_words(_TODAY):
        _train(flags, deepspeed)


def _read(arguments: Sequence[str], beside: Path) -> tuple[Flags, DeepSpeedFile | None]:
    """The flags and the DeepSpeed file that they name; UserError for all that is wrong with both."""
    flags, problems = parse(arguments)
    problems += contradictions(flags)
    deepspeed = None
    if flags.values["deepspeed"]:
        world_size = int(os.environ.get("WORLD_SIZE", "1"))
        deepspeed, wrong = read_deepspeed(flags.values["deepspeed"], beside, flags, world_size)
        problems += wrong
    if problems and os.environ.get("RANK", "0") != "0":
        sys.exit(2)  # the first process tells it
    if problems:
        raise UserError("; ".join(problems), "see python train.py --help")
    return flags, deepspeed


def _train(flags: Flags, deepspeed: DeepSpeedFile | None) -> None:
    import torch

    from packtrain.pipeline.train_recipe import data_folder
    from packtrain.train.distributed import connected
    from packtrain.train.stage import train as run_training
    from packtrain.weights.source import model_folder

    given = flags.values
    out, overwrite = Path(given["output_dir"]), given["overwrite_output_dir"]
    data = data_folder(out)
    with connected() as processes:
        if out.exists() and not overwrite and processes.is_first:
            raise UserError(f"{out} exists already", "choose another --out, or give --overwrite to replace it")
        base = processes.first_on_machine(lambda: model_folder(given["model_name_or_path"]))
        figures = processes.share(_prepare(flags, data) if processes.is_first else {})
        machine = Machine(
            processes.world_size,
            machines=max(1, processes.world_size // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))),
            gpus=torch.cuda.device_count() if processes.device.type == "cuda" else 0,
            packages=frozenset(name for name in PACKAGES if find_spec(name)),
        )
        layer = _layer_class(base) if processes.is_first else ""
        meant = translate(flags, deepspeed, figures["train"], machine, layer)
        if meant.tf32:
            torch.backends.cuda.matmul.allow_tf32 = True
        if processes.is_first:
            say(as_text(flags, meant, out, machine))
            _say_what_differs(figures, meant)
        resume = given["resume_from_checkpoint"]
        report = run_training(meant.recipe, data, out, resume=resume, overwrite=overwrite, engine=meant.engine)
    if processes.is_first:
        print_table(f"trained: {out}", report_rows(report))


def _prepare(flags: Flags, folder: Path) -> Mapping[str, Any]:
    """Make the conversations of `--data_path` in `folder`, unless they are there unchanged; the counts of it."""
    from packtrain.core.manifest import read_manifest
    from packtrain.core.recipe import Data
    from packtrain.data.prepare import prepare
    from packtrain.data.prepared import changes, is_prepared

    data, seed = Data.model_validate(starting_values(flags.values)["data"]), flags.values["seed"]
    if is_prepared(folder) and not changes(folder, data, seed):
        say(f"data: prepared before, in {folder}")
    else:
        prepare(data, folder, seed=seed, overwrite=True, provenance=True)
    made = read_manifest(folder)
    return made.figures if made else {}


def _layer_class(base: Path) -> str:
    """The class of the model's layers; empty for a folder that cannot be loaded, of which training tells more."""
    from packtrain.train.load import ModelSource
    from packtrain.train.objective import decoder_layers

    try:
        layers = decoder_layers(ModelSource(base, 0).shape())
    except Exception:  # transformers raises many kinds for unreadable folders
        return ""
    return type(layers[0]).__name__ if layers else ""


def as_text(flags: Flags, meant: Translation, out: Path, machine: Machine) -> str:
    """The recipe as a YAML file, with the command that takes it and what became of each flag as comments."""
    import yaml

    recipe = meant.recipe
    train_section = recipe.train.model_dump(mode="json", exclude_none=True)
    whole = recipe.model_dump(mode="json", exclude_defaults=True) | {"train": train_section}
    ordered = {key: whole[key] for key in recipe.resolved() if key in whole}
    settings = meant.engine.model_dump(mode="json", exclude_defaults=True)
    today = ["packtrain", "train", "recipe.yaml", "--out", str(out)]
    if machine.world_size > 1:
        nodes = [f"--nnodes={machine.machines}"] if machine.machines > 1 else []
        today = ["torchrun", *nodes, f"--nproc_per_node={machine.world_size // machine.machines}", "-m", *today]
    today += [f"engine.{key}={_plain(value)}" for key, value in settings.items()]
    others = [
        name
        for name in FLAGS
        if name not in flags.given and flags.values[name] is not None and not FLAGS[name].no_effect
    ]
    return "\n".join(
        [
            "# The recipe of this command line. Kept as recipe.yaml, it is run by:",
            f"#   {shlex.join(today)}",
            yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True, default_flow_style=None).rstrip(),
            "# What became of the flags:",
            *(f"#   {flags.spelled(name):<44} {meant.became[name]}" for name in flags.given),
            "# Not given, and taken as train.py took them:",
            f"#   {' '.join(flags.spelled(name) for name in others)}",
        ]
    )


def _plain(value: Any) -> str:
    return f"[{','.join(value)}]" if isinstance(value, list) else str(value).lower()


def _say_what_differs(figures: Mapping[str, Any], meant: Translation) -> None:
    """What no flag can say; the reasons are in docs/divergences.md."""
    for source in figures["sources"].values():
        for reason, count in source["dropped"].items():
            say(f"left out: {count:,} of {source['read']:,} rows ({reason}), which train.py learnt")
    say("order: by a hash of the seed and each row's identity, where train.py drew a permutation")
    for warning in meant.warnings:
        say(f"warning: {warning}")
