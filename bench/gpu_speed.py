"""The part of bench/gpu.py that measures full fine-tunes: time, memory, and where both go."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import torch
from gpu_plan import planned_gb
from gpu_setup import (
    GB,
    LeftOut,
    Setting,
    Training,
    alpaca_examples,
    peak_gb,
    shape,
    source_of,
    synchronize,
    training,
)

from packtrain.core.engine import Engine
from packtrain.core.recipe import Train
from packtrain.core.recipe_file import load_recipe
from packtrain.train.flops import mfu, peak_flops
from packtrain.train.packing import example_weights, micro_batches

RECIPE_STEPS = 1_218
"""Of alpaca-7b: in each of three epochs 406 of 128 rows, of 52,002."""
WARM_STEPS, TIMED_STEPS, LONG_STEPS = 2, 4, 16
SECONDS = {"plain": 22.0, "compiled": 75.0, "long": 40.0, "profile": 25.0}
"""What a measurement takes, roughly: none is begun that would not end in time."""


@dataclass(frozen=True)
class Try:
    """How the machine computes the recipe."""

    tokens: int
    recompute: bool = False
    compile: bool = False

    def engine(self) -> Engine:
        """As settings of the engine."""
        return Engine(
            packing="on", micro_batch_tokens=self.tokens, activation_checkpointing=self.recompute, compile=self.compile
        )


TRIES = {
    "16k, recomputed": Try(16_384, recompute=True),
    "8k": Try(8_192),
    "4k": Try(4_096),
    "3k": Try(3_072),
    "2k": Try(2_048),
    "32k, recomputed": Try(32_768, recompute=True),
    "8k, recomputed": Try(8_192, recompute=True),
}
PLAIN = [name for name, one in TRIES.items() if not one.recompute]
"""Without recomputation: from the largest to the first that fits, and the one after it."""


def rows(setting: Setting) -> dict[str, Any]:
    """What the conversations are, and how many tokens the whole recipe has."""
    examples, which = alpaca_examples(setting)
    some = [examples[index] for index in range(0, len(examples), max(1, len(examples) // 4096))]
    lengths = [len(one.input_ids) for one in some]
    return {
        "rows": which,
        "count": len(examples),
        "mean_tokens": sum(lengths) / len(lengths),
        "median_tokens": median(lengths),
        "learnt_share": sum(one.learnt_tokens for one in some) / sum(lengths),
        "recipe_tokens": int(sum(lengths) / len(lengths) * recipe(setting).global_batch_size * RECIPE_STEPS),
    }


def recipe(setting: Setting, precision: str = "auto") -> Train:
    """The learning of alpaca-7b; with a small batch for a trial."""
    train = load_recipe("alpaca-7b", [f"train.precision={precision}"]).train
    return train.model_copy(update={"global_batch_size": 8}) if setting.tiny else train


def opened(setting: Setting, how: Try, size: str = "7b", precision: str = "auto") -> Training:
    """A model of that size, ready to step through Alpaca's conversations."""
    examples, _ = alpaca_examples(setting)
    return training(setting, source_of(shape(size, setting)), examples, recipe(setting, precision), how.engine())


def measured(
    setting: Setting, how: Try, size: str = "7b", steps: int = TIMED_STEPS, precision: str = "auto"
) -> dict[str, Any]:
    """Speed and memory of a full fine-tune, after a few steps to warm up."""
    begun = time.perf_counter()
    held = opened(setting, how, size, precision)
    synchronize(setting.device)
    build_s = time.perf_counter() - begun
    running = held.steps()
    warm = [next(running) for _ in range(WARM_STEPS)]
    synchronize(setting.device)
    begun = time.perf_counter()
    timed = [next(running) for _ in range(2 if setting.tiny else steps)]
    synchronize(setting.device)
    seconds = time.perf_counter() - begun
    tokens, flops = sum(step.tokens for step in timed), sum(step.flops for step in timed)
    strategy = held.strategy
    return (
        speed(setting, size, tokens, seconds, flops, strategy.compute_dtype)
        | {
            "model": size,
            "try": asdict(how),
            "attention": strategy.objective.attention,
            "packed": strategy.objective.packing,
            "strategy": strategy.describe(),
            "build_s": build_s,
            "warm_step_s": [step.seconds for step in warm],
            "step_s": [step.seconds for step in timed],
            "learnt_tokens": sum(step.learnt_tokens for step in timed),
            "losses": [step.loss for step in (*warm, *timed)],
            "grad_norms": [step.grad_norm for step in (*warm, *timed)],
        }
        | memory(setting, size, how, precision)
    )


def speed(setting: Setting, size: str, tokens: int, seconds: float, flops: float, dtype: torch.dtype) -> dict[str, Any]:
    """Tokens per second, use of the device, and for LLaMA-7B what they mean for the whole recipe."""
    peak = peak_flops(setting.device, dtype)
    reached = setting.done.get("environment.matrix_products", {}).get("tflops", {}).get("square")
    whole = setting.done.get("environment.rows", {}).get("recipe_tokens")
    return {
        "tokens": tokens,
        "seconds": seconds,
        "tokens_per_s": tokens / seconds,
        "mfu": mfu(flops, seconds, peak),
        "share_of_measured_matrix_speed": flops / seconds / (reached * 1e12) if reached else None,
        "recipe_minutes": whole / tokens * seconds / 60 if whole and size == "7b" else None,
    }


def memory(setting: Setting, size: str, how: Try, precision: str) -> dict[str, Any]:
    """Peak memory, and what the plan says it would be."""
    peak = peak_gb(setting.device)
    reserved = torch.cuda.max_memory_reserved(setting.device) / GB if setting.on_gpu else None
    examples, _ = alpaca_examples(setting)
    plan = planned_gb(setting, shape(size, setting), how.engine(), precision, examples)
    by_plan = peak / plan["planned_gb"] if peak and plan["planned_gb"] else None
    return {"peak_gb": peak, "reserved_gb": reserved, "peak_by_plan": by_plan} | plan


def tried(setting: Setting, name: str) -> dict[str, Any]:
    """One of TRIES; without recomputation only what may be the best: the largest that fits, and one smaller."""
    if name in PLAIN:
        larger = PLAIN[: PLAIN.index(name)]
        if sum(setting.fits(f"main.{one}") for one in larger) > (0 if setting.tiny else 1):
            raise LeftOut("larger micro-batches fit")
    setting.needs(SECONDS["plain"])
    found = measured(setting, TRIES[name])
    return found | _agreement(setting, found)


def _agreement(setting: Setting, found: Mapping[str, Any]) -> dict[str, Any]:
    """How far the losses are from those of the first setting, which sees the same batches."""
    first = next((one for name, one in setting.done.items() if name.startswith("main.") and one.get("losses")), None)
    if first is None:
        return {}
    return {"loss_off": max(abs(one - of) for one, of in zip(found["losses"], first["losses"], strict=False))}


def _best(setting: Setting, *, compiled: bool = True) -> Try:
    """The fastest setting so far."""
    done = [one for name, one in setting.done.items() if name.startswith("main.") and one.get("tokens_per_s")]
    fitting = [one for one in done if compiled or not one["try"]["compile"]]
    if not fitting:
        raise LeftOut("no setting went well")
    return Try(**max(fitting, key=lambda one: one["tokens_per_s"])["try"])


def compiled(setting: Setting, more_tokens: float = 1.0) -> dict[str, Any]:
    """The fastest setting with compiled layers, which keep less; perhaps with more tokens at once."""
    if not setting.on_gpu:
        raise LeftOut("compilation for a CPU is not this bench's matter")
    if more_tokens > 1 and not setting.fits("main.compiled"):
        raise LeftOut("compiled layers did not go well")
    setting.needs(SECONDS["compiled"] + SECONDS["long"])
    best = _best(setting, compiled=False)
    try:
        found = measured(setting, replace(best, compile=True, tokens=int(best.tokens * more_tokens)))
    finally:
        torch._dynamo.reset()
    return found | _agreement(setting, found)


def long(setting: Setting) -> dict[str, Any]:
    """The fastest setting again, for more steps: the figure."""
    best = _best(setting)
    setting.needs(SECONDS["compiled"] if best.compile else SECONDS["long"])
    return measured(setting, best, steps=LONG_STEPS)


def profile(setting: Setting) -> dict[str, Any]:
    """Where the time of a step goes: its two parts, and the kernels that take most of it."""
    setting.needs(SECONDS["profile"])
    how = _best(setting, compiled=False)
    held = opened(setting, how)
    held.take(WARM_STEPS)
    parts = _parts(setting, held)
    activities = [torch.profiler.ProfilerActivity.CPU]
    if setting.on_gpu:
        activities = [torch.profiler.ProfilerActivity.CUDA]
    begun = time.perf_counter()
    with torch.profiler.profile(activities=activities) as profiler:
        held.take(1, WARM_STEPS + 1)
        synchronize(setting.device)
    seconds = time.perf_counter() - begun
    clock = "self_device_time_total" if setting.on_gpu else "self_cpu_time_total"
    kernels = sorted(profiler.key_averages(), key=lambda one: -getattr(one, clock))
    busy = sum(getattr(one, clock) for one in kernels) / 1e6
    top = [{"kernel": one.key[:120], "calls": one.count, "ms": getattr(one, clock) / 1e3} for one in kernels[:30]]
    return {"try": asdict(how), "parts": parts, "profiled_step_s": seconds, "busy_s": busy, "kernels": top}


def _parts(setting: Setting, held: Training) -> dict[str, Any]:
    """Seconds of one step's micro-batches and of its update, each waited for."""
    examples = held.batches.of_step(WARM_STEPS + 1)
    strategy, weights = held.strategy, example_weights(examples, held.train)
    synchronize(setting.device)
    begun = time.perf_counter()
    batches = micro_batches(examples, weights, held.layout)
    laid_out = time.perf_counter()
    for batch in batches:
        strategy.accumulate(batch)
    synchronize(setting.device)
    computed = time.perf_counter()
    strategy.update(0.0, held.train.clip_norm, lambda _norm: None)
    synchronize(setting.device)
    return {
        "micro_batches": [sum(batch.lengths) for batch in batches],
        "layout_s": laid_out - begun,
        "micro_batches_s": computed - laid_out,
        "update_s": time.perf_counter() - computed,
    }


def grid(setting: Setting, size: str, how: Try, precision: str) -> dict[str, Any]:
    """Peak memory of another size, beside the plan's."""
    setting.needs(8)
    return measured(setting, how, size, steps=1, precision=precision)


def main_items() -> dict[str, Any]:
    """The measurements of the section main by name, in the order in which they matter."""
    tries: dict[str, Any] = {name: lambda setting, n=name: tried(setting, n) for name in TRIES}
    first = {name: tries[name] for name in ("16k, recomputed", *PLAIN)}
    more = {"compiled": compiled, "compiled, more tokens": lambda setting: compiled(setting, 1.5)}
    return first | more | {"long": long, "profile": profile} | tries


def memory_items() -> dict[str, Any]:
    """The measurements of the section memory by name."""
    items: dict[str, Any] = {}
    for size in ("160m", "1.3b"):
        for how, precision in (
            (Try(2_048), "bfloat16"),
            (Try(8_192), "bfloat16"),
            (Try(8_192, recompute=True), "bfloat16"),
            (Try(2_048), "float32"),
        ):
            name = f"{size}, {how.tokens}, {precision}{', recomputed' * how.recompute}"
            items[name] = lambda setting, s=size, h=how, p=precision: grid(setting, s, h, p)
    return items
