"""Checks of the installation: each on a machine with the fault, and on one without."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import constants

from packtrain.core.extras import EXTRAS
from packtrain.core.folder import names
from packtrain.pipeline.doctor.checks import INSTALLATION, installation_findings
from packtrain.pipeline.doctor.installation import devices, extras, folders, packages, python, variables
from packtrain.train.doctor_checks import Finding


def severities(findings: Iterator[Finding]) -> list[str]:
    return [finding.severity for finding in findings]


def test_this_machine_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = installation_findings()
    assert {finding.check for finding in findings} == set(names(INSTALLATION, ".py"))
    assert "error" not in {finding.severity for finding in findings}


def test_a_check_that_fails_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> Iterator[Finding]:
        raise ImportError("numpy.core.multiarray failed to import")

    monkeypatch.setattr(import_module(f"{INSTALLATION}.diff_loops"), "check", fails)
    first = installation_findings()[0]
    assert (first.severity, first.check) == ("error", "diff_loops")
    assert first.what == "cannot be looked at: ImportError: numpy.core.multiarray failed to import"


def test_python(monkeypatch: pytest.MonkeyPatch) -> None:
    assert severities(python.check()) == ["fine"]
    monkeypatch.setattr(python, "metadata", lambda name: {"Requires-Python": ">=4"})
    [found] = python.check()
    assert found.severity == "error"
    assert found.what.endswith("packtrain wants >=4")


def test_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "torch>=2.6",
        "transformers>=99",
        "no-such-package>=1",
        "peft>=99; extra == 'lora'",
        "no-such-extra>=1; extra == 'x'",
        "no-such-tool; sys_platform == 'other'",
    ]
    monkeypatch.setattr("packtrain.core.packages.requires", lambda name: lines)
    found = list(packages.check())
    assert [(one.severity, one.where) for one in found] == [
        ("error", "transformers"),
        ("error", "no-such-package"),
        ("warning", "peft"),
        ("fine", ""),
    ]
    assert found[0].what.endswith(", packtrain wants >=99")
    assert found[0].mend == "pip install 'transformers>=99'"
    assert found[1].what == "no-such-package is not installed"
    assert found[3].what.startswith("1 packages of the versions that are wanted: torch ")


def test_a_torch_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    [found] = devices.check()
    assert found.severity == "error"
    assert found.what.startswith("torch cannot be imported: ")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without a GPU that torch sees; the file says, when it is there, that there is a driver."""
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(devices, "DRIVER", tmp_path / "version")
    monkeypatch.setattr(devices.shutil, "which", lambda name: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path / "version"


def test_a_driver_whose_gpus_torch_does_not_see(no_gpu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    assert severities(devices.check()) == ["fine"]
    no_gpu.write_text("NVRM version: 999\nmore\n")
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None, raising=False)
    [found] = devices.check()
    assert found.severity == "warning"
    assert "built for CPUs alone" in found.what
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    [found] = devices.check()
    assert (found.severity, found.where) == ("warning", "NVRM version: 999")
    assert "built for CUDA 13.0, finds no GPU" in found.what
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    [found] = devices.check()
    assert (found.severity, found.where) == ("warning", "CUDA_VISIBLE_DEVICES=-1")


def test_gpus_are_told_with_what_they_multiply(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    current = [0]

    @contextmanager
    def on(device: torch.device) -> Iterator[None]:
        current.append(device.index)
        yield
        current.pop()

    def properties(index: int) -> SimpleNamespace:
        return SimpleNamespace(name="A GPU", total_memory=80_000_000_000, major=8 - index)

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "device", on)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current[-1])
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    first, second = devices.check()
    assert (first.severity, first.what) == ("fine", "GPU 0: A GPU, 80 GB, multiplies bfloat16")
    assert (second.severity, second.what) == ("warning", "GPU 1: A GPU, 80 GB, does not multiply bfloat16")


def test_every_extra_says_what_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(extras.PURPOSES) == set(EXTRAS)
    monkeypatch.setattr(extras, "installed", lambda extra: {"vllm": None} if extra == "vllm" else {extra: "1"})
    told = [found.what for found in extras.check()]
    assert len(told) == len(EXTRAS)
    assert "vllm is not installed (models answered by vLLM: vllm:DIR): pip install 'packtrain[vllm]'" in told
    assert "plot is there (figures: packtrain plot, --plot, --out NAME.png): plot 1" in told


def test_a_sandbox_that_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    from packtrain.evaluate.sandbox.program import Verdict
    from packtrain.pipeline.doctor.installation import sandbox

    assert severities(sandbox.check()) == ["fine"]
    monkeypatch.setattr("packtrain.evaluate.sandbox.layers.bubblewrap", lambda: None)
    failed = Verdict("sandbox-error", "no permission for namespaces")
    monkeypatch.setattr("packtrain.evaluate.sandbox.trial.try_program", lambda *given: failed)
    [found] = sandbox.check()
    assert found.severity == "warning"
    assert found.where == "bubblewrap: not there; Landlock and user namespaces: no permission for namespaces"


def test_loops_of_diffs(monkeypatch: pytest.MonkeyPatch) -> None:
    from packtrain.pipeline.doctor.installation import diff_loops

    monkeypatch.setattr("packtrain.diff.kernels.compiled", lambda: None)
    [found] = diff_loops.check()
    assert (found.severity, found.what[:30]) == ("fine", "exact diffs are made by NumPy,")


def test_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PACKTRAIN_CACHE", str(tmp_path / "not" / "made"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub" / "hub"))
    found = list(folders.check())
    assert [one.severity for one in found] == ["fine"] * 3
    assert found[0].what.endswith(f"{tmp_path}/not/made")
    assert found[1].what.endswith(f"{tmp_path}/hub/hub")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PACKTRAIN_CACHE", str(tmp_path / "file" / "below"))
    assert next(folders.check()).severity == "error"
    monkeypatch.setenv("PACKTRAIN_CACHE", "~no-such-user/cache")
    first: Any = next(folders.check())
    assert (first.severity, first.where) == ("error", "PACKTRAIN_CACHE")
    monkeypatch.setenv("PACKTRAIN_CACHE", str(tmp_path))
    usage = shutil.disk_usage(tmp_path)._replace(free=5_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    assert severities(folders.check()) == ["warning"] * 3


def test_variables_that_surprise(monkeypatch: pytest.MonkeyPatch) -> None:
    every = (*variables.OFFLINE, *variables.PROXIES, *variables.OLD, *variables.LAUNCHERS, "HF_ENDPOINT")
    for name in every:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    assert severities(variables.check()) == ["fine"]
    secret = "http://user:password@proxy"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "0")
    monkeypatch.setenv("https_proxy", secret)
    monkeypatch.setenv("HF_ENDPOINT", secret)
    monkeypatch.setenv("TRANSFORMERS_CACHE", secret)
    monkeypatch.setenv("WORLD_SIZE", "2")
    found = list(variables.check())
    assert [(one.severity, one.where) for one in found] == [
        ("warning", "HF_HUB_OFFLINE=1"),
        ("warning", "HTTPS_PROXY"),
        ("warning", "HF_ENDPOINT"),
        ("warning", "TRANSFORMERS_CACHE"),
        ("warning", "WORLD_SIZE"),
    ]
    assert secret not in str(found)
