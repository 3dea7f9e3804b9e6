"""The part of bench/gpu.py that measures the Hugging Face Trainer and TRL's SFTTrainer at the same work."""

import time
from importlib.util import find_spec
from typing import Any

import torch
from gpu_setup import LeftOut, Setting, alpaca_examples, peak_gb, random_model, shape, synchronize
from gpu_speed import Try, measured, recipe, speed

from packtrain.train.batches import Batches
from packtrain.train.flops import Work, training_flops, work_of

WARM_STEPS, TIMED_STEPS = 2, 4
SECONDS = 35.0
"""What a measurement takes, roughly."""


def trainer(setting: Setting, size: str, batch: int, *, recompute: bool = False) -> dict[str, Any]:
    """The original recipe: rows padded to a micro-batch's longest, float32 weights, bfloat16 autocast, fused AdamW."""
    from transformers import Trainer, TrainingArguments

    setting.needs(SECONDS)
    train = recipe(setting)
    examples, _ = alpaca_examples(setting)
    steps = WARM_STEPS + (1 if setting.tiny else TIMED_STEPS)
    batches = Batches(examples, global_batch_size=train.global_batch_size, epochs=1, seed=0, order=train.order)
    chosen = [one for step in range(1, steps + 1) for one in batches.of_step(step)]
    data = [{"input_ids": list(map(int, one.input_ids)), "labels": list(map(int, one.labels))} for one in chosen]
    model = random_model(shape(size, setting), setting.device)
    arguments = TrainingArguments(**_arguments(setting, batch, train.global_batch_size // batch, steps, recompute))
    arguments.train_sampling_strategy = "sequential"
    clock = _clock(setting)
    run = Trainer(model=model, args=arguments, train_dataset=data, data_collator=_padded, callbacks=[clock])
    work = _trained(run)
    timed = chosen[WARM_STEPS * train.global_batch_size :]
    flops = training_flops(work, [len(one.input_ids) for one in timed], sum(one.learnt_tokens for one in timed))
    tokens = sum(len(one.input_ids) for one in timed)
    return _figures(setting, size, run, clock, tokens, flops) | {"batch": batch, "recomputed": recompute}


def trl(setting: Setting, size: str, batch: int, *, recompute: bool = False) -> dict[str, Any]:
    """TRL with packing: rows of 512 tokens, as many in a step as hold about the recipe's 128 conversations.

    Without a flash attention that takes the conversations' ends, which TRL asks for, they see each other.
    """
    for package in ("trl", "datasets"):
        if find_spec(package) is None:
            raise LeftOut(f"{package} is not installed")
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    setting.needs(SECONDS)
    train = recipe(setting)
    longest = train.max_length_tokens
    examples, _ = alpaca_examples(setting)
    steps = WARM_STEPS + (1 if setting.tiny else TIMED_STEPS)
    chosen = [examples[index] for index in range(min(len(examples), train.global_batch_size * (steps + 2)))]
    data = Dataset.from_list(
        [
            {
                "input_ids": list(map(int, one.input_ids)),
                "completion_mask": [int(label != -100) for label in one.labels],
            }
            for one in chosen
        ]
    )
    tokens, learnt = sum(len(one.input_ids) for one in chosen), sum(one.learnt_tokens for one in chosen)
    packed_rows = max(batch, round(train.global_batch_size * tokens / len(chosen) / longest / batch) * batch)
    model = random_model(shape(size, setting), setting.device)
    given = _arguments(setting, batch, packed_rows // batch, steps, recompute)
    arguments = SFTConfig(**given, max_length=longest, packing=True, completion_only_loss=True)
    clock = _clock(setting)
    run = SFTTrainer(
        model=model, args=arguments, train_dataset=data, processing_class=_tokenizer(model), callbacks=[clock]
    )
    work = _trained(run)
    share = packed_rows * len(clock.seconds[WARM_STEPS:]) / len(run.train_dataset)
    flops = share * training_flops(work, [len(one.input_ids) for one in chosen], learnt)
    found = _figures(setting, size, run, clock, round(share * tokens), flops)
    return found | {"batch": batch, "rows_per_step": packed_rows, "recomputed": recompute}


def _arguments(setting: Setting, batch: int, accumulation: int, steps: int, recompute: bool) -> dict[str, Any]:
    """The recipe in the Trainer's words."""
    train = recipe(setting)
    more: dict[str, Any] = {"tf32": True} if setting.on_gpu else {"use_cpu": True}
    return more | {
        "output_dir": str(setting.work / "peer"),
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": accumulation,
        "max_steps": steps,
        "learning_rate": train.lr,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 1,
        "weight_decay": train.weight_decay,
        "max_grad_norm": train.clip_norm,
        "bf16": True,
        "save_strategy": "no",
        "logging_steps": 1,
        "report_to": [],
        "disable_tqdm": True,
        "optim": "adamw_torch_fused",
        "gradient_checkpointing": recompute,
    }


def _clock(setting: Setting) -> Any:
    """A callback that notes the seconds of each step, waited for."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.seconds: list[float] = []
            self.last = 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            synchronize(setting.device)
            self.last = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            synchronize(setting.device)
            now = time.perf_counter()
            self.seconds.append(now - self.last)
            self.last = now

    return Clock()


def _padded(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Right padding to the longest row, as the original's collator does."""
    longest = max(len(row["input_ids"]) for row in rows)
    ids, labels, mask = (torch.full((len(rows), longest), value) for value in (0, -100, 0))
    for number, row in enumerate(rows):
        length = len(row["input_ids"])
        ids[number, :length] = torch.tensor(row["input_ids"])
        labels[number, :length] = torch.tensor(row["labels"])
        mask[number, :length] = 1
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}


def _tokenizer(model: Any) -> Any:
    """A tokenizer that has an end and a padding: all that TRL asks of it when rows are encoded already."""
    import tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<pad>": 0, "<s>": 1, "</s>": 2} | {f"w{number}": number for number in range(3, model.config.vocab_size)}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


def _trained(run: Any) -> Work:
    """Train, and let go of weights, gradients and optimizer state, whoever still refers to them; the model's work."""
    work = work_of(run.model)
    try:
        run.train()
    finally:
        for weight in run.model.parameters():
            weight.grad, weight.data = None, torch.empty(0, device=weight.device)
        if run.optimizer is not None:
            run.optimizer.state.clear()
    return work


def _figures(setting: Setting, size: str, run: Any, clock: Any, tokens: int, flops: float) -> dict[str, Any]:
    """Speed at the same count of operations as ours, and peak memory."""
    return speed(setting, size, tokens, sum(clock.seconds[WARM_STEPS:]), flops, torch.bfloat16) | {
        "model": size,
        "step_s": clock.seconds,
        "peak_gb": peak_gb(setting.device),
        "losses": [line["loss"] for line in run.state.log_history if "loss" in line],
    }


def peer(setting: Setting, contender: str, size: str, batch: int, *, recompute: bool = False) -> dict[str, Any]:
    """A contender at a setting, unless an easier one went well already."""
    plain = f"{contender}.7b, {batch}"
    if recompute and setting.done.get(plain, {}).get("status") != "out of memory":
        raise LeftOut("only where memory does not suffice otherwise")
    if size != "7b" and any(
        one.get("status") == "ok" for name, one in setting.done.items() if name.startswith(f"{contender}.7b")
    ):
        raise LeftOut("the 7B shape could be measured")
    run = {"trainer": trainer, "trl": trl}[contender]
    return run(setting, size, batch, recompute=recompute)


def ours_at(setting: Setting, contender: str, size: str) -> dict[str, Any]:
    """Our own figure at the size that a contender could be measured at."""
    if not setting.fits(f"{contender}.{size}, 4"):
        raise LeftOut("no need")
    setting.needs(15)
    return measured(setting, Try(8_192), size)


def peer_items(contender: str) -> dict[str, Any]:
    """The measurements of a contender by name: the original batch of 4 first, then what fills the device better."""
    return {
        "7b, 4": lambda setting: peer(setting, contender, "7b", 4),
        "7b, 4, recomputed": lambda setting: peer(setting, contender, "7b", 4, recompute=True),
        "1.3b, 4": lambda setting: peer(setting, contender, "1.3b", 4),
        "1.3b, ours": lambda setting: ours_at(setting, contender, "1.3b"),
        "7b, 8": lambda setting: peer(setting, contender, "7b", 8),
        "7b, 16": lambda setting: peer(setting, contender, "7b", 16),
    }


def trainer_items() -> dict[str, Any]:
    """The measurements of the section trainer by name."""
    return peer_items("trainer")


def trl_items() -> dict[str, Any]:
    """The measurements of the section trl by name."""
    return peer_items("trl")
