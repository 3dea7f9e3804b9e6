"""The plan beside a real training; the whole grid is bench/plan.py."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

from packtrain.core.engine import Engine
from packtrain.core.recipe_file import load_recipe
from packtrain.train.plan.hardware import parse_hardware
from packtrain.train.plan.plan import TOLERANCE, plan
from packtrain.train.plan.workload import measured_workload

OWN_MEMORY = {"PYTHONUNBUFFERED": "1"}
"""Another environment than that of other commands: a process of its own, which shares no memory."""


def base_of_six_million_weights(tiny_base: Path, folder: Path) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM

    shutil.copytree(tiny_base, folder)
    config = LlamaConfig.from_pretrained(
        tiny_base, hidden_size=256, intermediate_size=688, num_hidden_layers=8, head_dim=64, num_key_value_heads=4
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def test_a_measured_peak_is_within_the_tolerance(packtrain: Any, tiny_base: Path, tmp_path: Path) -> None:
    base = base_of_six_million_weights(tiny_base, tmp_path / "base")
    draw, data = random.Random(0), tmp_path / "data.jsonl"
    with open(data, "w", encoding="utf-8") as file:
        for number in range(16):
            ask, answer = ("".join(draw.choices("abcdefghij", k=110)) for _ in range(2))
            messages = [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]
            file.write(json.dumps({"dataset": "d", "id": str(number), "messages": messages}) + "\n")
    settings = ["train.max_length_tokens=512", "train.global_batch_size=16", "train.max_steps=1"]
    settings += [f"base.path={base}", "template=tulu", "train.precision=float32"]
    recipe, engine = load_recipe("default", settings), Engine(micro_batch_tokens=2048)
    planned = plan(recipe, engine, parse_hardware("this"), measured_workload(data, recipe, base))
    given = [*settings, "engine.micro_batch_tokens=2048", "engine.probes=0"]
    done = packtrain(
        "train", "default", "--data", data, "--out", tmp_path / "out", *given, OMP_NUM_THREADS="1", **OWN_MEMORY
    )
    assert done.returncode == 0, done.stderr
    measured = json.loads((tmp_path / "out" / "metrics.jsonl").read_text().splitlines()[-1])["memory_gb"] * 1e9
    assert planned.memory.device["activations"] > 0.3 * measured  # not Python and libraries for the most part
    assert 1 - TOLERANCE < planned.memory.device_peak / measured < 1 + TOLERANCE
