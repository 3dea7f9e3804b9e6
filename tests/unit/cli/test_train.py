"""`packtrain train`: what is taken from the command line, and what is wrong with it, before anything is trained."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from packtrain.cli.facts import engine_facts
from packtrain.cli.main import app
from packtrain.core.engine import Engine
from packtrain.core.errors import UserError
from packtrain.core.recipe import Recipe
from packtrain.train.stage import TrainReport

REPORT = TrainReport(
    steps=2,
    examples=3,
    learnt_tokens=40,
    dropped={"control token in the text": 1},
    cut_at_limit=4,
    first_loss=2.5,
    final_loss=1.5,
    held_out_before=3.0,
    held_out_after=2.0,
    seconds=9.0,
    hardware="1 CPU",
    precision="float32",
)


class Training:
    """Stands in for the training stage, and keeps what it was called with."""

    def __init__(self) -> None:
        self.recipe: Recipe | None = None
        self.data: Path | None = None
        self.given: dict[str, Any] = {}
        self.report = REPORT

    def __call__(self, recipe: Recipe, data: Path, out: Path, **given: Any) -> TrainReport:
        self.recipe, self.data, self.given = recipe, data, {"out": out, **given}
        return self.report


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Training:
    stand_in = Training()
    monkeypatch.setattr("packtrain.train.stage.train", stand_in)
    return stand_in


def run(*arguments: object) -> str:
    """Stdout of `packtrain train`; its UserError is raised."""
    result = CliRunner().invoke(app, ["train", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_overrides_go_to_recipe_and_engine(training: Training, conversations_file: Path, tmp_path: Path) -> None:
    settings = ["train.lr=1e-4", "engine.packing=off", "engine.trackers=wandb", "engine.micro_batch_tokens=4096"]
    printed = run("alpaca-7b", "--data", conversations_file, "--out", tmp_path / "out", "--resume", *settings)
    assert training.recipe is not None
    assert (training.recipe.name, training.recipe.train.lr) == ("alpaca-7b", 1e-4)
    assert training.data == conversations_file
    assert training.given == {
        "out": tmp_path / "out",
        "resume": True,
        "overwrite": False,
        "engine": Engine(packing="off", trackers=("wandb",), micro_batch_tokens=4096),
    }
    for part in ("2.5000 -> 1.5000", "3.0000 -> 2.0000", "left out: control token in the text", "cut at the length"):
        assert part in printed


def test_json_is_the_report(training: Training, conversations_file: Path, tmp_path: Path) -> None:
    printed = json.loads(run("alpaca-7b", "--data", conversations_file, "--out", tmp_path / "out", "--json"))
    assert (printed["out"], printed["steps"], printed["final_loss"]) == (str(tmp_path / "out"), 2, 1.5)


def test_of_several_processes_one_prints(
    training: Training, conversations_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert run("alpaca-7b", "--data", conversations_file, "--out", tmp_path / "out") == ""
    assert training.recipe is not None


@pytest.mark.parametrize(("launcher", "status"), [("", 1), ("attempt_0/0/error.json", 0)])
def test_a_model_that_never_ends_an_answer_is_told(
    launcher: str,
    status: int,
    training: Training,
    conversations_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No failure under a launcher, which would report a crash of a training that is complete."""
    training.report = replace(REPORT, probes_asked=8, never_stops=True)
    if launcher:
        (tmp_path / launcher).parent.mkdir(parents=True)
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / launcher))
    arguments = ["train", "alpaca-7b", "--data", str(conversations_file), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == status
    assert "out is complete, but its answers do not end by themselves" in " ".join(result.stderr.split())
    assert "0 of 8" in result.stdout


@pytest.mark.parametrize(
    ("setting", "error", "hint"),
    [
        ("engine.stratgy=fsdp", "did you mean engine.strategy", "packtrain show engine"),
        ("engine.packing=maybe", "packing: input should be 'auto', 'on' or 'off'", "packtrain show engine"),
        ("engine.keep_last=0", "keep_last: input should be greater than 0", "packtrain show engine"),
        ("train.lrr=1", r"unknown key train\.lrr", "packtrain show"),
        ("engine", "not an override: 'engine'", "train.lr=1e-5"),
    ],
)
def test_wrong_settings_are_told(
    setting: str, error: str, hint: str, training: Training, conversations_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=error) as caught:
        run("alpaca-7b", "--data", conversations_file, "--out", tmp_path / "out", setting)
    assert hint in caught.value.hint
    assert training.recipe is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("raw.jsonl", '{"instruction": "Hi", "input": "", "output": "Ho"}\n'),
        ("raw.json", '[\n{"instruction": "Hi", "input": "", "output": "Ho"}]\n'),
        ("raw.csv", "instruction,output\nHi,Ho\n"),
        ("raw.parquet", "PAR1\x00"),
    ],
)
def test_raw_data_are_not_taken_for_conversations(name: str, content: str, training: Training, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(UserError, match=name) as caught:
        run("alpaca-7b", "--data", file, "--out", tmp_path / "out")
    assert f"data.sources.NAME.path={file}" in caught.value.hint
    assert training.recipe is None


def test_every_setting_of_the_engine_is_explained(packtrain: Any) -> None:
    facts = engine_facts("engine")
    assert facts is not None
    assert list(facts["settings"]) == list(Engine.model_fields)
    assert all(setting["what"] for setting in facts["settings"].values())
    assert facts["settings"]["strategy"]["values"] == ["auto", "single", "fsdp", "deepspeed"]
    assert engine_facts("alpaca-7b") is None
    shown = packtrain("show", "engine").stdout
    for line in ("engine.strategy=auto (auto, single, ", "engine.keep_last=1\n", "engine.compile=false\n"):
        assert line in shown
    assert json.loads(packtrain("show", "engine", "--json").stdout)["settings"]["probes"]["default"] == 8


def test_the_help_shows_how_it_begins(packtrain: Any) -> None:
    shown = " ".join(packtrain("train", "--help").stdout.replace("\\\n", " ").split())
    assert "packtrain train alpaca-7b --data alpaca/ --out tuned/" in shown
    assert "packtrain train default --out tuned/ base.path=Qwen/Qwen3-0.6B data.sources.mine.path=my.jsonl" in shown
    assert "torchrun --nproc_per_node 8 -m packtrain train" in shown
