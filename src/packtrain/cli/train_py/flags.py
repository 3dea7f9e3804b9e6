"""The flags of Stanford Alpaca's train.py: what each takes, what it was by default, and why some have no effect now.

They are those that train.py declares itself and those of TrainingArguments of the transformers it asked for (4.28),
which it took over; `gradient_checkpointing_kwargs` and the like of later versions are not known.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

NEEDED = {"data_path": "the training data, a JSON list as alpaca_data.json", "output_dir": "folder for the tuned model"}
"""Flags without a default that makes sense."""
SECRETS = ("hub_token", "push_to_hub_token")
"""Their values are never shown."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a flag takes; `read` makes a value of the text and raises ValueError for a wrong one."""

    what: str
    read: Callable[[str], Any]
    words: Literal["one", "optional", "several"] = "one"
    """How many words behind the flag belong to it."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag."""

    kind: Kind
    default: Any = None
    no_effect: str = ""
    """Why it has none; empty when it has one."""


def _truth(text: str) -> bool:
    lowered = text.lower()
    if lowered not in ("yes", "true", "t", "y", "1", "no", "false", "f", "n", "0"):
        raise ValueError(text)
    return lowered in ("yes", "true", "t", "y", "1")


def _resumes(text: str) -> bool:
    return text.strip().lower() not in ("false", "no", "none", "0", "")


def _whole(what: str, low: float = -math.inf) -> Kind:
    def read(text: str) -> int:
        if int(text) < low:
            raise ValueError(text)
        return int(text)

    return Kind(what, read)


def _number(what: str, accepts: Callable[[float], bool] = math.isfinite) -> Kind:
    def read(text: str) -> float:
        value = float(text)
        if not math.isfinite(value) or not accepts(value):
            raise ValueError(text)
        return value

    return Kind(what, read)


def _choice(*options: str, why: str = "") -> Kind:
    def read(text: str) -> str:
        if text.strip() not in options:
            raise ValueError(text)
        return text.strip()

    return Kind(f"one of {', '.join(options)}{why}", read)


FSDP_OPTIONS = ("full_shard", "shard_grad_op", "no_shard", "hybrid_shard", "offload", "auto_wrap")


def _fsdp(text: str) -> tuple[str, ...]:
    options = tuple(text.split())
    if not set(options) <= set(FSDP_OPTIONS):
        raise ValueError(text)
    return options


TRUTH = Kind("True or False", _truth, "optional")
TEXT = Kind("a text", str)
SEVERAL = Kind("words", str, "several")
COUNT, WHOLE = _whole("a whole number from 1", 1), _whole("a whole number")
FROM_0 = _number("a number from 0", lambda value: value >= 0)
ABOVE_0 = _number("a number above 0", lambda value: value > 0)
SHARE = _number("a number from 0 to below 1", lambda value: 0 <= value < 1)
INTERVAL = _choice("no", "steps", "epoch")
OPTIMIZER = _choice(
    "adamw_torch", "adamw_hf", "adamw_torch_fused", "adamw_torch_xla", "adamw_apex_fused", why=" (all AdamW: no other)"
)
SCHEDULE = _choice("linear", "cosine", "cosine_with_restarts", "constant", "constant_with_warmup")

WITH_EFFECT = {
    "model_name_or_path": Flag(Kind("a folder or a Hub id", str), "facebook/opt-125m"),
    "data_path": Flag(Kind("a JSON file of rows as in alpaca_data.json", str)),
    "output_dir": Flag(Kind("a folder for the tuned model", str)),
    "overwrite_output_dir": Flag(TRUTH, False),
    "resume_from_checkpoint": Flag(Kind("True or a folder", _resumes, "optional"), False),
    "cache_dir": Flag(Kind("a folder for models of the Hub", str)),
    "seed": Flag(_whole("a whole number from 0", 0), 42),
    "learning_rate": Flag(ABOVE_0, 5e-5),
    "num_train_epochs": Flag(ABOVE_0, 3.0),
    "max_steps": Flag(WHOLE, -1),
    "lr_scheduler_type": Flag(SCHEDULE, "linear"),
    "warmup_ratio": Flag(SHARE, 0.0),
    "warmup_steps": Flag(_whole("a whole number from 0", 0), 0),
    "per_device_train_batch_size": Flag(COUNT, 8),
    "per_gpu_train_batch_size": Flag(COUNT),
    "gradient_accumulation_steps": Flag(COUNT, 1),
    "dataloader_drop_last": Flag(TRUTH, False),
    "model_max_length": Flag(COUNT, 512),
    "weight_decay": Flag(FROM_0, 0.0),
    "adam_beta1": Flag(SHARE, 0.9),
    "adam_beta2": Flag(SHARE, 0.999),
    "adam_epsilon": Flag(ABOVE_0, 1e-8),
    "max_grad_norm": Flag(FROM_0, 1.0),
    "optim": Flag(OPTIMIZER, "adamw_torch"),
    "bf16": Flag(TRUTH, False),
    "fp16": Flag(TRUTH, False),
    "tf32": Flag(TRUTH),
    "no_cuda": Flag(TRUTH, False),
    "fsdp": Flag(Kind(f"of {', '.join(FSDP_OPTIONS)}, in one pair of quotes", _fsdp), ()),
    "fsdp_transformer_layer_cls_to_wrap": Flag(Kind("the name of a class", str)),
    "deepspeed": Flag(Kind("a JSON file", str)),
    "gradient_checkpointing": Flag(TRUTH, False),
    "torch_compile": Flag(TRUTH, False),
    "save_strategy": Flag(INTERVAL, "steps"),
    "save_steps": Flag(COUNT, 500),
    "save_total_limit": Flag(WHOLE),
    "report_to": Flag(Kind("tensorboard, wandb, all or none", str, "several")),
    "run_name": Flag(Kind("a name for wandb", str)),
    "adafactor": Flag(TRUTH, False),
    "label_smoothing_factor": Flag(FROM_0, 0.0),
    "load_best_model_at_end": Flag(TRUTH, False),
    "push_to_hub": Flag(TRUTH, False),
}
WITHOUT_EFFECT: tuple[tuple[str, Mapping[str, Kind]], ...] = (
    (
        "nothing is measured while training: packtrain evaluate does it afterwards",
        dict.fromkeys(("evaluation_strategy", "eval_strategy"), INTERVAL)
        | dict.fromkeys(("per_device_eval_batch_size", "per_gpu_eval_batch_size", "eval_accumulation_steps"), COUNT)
        | dict.fromkeys(("eval_steps", "past_index"), WHOLE)
        | dict.fromkeys(("do_eval", "do_predict", "prediction_loss_only", "bf16_full_eval", "fp16_full_eval"), TRUTH)
        | dict.fromkeys(("jit_mode_eval", "include_inputs_for_metrics", "use_legacy_prediction_loop"), TRUTH)
        | {"eval_delay": FROM_0, "metric_for_best_model": TEXT, "greater_is_better": TRUTH, "label_names": SEVERAL},
    ),
    (
        "metrics.jsonl has a line for every step",
        {"logging_strategy": INTERVAL, "logging_steps": COUNT, "logging_first_step": TRUTH},
    ),
    ("what is logged lies in the output folder", {"logging_dir": TEXT}),
    ("a loss that is not finite stops the run", {"logging_nan_inf_filter": TRUTH}),
    (
        "the first process alone speaks, on stderr",
        {"log_level": TEXT, "log_level_replica": TEXT, "log_on_each_node": TRUTH, "disable_tqdm": TRUTH},
    ),
    ("tracebacks are shown", {"debug": Kind("a text", str, "optional")}),
    ("train.py always trains", {"do_train": TRUTH}),
    ("--seed decides the order of the rows", {"data_seed": WHOLE}),
    (
        "weights are written as safetensors, by the first process",
        {"save_safetensors": TRUTH, "save_on_each_node": TRUTH},
    ),
    ("the same seed gives the same bytes without it", {"full_determinism": TRUTH}),
    ("the device is found", {"use_mps_device": TRUTH, "use_ipex": TRUTH, "xpu_backend": TEXT, "tpu_num_cores": WHOLE}),
    ("memory is in metrics.jsonl", {"tpu_metrics_debug": TRUTH, "skip_memory_metrics": TRUTH}),
    (
        "there is no gradient scaler: the weights are float32, the computation bfloat16 or float32",
        {"fp16_opt_level": TEXT, "half_precision_backend": TEXT, "fp16_backend": TEXT},
    ),
    (
        "torchrun and the engine see to the processes",
        {"local_rank": WHOLE, "ddp_timeout": WHOLE, "ddp_backend": TEXT, "ddp_find_unused_parameters": TRUTH}
        | {"ddp_bucket_cap_mb": WHOLE, "sharded_ddp": TEXT, "mp_parameters": TEXT, "ray_scope": TEXT},
    ),
    (
        "every layer is sharded, and the layers are found from the model",
        {"fsdp_min_num_params": WHOLE, "fsdp_config": TEXT},
    ),
    (
        "rows are encoded once, read from a memory map and packed without padding",
        {"dataloader_num_workers": WHOLE, "dataloader_pin_memory": TRUTH, "remove_unused_columns": TRUTH}
        | {"group_by_length": TRUTH, "length_column_name": TEXT, "auto_find_batch_size": TRUTH},
    ),
    ("a resumed run goes on where it was", {"ignore_data_skip": TRUTH}),
    ("AdamW has flags of its own", {"optim_args": TEXT}),
    (
        "--torch_compile True compiles each layer",
        {"torchdynamo": TEXT, "torch_compile_backend": TEXT, "torch_compile_mode": TEXT},
    ),
    (
        "nothing is uploaded",
        dict.fromkeys((*SECRETS, "hub_model_id", "hub_strategy", "push_to_hub_model_id"), TEXT)
        | {"hub_private_repo": TRUTH, "push_to_hub_organization": TEXT},
    ),
)
FLAGS: Mapping[str, Flag] = WITH_EFFECT | {
    name: Flag(kind, None, why) for why, kinds in WITHOUT_EFFECT for name, kind in kinds.items()
}
