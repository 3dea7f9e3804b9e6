"""Whether a recipe fits, and what would make it fit."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from packtrain.core.engine import Engine
from packtrain.core.errors import UserError
from packtrain.core.recipe import Recipe
from packtrain.core.recipe_file import load_recipe
from packtrain.train.plan import disk
from packtrain.train.plan.advice import Advice, advise
from packtrain.train.plan.hardware import parse_hardware
from packtrain.train.plan.model_shape import FoundConfig, find_config
from packtrain.train.plan.plan import Plan, Planner, Setting, plan
from packtrain.train.plan.workload import Workload

LLAMA = {
    "model_type": "llama",
    "vocab_size": 4000,
    "hidden_size": 512,
    "intermediate_size": 1376,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "max_position_embeddings": 512,
}
"""10.4 million weights."""
FOUND = FoundConfig(LLAMA, "here")
DATA = Workload(10_000, (120,), 0.5, "as stated")


def setting(on: str, *overrides: str, engine: Engine | None = None) -> Setting:
    recipe = load_recipe("default", ["train.max_length_tokens=128", "train.global_batch_size=64", *overrides])
    return Setting(recipe, engine or Engine(), parse_hardware(on), DATA, FOUND)


def planned(on: str, *overrides: str, **engine: Any) -> Plan:
    return Planner(FOUND).plan(setting(on, *overrides, engine=Engine(**engine)))


def advised(on: str, *overrides: str, **engine: Any) -> list[Advice]:
    planner = Planner(FOUND)
    return advise(planner.plan(setting(on, *overrides, engine=Engine(**engine))), planner)


def test_what_fits_needs_no_advice() -> None:
    found = planned("RTX-4090")
    assert found.fits
    assert not found.tight
    assert advised("RTX-4090") == []


def test_ways_come_in_order_each_with_its_figure() -> None:
    ways = advised("2xMyGPU-0.6G")
    assert [way.what.split(" (")[0] for way in ways] == [
        "activation checkpointing",
        "smaller micro-batches",
        "64 GPUs",
        "offloading to the host's memory",
        "LoRA: an adapter is trained",
        "QLoRA, on one device: an adapter is trained",
    ]
    assert [way.plan.fits for way in ways] == [False] * 5 + [True]  # what connects GPUs alone takes most of it
    assert ways[0].settings == "engine.activation_checkpointing=true"
    assert ways[1].settings == "engine.micro_batch_tokens=128 engine.activation_checkpointing=true"
    assert ways[3].settings.endswith("engine.cpu_offload=true")
    assert ways[4].settings.startswith("train.lr=0.0002 train.adapter=lora ")
    peaks = [way.plan.memory.device_peak for way in ways]
    assert peaks == sorted(peaks, reverse=True) or min(peaks[3:]) < peaks[0]
    assert ways[5].plan.setting.hardware.devices == 1
    assert ways[0].as_json()["device_peak_bytes"] == peaks[0]


def test_the_fewest_gpus_that_suffice() -> None:
    alpaca = load_recipe("alpaca-7b")
    planner = Planner(find_config(alpaca.base))
    found = planner.plan(Setting(alpaca, Engine(), parse_hardware("MyGPU-128G"), DATA, find_config(alpaca.base)))
    ways = {way.what.split(":")[0]: way for way in advise(found, planner)}
    assert not found.fits
    assert ways["activation checkpointing (a third slower)"].plan.fits
    assert "smaller micro-batches" not in ways
    more = ways["2 GPUs"]
    assert (more.plan.fits, more.plan.setting.strategy) == (True, "fsdp")
    assert more.plan.setting.engine == Engine()  # checkpointing suffices alone, so more GPUs can do without it
    assert more.settings == ""
    assert ways["LoRA"].plan.memory.device_peak < found.memory.device_peak


def test_the_largest_micro_batch_that_fits() -> None:
    least = planned("MyGPU-40G", activation_checkpointing=True, micro_batch_tokens=1024).memory.device_peak
    [way] = [
        way
        for way in advised(f"MyGPU-{1.001 * least / 2**30:.5f}G", activation_checkpointing=True)
        if way.what == "smaller micro-batches"
    ]
    assert way.plan.fits
    assert way.settings == "engine.micro_batch_tokens=1024"


def test_a_cpu_is_advised_without_gpus() -> None:
    whats = [way.what for way in advised("cpu:0.3G", micro_batch_tokens=256)]
    assert not any("GPU" in what or "offload" in what for what in whats)
    assert whats[-2:] == ["LoRA: an adapter is trained", "QLoRA, on one device: an adapter is trained"]


def test_an_adapter_is_not_advised_to_who_has_one() -> None:
    assert not any("LoRA" in way.what for way in advised("MyGPU-0.6G", "train.adapter=lora"))


def test_less_than_the_plan_may_be_wrong_is_called_tight() -> None:
    peak = planned("MyGPU-40G").memory.device_peak
    found = planned(f"MyGPU-{1.05 * peak / 2**30:.4f}G")
    assert (found.fits, found.tight) == (True, True)


def test_a_host_or_a_disk_that_is_too_small_does_not_fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from dataclasses import replace

    before = setting("RTX-4090")
    small_host = replace(before, hardware=replace(before.hardware, host_bytes=1_000_000_000))
    found = Planner(FOUND).plan(small_host)
    assert (found.fits_device, found.fits_host, found.fits) == (True, False, False)

    class Usage:
        free = 1000

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage())
    full = Planner(FOUND).plan(replace(before, out=tmp_path / "a" / "b"))
    assert (full.fits_disk, full.fits, full.disk.free) == (False, False, 1000)


def test_disk_by_its_parts() -> None:
    found = planned("RTX-4090", "release.dtype=bfloat16", keep_last=2)
    weights = found.shape.weights
    assert found.disk.terms["checkpoints, 2 kept and one being written"] == 3 * 12 * weights
    assert found.disk.terms["tuned model, bfloat16"] == 2 * weights
    assert found.disk.terms["base"] == disk.PUBLISHED * weights
    assert found.disk.beside_output == 38 * weights
    adapter = planned("RTX-4090", "train.adapter=lora")
    assert adapter.disk.terms["checkpoints, 1 kept and one being written"] == 2 * 12 * adapter.shape.added


def test_time_is_operations_over_what_is_reached() -> None:
    found = planned("4xA100-80G")
    assert found.time.steps == -(-10_000 // 64) * 3
    assert found.time.tokens == 10_000 * 3 * 120
    head = 512 * 4000
    body = found.shape.weights - 2 * head
    attention = 12 * 512 * found.shape.layers * 121 / 2
    assert found.time.flops == pytest.approx((6 * body + 3 * head + attention) * found.time.tokens, rel=0.001)
    assert found.time.flops is not None
    assert found.time.seconds == pytest.approx(found.time.flops / (4 * 312e12 * 0.5))
    assert found.time.assumption == "50 % of 312 TFLOP/s in bfloat16 on each device"
    again = planned("4xA100-80G", activation_checkpointing=True)
    assert again.time.seconds == pytest.approx(4 / 3 * found.time.flops / (4 * 312e12 * 0.5))
    assert planned("4xMyGPU-48G").time.seconds is None


def test_a_gpu_without_bfloat16_computes_in_float32() -> None:
    assert setting("V100-32G").compute_dtype == torch.float32
    assert setting("V100-32G", "train.precision=bfloat16").compute_dtype == torch.bfloat16
    assert setting("A100-40G").compute_dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("on", "overrides", "engine", "message"),
    [
        ("A100-40G", ["train.max_length_tokens=600"], {}, "the context of the base is 512 tokens"),
        ("8xA100-40G", ["train.global_batch_size=4"], {}, "less than the 8 processes"),
        ("2xA100-40G", [], {"strategy": "single"}, "engine.strategy=single is one device, not 2"),
        ("2xA100-40G", ["train.adapter=qlora"], {}, "qlora trains on one device"),
        ("2xA100-40G", ["train.adapter=lora:rank=3"], {}, "unknown setting of lora"),
        ("A100-40G", [], {"cpu_offload": True}, "engine.cpu_offload is for several processes on GPUs"),
        ("4xA100-40G", [], {"replicas": 3}, "4 devices cannot hold 3 copies"),
    ],
)
def test_what_training_would_refuse_is_refused(
    on: str, overrides: list[str], engine: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        planned(on, *overrides, **engine)


def test_planning_in_one_call(tiny_base: Path) -> None:
    recipe: Recipe = load_recipe("default", [f"base.path={tiny_base}", "train.max_length_tokens=64"])
    found = plan(recipe, Engine(), parse_hardware("RTX-4090"), DATA)
    assert found.memory.allocated == sum(
        size for name, size in found.memory.device.items() if name not in ("allocator's reserve", "CUDA")
    )
    assert found.disk.terms["base"] == sum(file.stat().st_size for file in tiny_base.iterdir())
    assert found.as_json()["memory_bytes"]["allocated"] == found.memory.allocated
