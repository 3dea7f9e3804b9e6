"""The training loop gives the trajectory of Stanford Alpaca's recipe on HF Trainer, step by step, on a real model."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from packtrain.core.engine import Engine
from packtrain.core.recipe import Train
from packtrain.prompts.encode import Example
from packtrain.train.batches import Batches
from packtrain.train.distributed import Processes
from packtrain.train.load import ModelSource
from packtrain.train.loop import mean_token_loss, optimize
from packtrain.train.packing import Layout, micro_batches
from packtrain.train.schedule import learning_rate, warmup_steps
from packtrain.train.self_test import prove
from packtrain.train.strategies.single import Strategy
from packtrain.train.watchdog import Watchdog

pytestmark = pytest.mark.real_data

RULES = {"token_mean": "token", "mean_of_micro_batch_means": "microbatch_mean"}


@pytest.fixture(scope="module")
def oracle(shared: Path) -> dict[str, Any]:
    folder = shared / "data" / "oracles" / "training"
    names = ("examples", "trajectory", "lr_schedules")
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in names}


@pytest.fixture(scope="module")
def examples(oracle: dict[str, Any]) -> list[Example]:
    rows = oracle["examples"]["examples"]
    return [Example("alpaca", str(row["row"]), row["input_ids"], row["labels"]) for row in rows]


def fresh_strategy(shared: Path, settings: Train, packing: str = "auto") -> tuple[Strategy, Layout]:
    """The model with a row for the padding token, proved, and how its micro-batches are laid out."""
    engine = Engine(packing=packing)
    processes = Processes(rank=0, world_size=1, local_rank=0, device=torch.device("cpu"))
    strategy = Strategy(processes, settings, engine)
    strategy.build(ModelSource(shared / "data" / "stories260k", 513), settings, engine)
    prove(strategy.objective, engine, processes, settings.max_length_tokens)
    return strategy, Layout(tokens=1024, packed=strategy.objective.packing, pad_id=512)


def settings_of(run: str) -> Train:
    rule, peak = run.split("@")[:2]
    return Train(
        lr=float(peak),
        epochs=2,
        global_batch_size=16,
        micro_batch_size=4,
        loss_averaging=RULES[rule],
        order="sequential",
        precision="float32",
        max_length_tokens=256,
    )


RUNS = [f"{rule}@{peak}{kind}" for rule in RULES for peak in ("2e-05", "0.001") for kind in ("", "@float64")]


@pytest.mark.parametrize(
    ("run", "packing"), [*((run, "on") for run in RUNS), *((f"{rule}@0.001", "off") for rule in RULES)]
)
def test_trajectory_equals_the_original_trainer(
    shared: Path, oracle: dict[str, Any], examples: list[Example], run: str, packing: str
) -> None:
    expected = oracle["trajectory"]["runs"][run]
    settings = settings_of(run)
    strategy, layout = fresh_strategy(shared, settings, packing)
    batches = Batches(examples, global_batch_size=16, epochs=2, seed=0, order="sequential")
    steps = list(optimize(strategy, batches, settings, layout, Watchdog(settings, print)))
    assert len(steps) == len(expected["steps"]) == 8
    for ours, theirs in zip(steps, expected["steps"], strict=True):
        assert ours.loss == pytest.approx(theirs["loss"], abs=1e-5)
        assert ours.grad_norm == pytest.approx(theirs["grad_norm_before_clip"], rel=1e-4)
        assert ours.lr == pytest.approx(theirs["lr"], abs=1e-12)
        assert ours.learnt_tokens == sum(theirs["supervised_tokens"])
    assert mean_token_loss(strategy, examples, layout) == pytest.approx(expected["final_token_mean_loss"], abs=1e-5)
    after = dict(strategy.weights())
    assert set(expected["parameters_after"]) == set(after)
    for name, figures in expected["parameters_after"].items():
        assert after[name].double().norm().item() == pytest.approx(figures["l2"], rel=1e-5), name
        tolerance = 1e-5 * figures["l2"] * after[name].numel() ** 0.5
        assert after[name].double().sum().item() == pytest.approx(figures["sum"], abs=tolerance), name


def test_initial_loss_of_every_row(shared: Path, oracle: dict[str, Any], examples: list[Example]) -> None:
    strategy, layout = fresh_strategy(shared, settings_of("token_mean@2e-05"))
    rows = oracle["trajectory"]["initial_per_example"]
    assert len(rows) == len(examples) == 64
    for example, expected in zip(examples, rows, strict=True):
        assert example.learnt_tokens == expected["supervised_tokens"]
        [batch] = micro_batches([example], [1.0], layout)
        loss = strategy.evaluate(batch)[0].item()
        assert loss == pytest.approx(expected["loss_sum"], abs=1e-5 * max(1, example.learnt_tokens))


def test_learning_rates_of_every_step(oracle: dict[str, Any]) -> None:
    for case in oracle["lr_schedules"]["schedules"]:
        total, peak = case["total_steps"], case["peak"]
        rounding = "ceil" if case["warmup_rule"].startswith("ceil") else "floor"
        warmup = warmup_steps(total, 0.03, rounding)
        assert warmup == case["warmup_steps"], case["warmup_rule"]
        for step, expected in case["lr_at_step"].items():
            assert learning_rate(int(step), total, warmup, peak, case["schedule"]) == pytest.approx(expected, abs=1e-12)


def test_new_rows_are_the_mean_of_the_old_ones(shared: Path) -> None:
    strategy, _ = fresh_strategy(shared, settings_of("token_mean@2e-05"))
    table = strategy.objective.language_model.get_input_embeddings().weight.detach()
    assert table.shape[0] == 513
    torch.testing.assert_close(table[512], table[:512].mean(dim=0), rtol=0, atol=1e-7)
