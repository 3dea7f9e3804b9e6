"""What is held while training, term by term."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from packtrain.core.adapter import parse_adapter
from packtrain.core.engine import Engine
from packtrain.core.recipe import Base
from packtrain.train.plan.hardware import parse_hardware
from packtrain.train.plan.memory import NF4, Holding, MemoryPlan, plan_memory
from packtrain.train.plan.model_shape import ModelShape, empty_model, find_config, read_config, shape_of
from packtrain.train.plan.rehearsal import Rehearsal

FP32, BF16 = torch.float32, torch.bfloat16
PASSING = Rehearsal(forward=1_000, loss=200, peak=1_300, gradients=0, largest=500)
A100 = parse_hardware("A100-80G")
WEIGHTS = 6_738_415_616


@pytest.fixture(scope="module")
def llama() -> dict[str, ModelShape]:
    config = read_config(find_config(Base(path="llama-7b")))
    return {adapter: shape_of(empty_model(config, parse_adapter(adapter))) for adapter in ("none", "lora", "qlora")}


def planned(shape: ModelShape, **how: Any) -> MemoryPlan:
    """One device unless `processes` says otherwise; all gradients live."""
    adapter, processes = parse_adapter(how.pop("adapter", "none")), how.pop("processes", 1)
    strategy = "single" if processes == 1 else "fsdp"
    dtype, hardware = how.pop("dtype", BF16), how.pop("hardware", A100)
    holding = Holding(strategy, processes, processes, dtype, Engine(**how), adapter)
    rehearsal = replace(PASSING, gradients=4 * shape.trained, peak=4 * shape.trained + 1_300)
    return plan_memory(shape, rehearsal, holding, hardware)


def test_sixteen_bytes_for_each_weight_as_the_alpaca_readme_says(llama: dict[str, ModelShape]) -> None:
    """7 x 4 x 4 = 112 GB for 7 billion weights: weights, gradients and two moments in float32."""
    assert planned(llama["none"], dtype=FP32).allocated == 16 * WEIGHTS + 1_300


def test_a_computing_copy_is_two_bytes_more(llama: dict[str, ModelShape]) -> None:
    found = planned(llama["none"])
    assert found.allocated == 18 * WEIGHTS + 1_300
    assert found.device["computing copy"] == 2 * WEIGHTS
    assert found.device_peak == sum(found.device.values()) > found.allocated


def test_shards_add_up_to_the_whole(llama: dict[str, ModelShape]) -> None:
    shape = llama["none"]
    found = planned(shape, processes=4)
    shards = [size for name, size in found.device.items() if name.endswith("shards")]
    assert 4 * sum(shards) == 16 * WEIGHTS
    together = 2 * (2 * shape.largest_layer + shape.outside_layers)
    assert found.device["layers put together"] == together
    assert planned(shape, processes=4, replicas=2).device["weights, float32 shards"] == 2 * WEIGHTS


def test_offloading_moves_the_shards_to_the_host(llama: dict[str, ModelShape]) -> None:
    there = planned(llama["none"], processes=4, cpu_offload=True)
    here = planned(llama["none"], processes=4)
    assert not any(name.endswith("shards") for name in there.device)
    assert there.host["weights, gradients and moments"] == pytest.approx(16 * WEIGHTS, rel=1e-6)
    assert there.host_peak - here.host_peak == pytest.approx(16 * WEIGHTS, rel=1e-6)


def test_checkpoints_that_are_written_meanwhile_are_copied(llama: dict[str, ModelShape]) -> None:
    copy = "copy of a checkpoint being written"
    assert planned(llama["none"], processes=4).host[copy] == 12 * WEIGHTS
    assert copy not in planned(llama["none"], processes=4, async_checkpoints=False).host
    assert copy not in planned(llama["none"]).host


def test_one_gpu_loads_the_base_whole_on_the_host(llama: dict[str, ModelShape]) -> None:
    assert planned(llama["none"]).loading > 4 * WEIGHTS
    assert planned(llama["none"], processes=4).loading < 4 * WEIGHTS


def test_an_adapter_alone_has_gradients_and_moments(llama: dict[str, ModelShape]) -> None:
    shape = llama["lora"]
    found = planned(shape, adapter="lora")
    assert found.allocated == 2 * (WEIGHTS + shape.added) + 16 * shape.added + 1_300
    assert found.allocated < planned(llama["none"]).allocated / 6
    whole = planned(shape, adapter="lora", dtype=FP32)
    assert whole.device["weights, float32"] == pytest.approx(4 * 7e9, rel=0.05)  # the README's 7 x 4 = 28 GB
    sharded = planned(shape, adapter="lora", processes=4)
    assert 4 * sharded.device["optimizer moments, shards"] == 8 * shape.added


def test_four_bits(llama: dict[str, ModelShape]) -> None:
    shape = llama["qlora"]
    found = planned(shape, adapter="qlora")
    assert pytest.approx((4 + 0.127) / 8, abs=1e-4) == NF4  # QLoRA, section 3: 0.127 bits for the scales
    assert found.device["base in NF4"] == round(NF4 * shape.linear)
    assert found.device["other weights"] == 2 * (WEIGHTS + shape.added - shape.linear)
    assert found.allocated < planned(llama["lora"], adapter="lora").allocated / 2


def test_a_cpu_has_one_memory_for_all(llama: dict[str, ModelShape]) -> None:
    found = planned(llama["none"], hardware=parse_hardware("cpu:256G"))
    assert found.host == {}
    assert found.host_peak == 0
    assert found.device_peak > found.allocated == 18 * WEIGHTS + 1_300
    assert found.loading > 4 * WEIGHTS


def test_the_moment_of_the_peak_is_told_in_parts(llama: dict[str, ModelShape]) -> None:
    found = planned(llama["none"])
    parts = [found.device[name] for name in ("activations", "logits and loss", "at work")]
    assert parts == [1_000, 200, 100]
