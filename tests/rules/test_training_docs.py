"""What docs/training.md says is what the code does: settings, commands, the example of packing, messages."""

import json
import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import torch

from packtrain.core.engine import Engine, split_engine
from packtrain.core.errors import UserError
from packtrain.core.recipe import Train
from packtrain.core.recipe_file import load_recipe, recipe_names
from packtrain.prompts.encode import IGNORED, Example
from packtrain.train import out_of_memory
from packtrain.train.distributed import Processes
from packtrain.train.packing import Layout, example_weights, micro_batches
from packtrain.train.session import MICRO_BATCH_TOKENS

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "training.md").read_text(encoding="utf-8")
SOURCES = "".join(path.read_text(encoding="utf-8") for path in sorted((REPOSITORY / "src").rglob("*.py")))
WITH_VALUE = ("--out", "--data")


def section(title: str) -> str:
    """The text below a heading, up to the next one of its kind."""
    [found] = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, flags=re.DOTALL | re.MULTILINE)
    return str(found)


def rows(text: str) -> list[list[str]]:
    """The cells of the body of the table in a text."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def words(annotation: Any) -> list[str]:
    """What a field takes: its words, `true` and `false`, or `number`."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    if annotation in (bool, int):
        return ["true", "false"] if annotation is bool else ["number"]
    return [word for part in get_args(annotation) for word in words(part)]


def listed(values: Sequence[str]) -> str:
    return ", ".join(value if value == "number" else f"`{value}`" for value in values)


def test_every_engine_setting_is_in_the_table_with_its_values_and_default() -> None:
    table = rows(section("Engine settings"))
    expected = []
    for name, field in Engine.model_fields.items():
        default = field.get_default()
        shown = default if isinstance(default, str) else json.dumps(default)
        expected.append([f"`engine.{name}`", listed(words(field.annotation)), f"`{shown}`"])
    assert [row[:3] for row in table] == expected
    assert all(row[3] for row in table)
    assert f"{MICRO_BATCH_TOKENS['cpu']:,} on a CPU, {MICRO_BATCH_TOKENS['cuda']:,} on a GPU" in section(
        "Engine settings"
    )


def test_every_setting_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"\b(engine|train)\.(\w+)", PAGE)) - {("train", "py")}
    assert len(named) > 25
    known = {"engine": Engine.model_fields, "train": Train.model_fields}
    assert {f"{part}.{key}" for part, key in named if key not in known[part]} == set()


def commands(*beginnings: str) -> list[list[str]]:
    """The command lines in the page's code blocks that begin so, `packtrain` and what stands before it left out."""
    blocks = re.findall(r"^```(?:bash)?\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    found = [shlex.split(line, comments=True) for line in lines if line.startswith(beginnings)]
    return [line[line.index("packtrain") + 1 :] for line in found if "packtrain" in line]


def check_training(arguments: Sequence[str]) -> None:
    """Fail unless `packtrain train` would take these arguments: its options, a shipped recipe, keys of it."""
    assert arguments[0] == "train"
    given = iter(arguments[1:])
    settings = []
    for argument in given:
        if argument in WITH_VALUE:
            assert next(given)
        elif argument not in ("--resume", "--overwrite"):
            settings.append(argument)
    assert settings[0] in recipe_names()
    _, of_the_recipe = split_engine(settings[1:])
    assert load_recipe(settings[0], of_the_recipe).base.path in ("Qwen/Qwen3-0.6B", "packtrain:demo_base") or any(
        value.endswith("llama-7b-hf") for value in of_the_recipe
    )


def test_every_training_command_would_be_taken() -> None:
    found = [line for line in commands("packtrain ", "torchrun ") if line[0] == "train"]
    assert len(found) >= 6
    for line in found:
        check_training(line)


def test_the_examples_of_changes_would_be_taken() -> None:
    changes = [row[0] for row in rows(section("On your own data"))]
    settings = [setting for cell in changes for text in re.findall(r"`([^`]+)`", cell) for setting in shlex.split(text)]
    assert len(settings) >= 8
    for setting in settings:
        assert load_recipe("default", [setting]).resolved() != load_recipe("default").resolved()


def test_the_batch_script_runs_the_command_on_every_node(tmp_path: Path) -> None:
    """With stand-ins for Slurm's commands: what each node would be told to run."""
    [script] = re.findall(r"^```bash\n(#!/bin/bash\n.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    for name, does in (("scontrol", "echo node7; echo node8"), ("srun", 'printf "%s\\n" "$@"')):
        (tmp_path / name).write_text(f"#!/bin/bash\n{does}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {"SLURM_JOB_NODELIST": "node[7-8]", "SLURM_NNODES": "2", "SLURM_JOB_ID": "99"}
    finished = subprocess.run(
        ["/bin/bash", "-eu", "-c", script],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", **slurm},
        capture_output=True,
        text=True,
        check=True,
    )
    told = finished.stdout.splitlines()
    launcher, arguments = told[: told.index("-m")], told[told.index("packtrain") + 1 :]
    assert launcher[:5] == ["torchrun", "--nnodes", "2", "--nproc_per_node", "8"]
    assert launcher[5:] == ["--rdzv_id", "99", "--rdzv_backend", "c10d", "--rdzv_endpoint", "node7:29500"]
    assert arguments[-2:] == ["engine.replicas=2", "--resume"]
    check_training(arguments)


def test_the_example_of_packing_is_what_the_code_does() -> None:
    [block] = re.findall(r"```\n(conversation .*?)```", section("Packing"), flags=re.DOTALL)
    lines = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in block.splitlines() if line)
    names, lengths = lines["conversation"].split(), list(map(int, lines["tokens"].split()))
    learnt, total = re.findall(r"^([\d ]+?) {2,}(\d+) in all", lines["learnt tokens"])[0]
    examples = []
    for name, length, count in zip(names, lengths, map(int, learnt.split()), strict=True):
        labels = [IGNORED] * (length - count) + list(range(count))
        examples.append(Example("example", name, [names.index(name)] * length, labels))
    weights = example_weights(examples, Train(lr=1e-3, epochs=1))
    assert weights == [1 / int(total)] * len(names)

    def shown(*, packed: bool, rank: int = 0, world_size: int = 1) -> str:
        layout = Layout(tokens=12, packed=packed, pad_id=0, rank=rank, world_size=world_size)
        made = []
        for batch in micro_batches(examples, weights, layout):
            assert batch.counts
            apart = torch.split(batch.input_ids[0], list(batch.lengths)) if packed else batch.input_ids
            made.append(("+" if packed else ",").join(names[int(ids[0])] for ids in apart))
        return " | ".join(made)

    assert "at most 12 tokens per micro-batch" in section("Packing")
    assert lines["one process"] == shown(packed=True)
    two = [shown(packed=True, rank=rank, world_size=2) for rank in (0, 1)]
    assert re.split(r"\s+and\s+", lines["two processes"]) == two
    assert lines["packing=off"] == shown(packed=False)


def test_what_to_do_when_memory_is_short_stands_in_the_order_of_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    advised = re.findall(r"^\d+\. `([\w.]+(?: --nproc_per_node)?)", section("When memory is short"), flags=re.MULTILINE)
    assert len(advised) == 6
    monkeypatch.setattr(out_of_memory, "_figures_gb", lambda _: (70.0, 80.0))
    monkeypatch.setattr(out_of_memory, "device_name", lambda _: "a GPU")
    gpus = Processes(0, 2, 0, torch.device("cuda"))
    with (
        pytest.raises(UserError) as told,
        out_of_memory.out_of_memory_explained(Train(lr=1e-3, epochs=1), Engine(), 16384, gpus),
    ):
        raise MemoryError
    places = [told.value.hint.index(key) for key in advised]
    assert places == sorted(places)


def test_every_message_of_the_table_is_one_that_the_code_says() -> None:
    messages = [row[0].strip("`") for row in rows(section("Errors"))]
    assert len(messages) > 10
    assert [message for message in messages if message not in SOURCES] == []
