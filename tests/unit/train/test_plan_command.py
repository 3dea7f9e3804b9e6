"""`packtrain plan`: what it prints and how it ends."""

import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import typer

from packtrain.cli.plan import plan
from packtrain.core.errors import UserError


def asked(recipe: str, *overrides: str, **options: Any) -> tuple[int, str]:
    """Exit status and standard output."""
    said = io.StringIO()
    with redirect_stdout(said), pytest.raises(typer.Exit) as ended:
        plan(recipe, list(overrides), **options)
    return ended.value.exit_code, said.getvalue()


def test_a_published_recipe_without_its_base() -> None:
    status, text = asked("alpaca-7b", "engine.activation_checkpointing=true", on="4xA100-80G")
    assert status == 0
    assert "alpaca-7b on 4 x A100 with 85.9 GB each" in text
    assert "6.74 billion weights, all trained; from the published shape of llama-7b" in text
    assert "1,218 steps" in text
    assert "the time is an estimate and no promise; assumed: 50 % of 312 TFLOP/s in bfloat16" in text
    assert "\nfits: each GPU: " in text
    assert "what would make it fit" not in text


def test_what_does_not_fit_ends_with_one_and_says_what_would() -> None:
    status, text = asked("alpaca-7b", "engine.micro_batch_tokens=512", on="RTX-4090")
    assert status == 1
    assert "\ndoes not fit: each GPU: " in text
    assert "what would make it fit" in text
    assert "train.adapter=qlora" in text


def test_json(tiny_base: Path, conversations_file: Path, tmp_path: Path) -> None:
    status, text = asked(
        "default",
        f"base.path={tiny_base}",
        "template=tulu",
        "train.max_length_tokens=256",
        on="3xMyGPU-48G",
        data=conversations_file,
        host_memory="512GB",
        out=tmp_path / "tuned",
        as_json=True,
    )
    found = json.loads(text)
    assert status == 0
    assert (found["fits"], found["advice"]) == (True, [])
    assert found["hardware"]["per_machine"] == 3
    assert found["memory_bytes"]["host_has"] == 512_000_000_000
    assert found["memory_bytes"]["device_peak"] == sum(found["memory_bytes"]["device"].values())
    assert found["disk_bytes"]["free"] > found["disk_bytes"]["output"]
    assert found["data"]["conversations"] == 24
    assert found["time"]["steps"] == 3
    assert found["strategy"] == "fsdp"
    assert found["compute"] == "bfloat16"


def test_nothing_known_of_the_data_is_said(tiny_base: Path) -> None:
    status, text = asked("default", f"base.path={tiny_base}", "train.max_length_tokens=64", on="T4")
    assert status == 0
    assert "data: every conversation as long as the limit" in text
    assert "how long is not known without --data, or --conversations and --mean-tokens" in text
    assert "computed in float32, strategy single" in text


@pytest.mark.parametrize(
    ("overrides", "options", "message"),
    [
        ([], {"on": "MyGPU"}, "unknown device: MyGPU"),
        (["train.lr=fast"], {"on": "T4"}, "train.lr"),
        (["engine.packin=on"], {"on": "T4"}, "unknown key packin"),
        (["base.path=nowhere"], {"on": "T4"}, "no model folder at nowhere"),
        ([], {"on": "T4", "host_memory": "plenty"}, "not a size: plenty"),
        ([], {"on": "T4", "data": Path("missing.jsonl")}, "no training data at missing.jsonl"),
        ([], {"on": "T4", "model_config": Path("missing.json")}, "cannot read missing.json"),
    ],
)
def test_what_is_wrong_is_told(overrides: list[str], options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan("alpaca-7b", overrides, **options)


def test_the_command_is_there(packtrain: Any) -> None:
    done = packtrain("plan", "--help")
    assert done.returncode == 0
    assert "4xA100-80G" in done.stdout
    assert "Examples: packtrain plan alpaca-7b" in done.stdout
