"""What a command line of Stanford Alpaca's train.py means today: a recipe, an engine, and what became of each flag."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packtrain.cli.train_py import engine_settings, train_section
from packtrain.cli.train_py.arguments import Flags
from packtrain.cli.train_py.deepspeed_file import DeepSpeedFile
from packtrain.cli.train_py.draft import Draft, Machine
from packtrain.cli.train_py.flags import FLAGS

if TYPE_CHECKING:
    from packtrain.core.engine import Engine
    from packtrain.core.recipe import Recipe

_REFUSED = {
    "adafactor": "the optimizer is AdamW",
    "label_smoothing_factor": "the loss knows no label smoothing",
    "load_best_model_at_end": "nothing is measured while training that could tell which is the best",
    "push_to_hub": "nothing is uploaded; leave it out, and upload the finished folder",
}


@dataclass(frozen=True, slots=True)
class Translation:
    """The command line as packtrain reads it."""

    recipe: "Recipe"
    engine: "Engine"
    became: Mapping[str, str]
    """What each flag became."""
    tf32: bool
    """Whether a GPU is to multiply float32 as TF32."""
    warnings: tuple[str, ...]


def contradictions(flags: Flags) -> list[str]:
    """What is wrong with flags that are right one by one."""
    values = flags.values
    found = [f"{flags.spelled(name)}: {why}" for name, why in _REFUSED.items() if values[name]]
    if values["bf16"] and values["fp16"]:
        found.append("--bf16 and --fp16 are both True: give one of them")
    if values["fsdp"] and values["deepspeed"]:
        found.append("--fsdp and --deepspeed are both given: give one of them")
    modes = [option for option in values["fsdp"] if option not in ("offload", "auto_wrap")]
    if values["fsdp"] and len(modes) != 1:
        found.append(f"{flags.spelled('fsdp')}: name one of full_shard, shard_grad_op, no_shard, hybrid_shard")
    if values["data_path"] and not Path(values["data_path"]).is_file():
        found.append(f"--data_path {values['data_path']}: no such file")
    if values["output_dir"] and not Path(values["output_dir"]).resolve().name:
        found.append(f"--output_dir {values['output_dir']} cannot be replaced by a model")
    return found


def environment(flags: Flags) -> dict[str, str]:
    """Variables by which libraries hear of `--cache_dir`, `--no_cuda` and `--run_name` before they are imported."""
    wanted = {
        "HF_HUB_CACHE": flags.values["cache_dir"],
        "CUDA_VISIBLE_DEVICES": "" if flags.values["no_cuda"] else None,
        "WANDB_NAME": flags.values["run_name"],
    }
    return {name: value for name, value in wanted.items() if value is not None}


def translate(
    flags: Flags, deepspeed: DeepSpeedFile | None, rows: int, machine: Machine, layer: str = ""
) -> Translation:
    """What `flags` mean on `machine` for `rows` conversations and a model whose layers are of the class `layer`.

    `layer` is empty when it is not known. UserError for what only the number of rows shows to be impossible.
    """
    from packtrain.core.engine import Engine
    from packtrain.core.recipe_file import validate_recipe, validated

    draft = Draft(flags)
    steps = train_section.batches(draft, rows, machine.world_size)
    train_section.schedule(draft, deepspeed, steps)
    train_section.optimizer(draft)
    train_section.precision(draft)
    train_section.checkpoints(draft, steps)
    engine_settings.sharding(draft, deepspeed, machine)
    tf32 = engine_settings.tf32(draft, machine)
    engine_settings.tracking(draft, machine)
    warning = engine_settings.layers(draft, layer)
    _of_this_command(draft, machine)
    became = {name: f"no effect: {flag.no_effect}" for name, flag in FLAGS.items() if flag.no_effect}
    return Translation(
        validate_recipe(draft.values, "of train.py"),
        validated(Engine, draft.settings, "engine settings", "see python train.py --help"),
        became | draft.became,
        tf32,
        tuple(filter(None, (warning, _idle_gpus(machine)))),
    )


def _of_this_command(draft: Draft, machine: Machine) -> None:
    """Flags that are neither of the recipe nor of the engine."""
    given = draft.flags
    replaced = "replaced, if packtrain made it" if given["overwrite_output_dir"] else "refused"
    draft.say(f"an output folder that exists is {replaced}", "overwrite_output_dir")
    resumed = "goes on from its newest checkpoint" if given["resume_from_checkpoint"] else "is refused"
    draft.say(f"an interrupted run {resumed}", "resume_from_checkpoint")
    draft.say(f"HF_HUB_CACHE={given['cache_dir']}, where models of the Hub are kept", "cache_dir")
    draft.say(
        "CUDA_VISIBLE_DEVICES= hides GPUs" if given["no_cuda"] else "GPUs are used where there are any", "no_cuda"
    )
    draft.say(f"WANDB_NAME={given['run_name']}", "run_name")
    draft.say("nothing to do", *_REFUSED)


def _idle_gpus(machine: Machine) -> str:
    """A warning where the Trainer would have spread one process over several GPUs."""
    if machine.world_size > 1 or machine.gpus < 2:
        return ""
    return (
        f"one process uses one of {machine.gpus} GPUs, where train.py used all, with {machine.gpus} times the batch; "
        f"start it with torchrun --nproc_per_node={machine.gpus}"
    )
