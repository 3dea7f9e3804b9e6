"""Machines as users name them."""

import re

import pytest
import torch

from packtrain.core.errors import UserError
from packtrain.core.machine_memory import memory_of_host
from packtrain.train.flops import peak_flops_of
from packtrain.train.plan.hardware import (
    GIB,
    Hardware,
    known_device,
    known_devices,
    matrix_speed,
    memory_speed,
    parse_hardware,
    stated_flops,
)


@pytest.mark.parametrize(
    ("text", "name", "machines", "per_machine", "gigabytes"),
    [
        ("4xA100-80G", "A100", 1, 4, 80),
        ("2x8xH100-80G", "H100", 2, 8, 80),
        ("A100-40G", "A100", 1, 1, 40),
        ("H200", "H200", 1, 1, 141),
        ("2xRTX4090", "RTX-4090", 1, 2, 24),
        ("8xh100 pcie", "H100-PCIe", 1, 8, 80),
        ("3xMyGPU-48G", "MyGPU", 1, 3, 48),
        ("2x4xMy-GPU-v2-1.5G", "My-GPU-v2", 2, 4, 1.5),
        ("x1-8G", "x1", 1, 1, 8),
    ],
)
def test_names_of_gpus(text: str, name: str, machines: int, per_machine: int, gigabytes: float) -> None:
    found = parse_hardware(text)
    assert (found.name, found.kind, found.machines, found.per_machine) == (name, "gpu", machines, per_machine)
    assert found.memory_bytes == gigabytes * GIB
    assert found.devices == machines * per_machine


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("MyGPU", "unknown device: MyGPU", "or give its memory: MyGPU-48G"),
        ("4xH10", "unknown device: H10", "did you mean H100?"),
        ("4xA100", "A100 is sold with different memories", "say which: 4xA100-40G, 4xA100-80G"),
        ("0xA100-80G", "not a machine: 0xA100-80G", "3xMyGPU-48G"),
        ("A100-0G", "not a machine: A100-0G", "3xMyGPU-48G"),
        ("A100-1.2.3G", "not a machine: A100-1.2.3G", "3xMyGPU-48G"),
        ("cpu", "not a machine: cpu", "cpu:16G"),
        ("cpu:0G", "not a machine: cpu:0G", "cpu:16G"),
        ("cpu:much", "not a machine: cpu:much", "cpu:16G"),
        ("", "not a machine: ", "4xA100-80G"),
    ],
)
def test_what_is_no_machine_is_told(text: str, message: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_hardware(text)
    assert caught.value.message == message
    assert hint in caught.value.hint


def test_the_names_there_are_come_with_an_unknown_one() -> None:
    with pytest.raises(UserError) as caught:
        parse_hardware("Voodoo2")
    assert all(name in caught.value.hint for name in known_devices())


@pytest.mark.parametrize(
    ("driver", "known"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100-PCIe"),
        ("NVIDIA GeForce RTX 4090", "RTX-4090"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX-6000-Ada"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA L4", "L4"),
        ("Tesla T4", "T4"),
        ("NVIDIA H100 80GB PCIe", "H100-PCIe"),
        ("NVIDIA H200 NVL", "H200-NVL"),
        ("NVIDIA GH200 480GB", "GH200"),
        ("NVIDIA GeForce RTX 3090 Ti", "RTX-3090-Ti"),
        ("Tesla V100-PCIE-16GB", "V100-PCIe"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None),
        ("NVIDIA RTX A4000", None),
        ("NVIDIA H1000", None),
    ],
)
def test_names_that_the_driver_gives(driver: str, known: str | None) -> None:
    assert known_device(driver) == known


def test_every_known_device_is_complete() -> None:
    for name, entry in known_devices().items():
        assert known_device(name) == name
        assert entry["memory_gb"]
        assert 0 < entry["mfu"] < 1
        assert entry["host_gb"] > 0
        for size in entry["memory_gb"]:
            found = parse_hardware(f"2x{name}-{size}G")
            assert found.name == name
            assert dict(found.peak_flops)["float32"] == entry["float32_tflops"] * 1e12
            assert dict(found.peak_flops).get("bfloat16") == peak_flops_of(name, torch.bfloat16)
            assert found.host_bytes == 2 * entry["host_gb"] * GIB
            assert found.native_bfloat16 != ("float16_tflops" in entry)
        speeds = [parse_hardware(f"{name}-{size}G").memory_bytes_per_s for size in entry["memory_gb"]]
        assert speeds == [1e9 * speed for speed in entry["bandwidth_gb_s"]]


def test_the_memory_of_the_nearest_size_counts() -> None:
    speeds = {size: parse_hardware(f"A100-{size}G").memory_bytes_per_s for size in (40, 50, 64, 80, 96)}
    assert speeds == {40: 1555e9, 50: 1555e9, 64: 2039e9, 80: 2039e9, 96: 2039e9}
    assert parse_hardware("3xMyGPU-48G").memory_bytes_per_s is None


@pytest.mark.parametrize(
    ("name", "kind", "tflops"),
    [
        ("A100", "bfloat16", 312),
        ("A100", "float16", 312),
        ("A100", "float32", 19.5),
        ("V100", "float16", 125),
        ("V100", "bfloat16", None),
        ("A10G", "bfloat16", None),
        ("A10G", "float32", 31.5),
        ("MyGPU", "float32", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "float32", None),
    ],
)
def test_what_the_makers_state(name: str, kind: str, tflops: float | None) -> None:
    assert stated_flops(name, kind) == (None if tflops is None else tflops * 1e12)


def test_error_correction_takes_some_memory() -> None:
    assert parse_hardware("L4").memory_bytes == parse_hardware("L4-24G").memory_bytes == 22.5 * GIB


def test_more_of_the_same_have_as_much_host_memory_each() -> None:
    more = parse_hardware("4xA100-80G").with_machines(2, 8)
    assert (more.devices, more.host_bytes) == (16, 8 * 120 * GIB)
    assert parse_hardware("3xMyGPU-48G").with_machines(1, 8).host_bytes is None


def test_a_processor_is_as_fast_as_it_is_here() -> None:
    found = parse_hardware("cpu:16G")
    assert (found.kind, found.devices, found.memory_bytes, found.host_bytes) == ("cpu", 1, 16 * GIB, 16 * GIB)
    assert dict(found.peak_flops)["float32"] == matrix_speed("float32") > 1e8
    assert found.memory_bytes_per_s == memory_speed() > 1e7
    assert found.describe().endswith("17.2 GB")


def test_this_machine_without_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = parse_hardware("this")
    assert (found.kind, found.memory_bytes) == ("cpu", memory_of_host())
    assert memory_of_host() > 1 << 28


def test_this_machine_with_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    class Properties:
        total_memory = 85_000_000_000

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA A100-SXM4-80GB")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Properties())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    found = parse_hardware("this")
    assert (found.kind, found.devices, found.memory_bytes) == ("gpu", 2, 85_000_000_000)
    assert dict(found.peak_flops)["bfloat16"] == 312e12
    assert found.host_bytes == memory_of_host()


def test_what_is_printed_of_machines() -> None:
    assert parse_hardware("2x8xH100-80G").describe() == "2 machines of 8 x H100 with 85.9 GB each"
    assert parse_hardware("RTX-4090").describe() == "1 x RTX-4090 with 25.8 GB"
    assert re.fullmatch(r"CPU of this kind \(\d+ cores\), 17.2 GB", parse_hardware("cpu:16G").describe())
    assert isinstance(parse_hardware("T4"), Hardware)
