"""The part of bench/gpu.py that proves the attention of packed rows: the self-test, and the kernels themselves."""

from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

import torch
from gpu_setup import ARCHITECTURES, Setting, random_model, shape, without_varlen

from packtrain.core.engine import Engine
from packtrain.train import attention
from packtrain.train.distributed import Processes
from packtrain.train.objective import Objective, evaluating
from packtrain.train.self_test import Trial, prove
from packtrain.train.strategy import resolve_precision

KERNEL_LENGTHS = (300, 1, 126, 513, 64, 7, 2)
KERNELS: dict[str, dict[str, Any]] = {
    "heads of 128": {"heads": 32, "width": 128},
    "heads of 64, grouped": {"heads": 8, "width": 64, "groups": 4},
    "heads of 80": {"heads": 4, "width": 80},
    "heads of 256": {"heads": 4, "width": 256, "groups": 2},
    "window of 100": {"heads": 4, "width": 64, "window": 100},
    "own scale": {"heads": 4, "width": 64, "scaling": 0.3},
}
KERNEL_BOUND = 2e-2
"""Share of the norm by which bfloat16 kernels may differ from float32 (bfloat16 has steps of 8e-3)."""


def verdicts(setting: Setting, architecture: str, precision: str) -> dict[str, Any]:
    """What the self-test says of every attention, several conversations in a row and one in each; and its choice."""
    alone = Processes(0, 1, 0, setting.device)
    dtype = resolve_precision(precision, setting.device)
    model = random_model(shape(architecture, setting), setting.device)
    for weight in model.parameters():
        weight.data = weight.data.to(dtype)
    objective = Objective(model, dtype)
    found: dict[str, Any] = {}
    with evaluating(objective):
        trial = Trial(objective, alone, 512)
        for name, context in (("segments", nullcontext), ("segments, one call each", without_varlen)):
            with context():
                found[name] = asdict(trial.of("segments", "packed"))
        for plain in ("sdpa", "eager", "flash_attention_2"):
            found[plain] = asdict(trial.of(plain, "packed"))
        found["sdpa, padded"] = asdict(trial.of("sdpa", "padded"))
        found["segments, padded"] = asdict(trial.of("segments", "padded"))
    chosen = prove(objective, Engine(), alone, 512)[-1]
    varlen = setting.on_gpu and dtype != torch.float32 and attention._varlen_fits()
    return {
        "verdicts": found,
        "words_felt": trial.felt,
        "chosen": f"{chosen.attention}, {chosen.rows}",
        "segments_are_one_kernel": varlen,
        "exact": [name for name, verdict in found.items() if verdict["exact"]],
    }


def kernel(setting: Setting, **case: Any) -> dict[str, Any]:
    """`segments` at real lengths, forward and backward, against float32 and one call per conversation."""
    half = torch.bfloat16
    expected = _attended(setting, torch.float32, **case)
    with without_varlen():
        apart = _attended(setting, half, **case)
    found = _attended(setting, half, **case)
    return {
        "varlen": {name: _share(found[name], expected[name]) for name in expected},
        "one_call_each": {name: _share(apart[name], expected[name]) for name in expected},
        "equal": all(_share(found[name], expected[name]) <= KERNEL_BOUND for name in expected),
    }


def _attended(
    setting: Setting,
    dtype: torch.dtype,
    *,
    heads: int,
    width: int,
    groups: int = 1,
    window: int | None = None,
    scaling: float | None = None,
) -> dict[str, torch.Tensor]:
    """Output and gradients of `segments` on the same random numbers, in float32."""
    generator = torch.Generator().manual_seed(0)
    length = sum(KERNEL_LENGTHS)
    ends = torch.tensor([0, *KERNEL_LENGTHS]).cumsum(0).to(setting.device, torch.int32)
    attention._row.lengths, attention._row.ends = KERNEL_LENGTHS, ends
    sizes = (heads, heads // groups, heads // groups, heads)
    drawn = [torch.randn(1, count, length, width, generator=generator).bfloat16() for count in sizes]
    query, key, value = (one.to(setting.device, dtype).requires_grad_() for one in drawn[:3])
    try:
        more = {"scaling": scaling, "sliding_window": window}
        found, _ = attention.segment_attention(torch.nn.Identity(), query, key, value, None, **more)
        found.backward(drawn[3].to(setting.device, dtype).transpose(1, 2))
    finally:
        attention._row.lengths = attention._row.ends = None
    grads = {"query": query.grad, "key": key.grad, "value": value.grad}
    return {"output": found.detach().float()} | {name: grad.float() for name, grad in grads.items() if grad is not None}


def _share(one: torch.Tensor, of: torch.Tensor) -> float:
    return float((one - of).norm() / of.norm())


def self_test_items() -> dict[str, Any]:
    """The measurements of the section self_test by name."""
    items: dict[str, Any] = {}
    for precision in ("bfloat16", "float32"):
        for architecture in ARCHITECTURES:
            name = f"{architecture}, {precision}"
            items[name] = lambda setting, a=architecture, p=precision: verdicts(setting, a, p)
    return items | {name: lambda setting, c=case: kernel(setting, **c) for name, case in KERNELS.items()}
