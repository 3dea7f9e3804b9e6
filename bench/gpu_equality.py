"""The part of bench/gpu.py that shows what is equal on a GPU: attention, layouts, engines, resumption."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import torch
import torch.distributed as dist
from gpu_setup import (
    ARCHITECTURES,
    SMALL_ROWS,
    LeftOut,
    Setting,
    Training,
    checkpoints_of,
    free,
    learning,
    random_examples,
    random_model,
    shape,
    source_of,
    training,
)

from packtrain.core.adapter import parse_adapter
from packtrain.core.engine import Engine
from packtrain.train.checkpoint import Position
from packtrain.train.distributed import Processes
from packtrain.train.load import ModelSource
from packtrain.train.strategies.fsdp import Strategy as FsdpStrategy
from packtrain.train.strategy import resolve_precision

STEPS = 6
BOUNDS = {"float32": {"loss": 1e-5, "norm": 1e-4, "weights": 1e-4}, "bfloat16": {"loss": 3e-2, "norm": 1e-1}}
"""Differences that come from adding in another order, or from rounding to 8 bits: losses in nats (of about 7), norms as
a share, weights (of about 0.02, which change by 0.006)."""


@dataclass(frozen=True)
class Run:
    """Losses, gradient norms and final weights of a few steps."""

    losses: list[float]
    norms: list[float]
    weights: dict[str, torch.Tensor]
    attention: str
    packed: bool

    def off(self, other: "Run") -> dict[str, float]:
        """The largest differences from another run: losses, gradient norms (as a share), weights."""
        if self.weights.keys() != other.weights.keys():
            raise ValueError("the runs are of different models")
        pairs = zip(self.norms, other.norms, strict=True)
        return {
            "loss": max(abs(one - of) for one, of in zip(self.losses, other.losses, strict=True)),
            "norm": max(abs(one / of - 1) for one, of in pairs),
            "weights": max(float((self.weights[name] - of).abs().max()) for name, of in other.weights.items()),
        }


def made(
    setting: Setting, architecture: str, precision: str, source: Any = None, strategy: Any = None, **engine: Any
) -> Training:
    """A small model on short conversations, ready to step."""
    longest = 50 if setting.tiny else 400
    train = learning(precision=precision, max_length_tokens=longest, global_batch_size=3 if setting.tiny else 8)
    examples = random_examples(train.global_batch_size * STEPS, SMALL_ROWS, longest)
    given = source or source_of(shape(architecture, setting))
    how = Engine(**({"packing": "on"} | engine))
    return training(setting, given, examples, train, how, strategy and strategy(setting, train))


def taken(training: Training, count: int = STEPS, first_step: int = 1) -> Run:
    """So many steps, and the weights after them."""
    steps = training.take(count, first_step)
    objective = training.strategy.objective
    weights = dict(training.strategy.weights())
    return Run([s.loss for s in steps], [s.grad_norm for s in steps], weights, objective.attention, objective.packing)


def run(setting: Setting, architecture: str, precision: str, **given: Any) -> Run:
    """A few steps of a small model."""
    return taken(made(setting, architecture, precision, **given))


def judged(off: dict[str, float], precision: str) -> dict[str, Any]:
    """Differences, and whether they are within the bounds."""
    return off | {"equal": all(off[name] <= bound for name, bound in BOUNDS[precision].items())}


# Layouts and engines.


def layouts(setting: Setting, architecture: str) -> dict[str, Any]:
    """Packed = one row per conversation = one conversation at a time, in float32; and bfloat16 close to that."""
    plain = run(setting, architecture, "float32", packing="off", attention="sdpa")
    ways: dict[str, dict[str, Any]] = {
        "packed": {},
        "packed, sdpa": {"attention": "sdpa"},
        "packed, eager": {"attention": "eager"},
        "rows of 300": {"micro_batch_tokens": 300},
        "one at a time": {"micro_batch_tokens": 1},
        "padded, one at a time": {"packing": "off", "micro_batch_tokens": 1},
    }
    found = {
        name: judged(run(setting, architecture, "float32", **way).off(plain), "float32") for name, way in ways.items()
    }
    half = run(setting, architecture, "bfloat16")
    found["bfloat16, packed"] = judged(half.off(plain), "bfloat16")
    padded = run(setting, architecture, "bfloat16", packing="off", attention="sdpa")
    found["bfloat16, padded"] = judged(padded.off(plain), "bfloat16")
    found["bfloat16, packed and padded"] = judged(half.off(padded), "bfloat16")
    return {"losses": plain.losses, "differences": found, "equal": all(one["equal"] for one in found.values())}


def recomputed(setting: Setting) -> dict[str, Any]:
    """Activations computed again change nothing."""
    return _against_plain(setting, list(BOUNDS), activation_checkpointing=True)


def compiled(setting: Setting) -> dict[str, Any]:
    """Compiled layers compute the same."""
    if not setting.on_gpu:
        raise LeftOut("compilation for a CPU is not this bench's matter")
    setting.needs(60)
    try:
        return _against_plain(setting, ["float32"], compile=True)
    finally:
        torch._dynamo.reset()


def _against_plain(setting: Setting, precisions: Sequence[str], **engine: Any) -> dict[str, Any]:
    found = {}
    for precision in precisions:
        plain = run(setting, "llama", precision)
        found[precision] = judged(run(setting, "llama", precision, **engine).off(plain), precision)
    return {"differences": found, "equal": all(one["equal"] for one in found.values())}


def resumed(setting: Setting, precision: str) -> dict[str, Any]:
    """A run that is given up after its third step and goes on from the checkpoint, on kernels that always add alike."""
    try:
        return _resumed(setting, precision, strict=True)
    except RuntimeError as error:
        if "determinis" not in str(error):
            raise
        return _resumed(setting, precision, strict=False) | {"not_deterministic": str(error)[:300]}


def _resumed(setting: Setting, precision: str, *, strict: bool) -> dict[str, Any]:
    folder = setting.work / f"resumed_{precision}"
    shutil.rmtree(folder, ignore_errors=True)
    with deterministic(strict):
        whole, again = (run(setting, "llama", precision) for _ in range(2))
        first = made(setting, "llama", precision)
        first.take(3)
        checkpoints_of(first, folder, Engine()).save(Position(3, "run", None, 0.0))
        del first
        free(setting.device)
        other = made(setting, "llama", precision, source=source_of(shape("llama", setting), seed=1))
        position = checkpoints_of(other, folder, Engine()).load_newest("run")
        rest = taken(other, STEPS - 3, 4)
    off = rest.off(replace(whole, losses=whole.losses[3:], norms=whole.norms[3:]))
    exact = not any(off.values()) and position is not None and position.step == 3
    return {"from_the_whole_run": off, "whole_run_twice": again.off(whole), "equal": exact}


@contextmanager
def deterministic(strict: bool) -> Iterator[None]:
    """Kernels that add in the same order each time; RuntimeError where there is none, if `strict`."""
    torch.use_deterministic_algorithms(True, warn_only=not strict)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


# What several processes use, with one: a single GPU takes no second one.


class OneShard(FsdpStrategy):
    """FSDP with everything that belongs to it, over one process."""

    def __init__(self, processes: Processes, compute_dtype: torch.dtype) -> None:
        self.processes, self.device, self.compute_dtype = processes, processes.device, compute_dtype


def _one_shard(setting: Setting, train: Any) -> OneShard:
    return OneShard(Processes(0, 1, 0, setting.device), resolve_precision(train.precision, setting.device))


@contextmanager
def connected(setting: Setting) -> Iterator[None]:
    """torch.distributed with this process alone."""
    backend = "cpu:gloo,cuda:nccl" if setting.on_gpu else "gloo"
    meeting = setting.work / f"meeting_{os.getpid()}"
    meeting.unlink(missing_ok=True)
    dist.init_process_group(backend, init_method=f"file://{meeting}", rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _folder(setting: Setting) -> ModelSource:
    """The small LLaMA that `source_of` makes, on disk: sharded models are read from there."""
    folder = setting.work / "small"
    if not folder.exists():
        random_model(shape("llama", setting), setting.device).save_pretrained(folder)
    return ModelSource(folder, SMALL_ROWS)


def sharded(setting: Setting) -> dict[str, Any]:
    """FSDP2 = single, plain, with activations computed again, and with weights in the host's memory."""
    ways = {"plain": {}, "recomputed": {"activation_checkpointing": True}}
    if setting.on_gpu:
        ways["offloaded"] = {"cpu_offload": True}
    found: dict[str, Any] = {}
    with connected(setting):
        for precision in BOUNDS:
            alone = run(setting, "llama", precision, source=_folder(setting))
            for name, way in ways.items():
                one = run(setting, "llama", precision, source=_folder(setting), strategy=_one_shard, **way)
                found[f"{name}, {precision}"] = judged(one.off(alone), precision)
    return {"differences": found, "equal": all(one["equal"] for one in found.values())}


def asynchronous(setting: Setting) -> dict[str, Any]:
    """A checkpoint written while training goes on holds the state of its own step, bit by bit."""
    folder, engine = setting.work / "asynchronous", Engine(async_checkpoints=True)
    with connected(setting):
        first = made(setting, "llama", "bfloat16", source=_folder(setting), strategy=_one_shard)
        steps = first.steps()
        for _ in range(3):
            next(steps)
        at_three = {name: tensor.clone() for name, tensor in first.strategy.weights()}
        checkpoints = checkpoints_of(first, folder, engine, asynchronous=True)
        checkpoints.save(Position(3, "run", None, 0.0, world_size=2))
        for _ in range(2):
            next(steps)
        checkpoints.wait()
        other = made(setting, "llama", "bfloat16", source=_folder(setting), strategy=_one_shard)
        checkpoints_of(other, folder, engine, asynchronous=True).load_newest("run")
        same = all(torch.equal(tensor, at_three[name]) for name, tensor in other.strategy.weights())
        moved = any(not torch.equal(tensor, at_three[name]) for name, tensor in first.strategy.weights())
    shutil.rmtree(folder)
    return {"asynchronous": checkpoints.asynchronous, "equal": same and moved}


def adapter(setting: Setting, text: str) -> dict[str, Any]:
    """An adapter learns: its losses, which fall."""
    for package in ("peft", "bitsandbytes")[: 2 if text.startswith("qlora") else 1]:
        if find_spec(package) is None:
            raise LeftOut(f"{package} is not installed")
    source = ModelSource(_folder(setting).folder, SMALL_ROWS, adapter=parse_adapter(text))
    train = learning(lr=1e-2, precision="bfloat16", max_length_tokens=100, warmup_ratio=0.0)
    few = random_examples(8 * STEPS, 8, 100)  # of five words: easily learnt
    losses = [step.loss for step in training(setting, source, few, train, Engine()).take(STEPS)]
    return {"losses": losses, "equal": losses[-1] < losses[0]}


def equality_items() -> dict[str, Any]:
    """The measurements of the section equality by name, the most important first."""
    items: dict[str, Any] = {}
    for architecture in ARCHITECTURES:
        items[architecture] = lambda setting, a=architecture: layouts(setting, a)
    for precision in BOUNDS:
        items[f"resumed, {precision}"] = lambda setting, p=precision: resumed(setting, p)
    items |= {"recomputed": recomputed, "sharded": sharded, "asynchronous": asynchronous}
    for text in ("lora:r=8", "dora:r=8", "qlora:r=8"):
        items[text] = lambda setting, t=text: adapter(setting, t)
    return items | {"compiled": compiled}
