"""How train.py's flags decide the optimisation: steps, schedule, optimizer, precision, checkpoints.

The rules are those of the Trainer in transformers 4.28 (trainer.py, training_args.py), which ran train.py.
"""

import math
from dataclasses import dataclass

from packtrain.cli.train_py.deepspeed_file import DeepSpeedFile
from packtrain.cli.train_py.draft import Draft
from packtrain.core.errors import UserError

NEVER_REACHED = 1e9
"""A norm of gradients for `--max_grad_norm 0`, which clipped nothing."""


@dataclass(frozen=True, slots=True)
class Steps:
    """Optimizer steps of the original."""

    epoch: int
    total: int


def batches(draft: Draft, rows: int, world_size: int) -> Steps:
    """Set batch sizes, length and epochs; the steps that the original made of `rows` conversations.

    An epoch had ceil(rows / (size x processes)) micro-steps, without the last one if it was to be dropped, and of these
    as many whole accumulations, but one step at least.
    """
    given = draft.flags
    by_gpu, accumulation = given["per_gpu_train_batch_size"], given["gradient_accumulation_steps"]
    size = by_gpu or given["per_device_train_batch_size"]
    decides = "per_gpu_train_batch_size" if by_gpu else "per_device_train_batch_size"
    if by_gpu:
        draft.say("no effect: --per_gpu_train_batch_size decides", "per_device_train_batch_size")
    batch = size * accumulation * world_size
    product = f"{size} x {accumulation} x {world_size} processes"
    draft.recipe("global_batch_size", batch, decides, "gradient_accumulation_steps", why=product)
    draft.recipe("micro_batch_size", size, decides, why="so many rows are averaged first")
    draft.recipe("max_length_tokens", given["model_max_length"], "model_max_length")
    micro_steps = rows / (size * world_size)
    whole = math.floor(micro_steps) if given["dataloader_drop_last"] else math.ceil(micro_steps)
    steps = max(1, whole // accumulation)
    last = "keep" if rows % batch and steps == math.ceil(rows / batch) else "drop"
    draft.recipe("last_batch", last, "dataloader_drop_last", why=f"{steps} steps of an epoch, as in the original")
    epochs, most = given["num_train_epochs"], given["max_steps"]
    if most > 0:
        draft.recipe("max_steps", most, "max_steps")
        draft.recipe("epochs", most, "num_train_epochs", why="as many as --max_steps, which decides, can take")
        return Steps(steps, most)
    draft.say("no effect: the epochs decide", "max_steps")
    draft.recipe("epochs", math.ceil(epochs), "num_train_epochs")
    if not float(epochs).is_integer():
        draft.recipe("max_steps", math.ceil(epochs * steps), "num_train_epochs", why=f"an epoch has {steps}")
    return Steps(steps, math.ceil(epochs * steps))


def schedule(draft: Draft, deepspeed: DeepSpeedFile | None, steps: Steps) -> None:
    """Set the course of the learning rate; UserError for a warm-up that does not end."""
    given = draft.flags
    draft.recipe("lr", given["learning_rate"], "learning_rate")
    warms_up = True
    if deepspeed is not None and deepspeed.schedule:
        decides = f"the scheduler of {deepspeed.path.name}"
        draft.recipe("schedule", deepspeed.schedule, "deepspeed", why=decides)
        draft.say(f"no effect: {decides} does", "lr_scheduler_type")
        if deepspeed.climb == "log":
            draft.say("the rate climbs linearly in the warm-up, DeepSpeed's by the logarithm of the step", "deepspeed")
    else:
        name = given["lr_scheduler_type"]
        warms_up = name != "constant"
        draft.recipe("schedule", name.removesuffix("_with_restarts").removesuffix("_with_warmup"), "lr_scheduler_type")
    climb = given["warmup_steps"]
    if not warms_up:
        draft.values["train"]["warmup_ratio"] = 0.0
        draft.say("no effect: --lr_scheduler_type constant has no warm-up", "warmup_ratio", "warmup_steps")
    elif climb:
        if climb >= steps.total:
            hint = f"give {steps.total - 1} at most, or --warmup_ratio"
            raise UserError(f"--warmup_steps is {climb}, and the run has {steps.total} steps", hint)
        ratio = round((climb - 0.5) / steps.total, 9)  # the half keeps it at `climb` when it is rounded up
        draft.recipe("warmup_ratio", ratio, "warmup_steps", why=f"of {steps.total} steps, rounded up")
        draft.say("no effect: --warmup_steps decides", "warmup_ratio")
    else:
        draft.recipe("warmup_ratio", given["warmup_ratio"], "warmup_ratio")
        draft.say("no effect: --warmup_ratio decides", "warmup_steps")


def optimizer(draft: Draft) -> None:
    """Set AdamW's numbers."""
    given = draft.flags
    draft.say("AdamW, the only optimizer", "optim")
    draft.recipe("weight_decay", given["weight_decay"], "weight_decay")
    draft.recipe("adam_betas", [given["adam_beta1"], given["adam_beta2"]], "adam_beta1", "adam_beta2")
    draft.recipe("adam_epsilon", given["adam_epsilon"], "adam_epsilon")
    clip = given["max_grad_norm"]
    draft.recipe("clip_norm", clip or NEVER_REACHED, "max_grad_norm", why="" if clip else "0 clipped nothing")


def precision(draft: Draft) -> None:
    """Set what is computed in; the weights are float32 in any case."""
    bf16, fp16 = draft.flags["bf16"], draft.flags["fp16"]
    if bf16:
        draft.recipe("precision", "bfloat16", "bf16")
        draft.say("no effect: --bf16 decides", "fp16")
    elif fp16:
        why = "bfloat16 where the device multiplies it, else float32: neither needs a scaler as float16 does"
        draft.recipe("precision", "auto", "fp16", why=why)
        draft.say("no effect: --fp16 decides", "bf16")
    else:
        draft.recipe("precision", "float32", "bf16", "fp16")


def checkpoints(draft: Draft, steps: Steps) -> None:
    """Set when the state is saved, and how many states are kept."""
    given = draft.flags
    if given["save_strategy"] == "steps":
        draft.recipe("checkpoint_every_steps", given["save_steps"], "save_strategy", "save_steps")
    else:
        every = steps.epoch if given["save_strategy"] == "epoch" else steps.total
        draft.recipe("checkpoint_every_steps", every, "save_strategy")
        draft.say("no effect: --save_strategy decides", "save_steps")
    limit = given["save_total_limit"]
    if limit is not None and limit > 0:
        draft.engine("keep_last", limit, "save_total_limit", why="until the model is complete, then none")
    else:
        draft.say("no effect: the newest checkpoint is kept until the model is complete", "save_total_limit")
