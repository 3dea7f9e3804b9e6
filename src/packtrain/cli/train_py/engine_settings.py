"""How train.py's flags and the machine decide where the model is held and where its metrics go."""

from packtrain.cli.train_py.deepspeed_file import DeepSpeedFile
from packtrain.cli.train_py.draft import Draft, Machine

TRACKERS = ("tensorboard", "wandb")


def sharding(draft: Draft, deepspeed: DeepSpeedFile | None, machine: Machine) -> None:
    """Set the strategy and whether weights are kept off the GPU."""
    if deepspeed is not None:
        _deepspeed(draft, deepspeed, machine)
    elif draft.flags["fsdp"]:
        _fsdp(draft, machine)
    else:
        strategy, why = ("fsdp", "each process holds a share") if machine.world_size > 1 else ("single", "one process")
        draft.engine("strategy", strategy, "fsdp", why=why)
    draft.engine("activation_checkpointing", draft.flags["gradient_checkpointing"], "gradient_checkpointing")
    draft.engine("compile", draft.flags["torch_compile"], "torch_compile")


def _fsdp(draft: Draft, machine: Machine) -> None:
    options = draft.flags["fsdp"]
    if machine.world_size == 1:
        draft.engine("strategy", "single", "fsdp", why="one process: there is nothing to shard")
        if "offload" in options:
            draft.say("offload has no effect: it takes several processes with a GPU each", "fsdp")
        return
    draft.engine("strategy", "fsdp", "fsdp")
    if "offload" in options:
        _offload(draft, machine, "fsdp")
    if "hybrid_shard" in options:
        draft.engine("replicas", machine.machines, "fsdp", why="hybrid_shard: a copy on each machine")
    for option in ("shard_grad_op", "no_shard"):
        if option in options:
            draft.say(f"weights are sharded too, not as {option} did, which changes memory but no result", "fsdp")
    if "auto_wrap" not in options:
        draft.say("every layer is sharded by itself, as with auto_wrap", "fsdp")


def _deepspeed(draft: Draft, file: DeepSpeedFile, machine: Machine) -> None:
    if machine.gpus and "deepspeed" in machine.packages:
        draft.engine("strategy", "deepspeed", "deepspeed", why="ZeRO-3")
        draft.engine("cpu_offload", file.offload, "deepspeed")
    elif machine.world_size > 1:
        reason = "the package deepspeed is not installed" if machine.gpus else "there is no GPU, which DeepSpeed needs"
        why = f"{reason}; torch's FSDP shards as ZeRO-3 does and gives the same model"
        draft.engine("strategy", "fsdp", "deepspeed", why=why)
        if file.offload:
            _offload(draft, machine, "deepspeed")
    else:
        draft.engine("strategy", "single", "deepspeed", why="one process: there is nothing to shard")
        if file.offload:
            draft.say("offload has no effect: one process takes a GPU and the package deepspeed for it", "deepspeed")
    if file.unused:
        draft.say(f"without effect in {file.path.name}: {', '.join(file.unused)}", "deepspeed")


def _offload(draft: Draft, machine: Machine, flag: str) -> None:
    if machine.gpus:
        draft.engine("cpu_offload", True, flag)
    else:
        draft.say("offload has no effect: there is no GPU, all is in the host's memory", flag)


def layers(draft: Draft, layer: str) -> str:
    """What to warn of: another class to wrap than the model's `layer`, or nothing.

    `layer` is empty when it is not known.
    """
    flag = "fsdp_transformer_layer_cls_to_wrap"
    named = [name.strip() for name in (draft.flags[flag] or "").split(",")]
    found = f": {layer}" if layer else ""
    draft.say(f"no effect: the layers are found from the model{found}", flag)
    if not layer or not any(named) or layer in named:
        return ""
    return f"--{flag} {draft.flags[flag]}: the layers of this model are {layer}, and these are taken"


def tf32(draft: Draft, machine: Machine) -> bool:
    """Whether float32 products are to be computed in TF32, which takes a GPU."""
    if draft.flags["tf32"] and machine.gpus:
        draft.say("float32 products are computed in TF32", "tf32")
        return True
    draft.say("no effect: there is no GPU" if draft.flags["tf32"] else "float32 products stay float32", "tf32")
    return False


def tracking(draft: Draft, machine: Machine) -> None:
    """Set where metrics go beside metrics.jsonl."""
    asked = draft.flags["report_to"]
    if asked is None or asked == ("none",):
        text = "metrics.jsonl alone; `--report_to all` is what train.py did without it" if asked is None else "none"
        draft.say(text, "report_to")
        return
    named = [name for name in TRACKERS if name in asked or ("all" in asked and name in machine.packages)]
    draft.engine("trackers", named, "report_to")
    unknown = [name for name in asked if name not in (*TRACKERS, "all", "none")]
    if unknown:
        draft.say(f"no effect of {', '.join(unknown)}: there are {' and '.join(TRACKERS)}", "report_to")
