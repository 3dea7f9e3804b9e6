"""The JSON file of `train.py --deepspeed`: what it says about memory, optimizer and schedule.

As in the Trainer of 2023, `"auto"` stands for what the flags say, and a value that differs from them is an error.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from packtrain.cli.train_py.arguments import Flags

AUTO = "auto"
SCHEDULES: Mapping[str, Literal["linear", "constant", "cosine"]] = {
    "WarmupDecayLR": "linear",
    "WarmupLR": "constant",
    "WarmupCosineLR": "cosine",
}
"""DeepSpeed's schedulers (deepspeed/runtime/lr_schedules.py), and what each does after the climb."""
_CHOICES = {
    "zero_optimization.stage": (0, 1, 2, 3),
    "zero_optimization.offload_optimizer.device": ("none", "cpu"),
    "zero_optimization.offload_param.device": ("none", "cpu"),
    "optimizer.type": ("AdamW", "Adam"),  # both are AdamW: DeepSpeed's Adam decouples the weight decay by default
    "scheduler.type": tuple(SCHEDULES),
    "scheduler.params.warmup_type": ("log", "linear"),
}


@dataclass(frozen=True, slots=True)
class DeepSpeedFile:
    """What such a file decides."""

    path: Path
    offload: bool
    """Whether weights or optimizer state lie in the host's memory."""
    schedule: Literal["linear", "constant", "cosine"] | None
    """None: the file has no scheduler, and the flags decide."""
    climb: str
    """Shape of its warm-up: `log`, which is DeepSpeed's default, or `linear`."""
    unused: tuple[str, ...]
    """Keys that decide nothing here."""


def read_deepspeed(text: str, beside: Path, flags: Flags, world_size: int) -> tuple[DeepSpeedFile | None, list[str]]:
    """The file that `text` names, in the working folder or in `beside`; and everything that is wrong with it."""
    given = Path(text.strip()).expanduser()
    path = next((place for place in (given, beside / given) if place.is_file()), None)
    if path is None:
        return None, [f"--deepspeed {text}: no such file, neither here nor in {beside}"]
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return None, [f"{path} is not a JSON file ({error})"]
    if not isinstance(content, dict):
        return None, [f"{path} is not a JSON object"]
    found = dict(_leaves(content))
    by_flags = _by_flags(flags, world_size)
    problems = [
        f"{path.name}: {key} is {json.dumps(found[key])}, not one of {', '.join(map(str, choices))}"
        for key, choices in _CHOICES.items()
        if key in found and found[key] not in choices
    ]
    problems += [
        f"{path.name}: {key} is {json.dumps(found[key])}, but {said} (write {json.dumps(AUTO)} in the file)"
        for key, (value, said) in by_flags.items()
        if key in found and found[key] not in (AUTO, value)
    ]
    devices = [found.get(f"zero_optimization.offload_{part}.device") for part in ("optimizer", "param")]
    file = DeepSpeedFile(
        path=path,
        offload="cpu" in devices,
        schedule=SCHEDULES.get(str(found.get("scheduler.type"))),
        climb=str(found.get("scheduler.params.warmup_type", "log")),
        unused=tuple(key for key in found if key not in _CHOICES and key not in by_flags),
    )
    return file, problems


def _leaves(content: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Values of nested objects by dotted key."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _by_flags(flags: Flags, world_size: int) -> dict[str, tuple[Any, str]]:
    """What the Trainer compared: key -> (value by the flags, how the flags say it)."""
    values = flags.values
    size, accumulation = values["per_device_train_batch_size"], values["gradient_accumulation_steps"]
    batch = f"{size} per device x {accumulation} x {world_size} processes is {size * accumulation * world_size}"
    betas = f"{flags.spelled('adam_beta1')} {flags.spelled('adam_beta2')}"
    return {
        "train_micro_batch_size_per_gpu": (size, flags.spelled("per_device_train_batch_size")),
        "gradient_accumulation_steps": (accumulation, flags.spelled("gradient_accumulation_steps")),
        "train_batch_size": (size * accumulation * world_size, batch),
        "gradient_clipping": (values["max_grad_norm"], flags.spelled("max_grad_norm")),
        "bf16.enabled": (values["bf16"], flags.spelled("bf16")),
        "fp16.enabled": (values["fp16"], flags.spelled("fp16")),
        "optimizer.params.lr": (values["learning_rate"], flags.spelled("learning_rate")),
        "optimizer.params.betas": ([values["adam_beta1"], values["adam_beta2"]], betas),
        "optimizer.params.eps": (values["adam_epsilon"], flags.spelled("adam_epsilon")),
        "optimizer.params.weight_decay": (values["weight_decay"], flags.spelled("weight_decay")),
        "scheduler.params.warmup_min_lr": (0, "the climb begins at 0"),
        "scheduler.params.warmup_max_lr": (values["learning_rate"], flags.spelled("learning_rate")),
        "scheduler.params.warmup_num_steps": (values["warmup_steps"], flags.spelled("warmup_steps")),
        "scheduler.params.total_num_steps": (values["max_steps"], flags.spelled("max_steps")),
    }
