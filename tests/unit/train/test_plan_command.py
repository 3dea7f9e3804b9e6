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
    shown = [line.rstrip() for line in text[text.index("the whole recipe") :].splitlines()]
    assert [line for line in shown if line] == [line for line in STAGES.splitlines() if line]


STAGES = """\
the whole recipe, stage by stage (estimates, no promises)
 stage     in packtrain run                    time     memory, GB  disk left, GB  API money
 ───────────────────────────────────────────────────────────────────────────────────────────
 base      must be there                          -              -           13.5          -
 generate  no: the recipe makes no data           -              -              -          -
 data      yes                                  1 s           0.17           0.03          -
 train     yes                           28 minutes  34.0 each GPU           27.0          -
 diff      yes                                 59 s           1.02           18.2          -
 recover   yes                                112 s           1.02           27.0          -
 evaluate  with evaluate.data=DIR        15 minutes  50.3 each GPU           0.08          -
 judge     with --judge NAME              6 minutes  49.3 each GPU     below 0.01      $1.39
 card      yes                                  2 s              -              -          -
 in all                                  51 minutes  50.3 each GPU           85.7      $1.39
disk: 202.2 GB when it is most, raw data not counted
data: 41,402 conversations/s, as measured on two cores, raw files of any size being at hand
diff: exact diff of float32, 67 % of the tuned model; 16 threads as fast as measured ones, 1 GB/s of disk assumed
recover: compared with the tuned model
evaluate: in bfloat16 on one GPU; assumed to reach 156.0 TFLOP/s and 1,223 GB/s, 0.8 ms to start a layer
evaluate: by hand, in bfloat16 by vLLM over 4 GPUs (docs/serving.md): about 6 minutes
evaluate: at most 45 minutes, if every answer ran on until it is cut
judge: --judge openai:gpt-4o, 162 prompts, about 393,935 tokens in, at most 40,500 out
judge: its time is that of the model's answers; the judge's own is not known
judge: at most 45 minutes, if every answer ran on until it is cut
"""


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
    names = ["base", "generate", "data", "train", "diff", "recover", "evaluate", "judge", "card"]
    assert [stage["name"] for stage in found["stages"]] == names
    assert found["totals"]["seconds"] == sum(stage["seconds"] or 0 for stage in found["stages"])
    assert found["compute"] == "bfloat16"


def test_a_judge_of_unknown_price(tiny_base: Path) -> None:
    changed = [f"base.path={tiny_base}", "train.max_length_tokens=64"]
    status, text = asked("alpaca-7b", *changed, on="T4", judge="openai:nobody-knows")
    assert status == 0
    assert "--judge openai:nobody-knows, 162 prompts" in text
    assert "its price is not known: give --price-in and --price-out" in text
    assert "not known, and not in the total: money of judge" in text
    assert "more than $0.00" in text
    status, text = asked("alpaca-7b", *changed, on="T4", judge="openai:nobody-knows", price_in=0.0, price_out=1000.0)
    assert text.count("$40.50") == 2
    assert "its price is not known" not in text


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
        (["engine.packin=on"], {"on": "T4"}, r"unknown key engine\.packin"),
        (["base.path=nowhere"], {"on": "T4"}, "no model folder at nowhere"),
        ([], {"on": "T4", "host_memory": "plenty"}, "not a size: plenty"),
        ([], {"on": "T4", "price_in": 1.0}, "a price has two parts"),
        ([], {"on": "T4", "judge": "gpt-4o"}, "not a model: 'gpt-4o'"),
        ([], {"on": "T4", "judge": "opennai:gpt-4o"}, "unknown kind of model: opennai"),
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
    assert "Examples:\n    packtrain plan alpaca-7b" in done.stdout
