"""Extras: what is missing is named with the line that installs it."""

import sys
from types import ModuleType

import pytest

from packtrain.core.errors import UserError
from packtrain.core.extras import EXTRAS, imported, install_line, installed, missing_extra, need


def told(error: UserError) -> tuple[str, str]:
    return error.message, error.hint


@pytest.fixture
def no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no extra were installed."""
    monkeypatch.setattr("packtrain.core.extras.find_spec", lambda name: None)
    for packages in EXTRAS.values():
        for package in packages:
            monkeypatch.delitem(sys.modules, package, raising=False)


@pytest.mark.usefixtures("no_packages")
def test_a_missing_extra_is_named_with_its_pip_line() -> None:
    assert told(missing_extra("plot", "figures")) == (
        "figures: matplotlib is not installed",
        "pip install 'packtrain[plot]'",
    )
    assert told(missing_extra("quant", "train.adapter=qlora", "give train.adapter=lora")) == (
        "train.adapter=qlora: peft and bitsandbytes are not installed",
        "pip install 'packtrain[quant]', or give train.adapter=lora",
    )
    with pytest.raises(UserError, match="figures: matplotlib is not installed"):
        need("plot", "figures")
    need("web", "the page")


def test_only_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packtrain.core.extras.find_spec", lambda name: object() if name == "peft" else None)
    monkeypatch.delitem(sys.modules, "bitsandbytes", raising=False)
    assert missing_extra("quant", "qlora").message == "qlora: bitsandbytes is not installed"
    need("lora", "adapters")


def test_a_package_that_is_there_and_broken_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packtrain.core.extras.find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UserError) as caught:
        imported("vllm", "vllm", "--model vllm:DIR")
    assert told(caught.value) == (
        "--model vllm:DIR: vllm is installed and cannot be imported (import of vllm halted; None in sys.modules)",
        "pip install 'packtrain[vllm]'",
    )


def test_what_is_there_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = ModuleType("wandb")
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    assert imported("wandb", "wandb", "engine.trackers=wandb") is stand_in
    need("wandb", "engine.trackers=wandb")


def test_versions_and_unknown_names() -> None:
    assert set(installed("quant")) == {"peft", "bitsandbytes"}
    assert install_line("deepspeed") == "pip install 'packtrain[deepspeed]'"
    with pytest.raises(UserError, match="unknown extra: plots") as caught:
        install_line("plots")
    assert caught.value.hint.startswith("did you mean plot?")
