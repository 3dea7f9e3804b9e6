"""The plan of a whole recipe: which stages, what they take, and what is said of what is not known."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from packtrain.core.engine import Engine
from packtrain.core.recipe_file import load_recipe
from packtrain.pipeline.judge import Judge
from packtrain.pipeline.plan_data import workload_for
from packtrain.pipeline.recipe_plan.stage_plan import RecipePlan, StagePlan
from packtrain.pipeline.recipe_plan.whole import plan_whole
from packtrain.train.plan.hardware import parse_hardware
from packtrain.train.plan.model_shape import find_config
from packtrain.train.plan.plan import Plan, Planner, Setting

NAMES = ["base", "generate", "data", "train", "diff", "recover", "evaluate", "judge", "card"]
GPT_4O = Judge("openai:gpt-4o")
Planned = Callable[..., tuple[Plan, Any]]


@pytest.fixture(scope="module")
def planned() -> Planned:
    """The training of a recipe on the base of the demo, and that base's configuration."""

    def planned(name: str, *overrides: str, on: str = "T4") -> tuple[Plan, Any]:
        recipe = load_recipe(name, ["base.path=packtrain:demo_base", "train.max_length_tokens=128", *overrides])
        found = find_config(recipe.base)
        planner = Planner(found)
        workload = workload_for(recipe, None, None, None, None)
        return planner.plan(Setting(recipe, Engine(), parse_hardware(on), workload, found)), planner.config

    return planned


def with_weights(plan: Plan, billions: float, heads: int, config: Any) -> tuple[Plan, Any]:
    """The same plan for a model of so many weights."""
    weights = round(billions * 1e9)
    work = replace(plan.shape.work, body_weights=float(weights), attention_width=128 * heads)
    text = config.get_text_config()
    sizes = {"num_attention_heads": heads, "num_key_value_heads": heads, "hidden_size": 128 * heads, "head_dim": 128}
    changed = type(text).from_dict({**text.to_dict(), **sizes})
    return replace(plan, shape=replace(plan.shape, in_layers=weights, work=work)), changed


def stages(plan: RecipePlan) -> dict[str, StagePlan]:
    return {stage.name: stage for stage in plan.stages}


def test_a_published_recipe(planned: Planned) -> None:
    plan, config = planned("alpaca-7b")
    whole = plan_whole(plan, config, GPT_4O)
    found = stages(whole)
    assert list(found) == NAMES
    assert [name for name, stage in found.items() if stage.runs] == ["data", "train", "diff", "recover", "card"]
    assert [name for name, stage in found.items() if not stage.counted] == ["generate"]
    assert found["evaluate"].when == "with evaluate.data=DIR"
    assert found["judge"].when == "with --judge NAME"
    assert found["judge"].usd == pytest.approx(1.39, abs=0.01)
    assert whole.totals.usd == found["judge"].usd
    assert whole.totals.usd_unknown == whole.totals.time_unknown == whole.totals.disk_unknown == ()
    assert whole.totals.seconds == sum(stage.seconds or 0 for stage in whole.stages)
    assert found["train"].seconds == plan.time.seconds
    assert found["train"].memory_bytes == plan.memory.device_peak
    assert json.loads(json.dumps(whole.as_json()))["totals"]["usd"] == whole.totals.usd


def test_totals() -> None:
    found = RecipePlan(
        (
            StagePlan("base", "must be there", disk_bytes=5, seconds=0.0),
            StagePlan("gone", "no", counted=False, seconds=99.0, disk_bytes=99, usd=99.0, memory_bytes=99),
            StagePlan(
                "train", "yes", seconds=2.0, disk_bytes=10, passing_disk_bytes=30, memory_bytes=7, memory_of="GPU"
            ),
            StagePlan("diff", "yes", seconds=None, disk_bytes=20, memory_bytes=3),
            StagePlan("judge", "by hand", seconds=1.0, disk_bytes=None, usd=4.0),
            StagePlan("other", "by hand", seconds=1.0, usd=None),
        )
    ).totals
    assert (found.seconds, found.time_unknown) == (4.0, ("diff",))
    assert (found.gpu_memory_bytes, found.host_memory_bytes) == (7, 3)
    assert (found.disk_bytes, found.most_disk_bytes, found.disk_unknown) == (35, 45, ("judge",))
    assert (found.usd, found.usd_unknown) == (4.0, ("other",))


def test_all_disk_is_counted_once(planned: Planned) -> None:
    plan, config = planned("alpaca-7b")
    found = stages(plan_whole(plan, config, GPT_4O))
    of_training = [found["base"].disk_bytes, found["train"].disk_bytes, found["train"].passing_disk_bytes]
    assert sum(size or 0 for size in of_training) == sum(plan.disk.terms.values())


def test_with_the_benchmark_files_evaluation_runs(planned: Planned) -> None:
    plan, config = planned("alpaca-7b", "evaluate.data=benchmarks", on="1xA100-80G")
    stage = stages(plan_whole(plan, config, GPT_4O))["evaluate"]
    assert (stage.runs, stage.when, stage.fits, stage.memory_of) == (True, "yes", True, "GPU")
    assert stage.seconds is not None
    assert stage.at_most_seconds is not None
    assert stage.at_most_seconds > stage.seconds > 100
    assert "in bfloat16 on one GPU" in stage.notes[0]
    slower, config = planned("alpaca-7b", "evaluate.data=benchmarks", "evaluate.dtype=float32", on="1xA100-80G")
    notes = stages(plan_whole(slower, config, GPT_4O))["evaluate"].notes
    assert ["in float32 on one GPU" in notes[0], "by hand, in bfloat16 on one GPU" in notes[1]] == [True, True]


def test_the_model_itself_needs_no_diff(planned: Planned) -> None:
    plan, config = planned("alpaca-7b", "release.form=full", "evaluate.columns=[]")
    found = stages(plan_whole(plan, config, GPT_4O))
    assert {name: found[name].when for name in ("diff", "recover", "evaluate", "judge")} == {
        "diff": "no: the model itself is published",
        "recover": "no: the model itself is published",
        "evaluate": "no: the recipe names no columns",
        "judge": "no: no column needs one",
    }
    assert not any(found[name].counted for name in ("diff", "recover", "evaluate", "judge"))


def test_both_forms_of_diff(planned: Planned) -> None:
    for form, said in (("diff", "exact diff of float32, 67 %"), ("float-diff", "float diff of float32, 100 %")):
        plan, config = planned("alpaca-7b", f"release.form={form}")
        assert stages(plan_whole(plan, config, GPT_4O))["diff"].notes[0].startswith(said)


@pytest.mark.parametrize(("on", "notes"), [("2xT4", 0), ("2x2xT4", 1)])
def test_several_machines_need_a_launcher(planned: Planned, on: str, notes: int) -> None:
    plan, config = planned("alpaca-7b", on=on)
    stage = stages(plan_whole(plan, config, GPT_4O))["train"]
    assert (stage.runs, stage.counted, stage.when) == (True, True, "yes")
    assert ["--launch" in note for note in stage.notes] == [True] * notes


@pytest.mark.parametrize(
    ("billions", "heads", "on", "said", "gpus"),
    [
        (6.7, 32, "8xA100-80G", "in bfloat16 on one GPU", 1),
        (32.5, 52, "8xA100-80G", "in bfloat16 on one GPU", 1),
        (65.3, 64, "8xA100-80G", "in bfloat16 by vLLM over 8 GPUs", 8),
        (32.5, 52, "8xA100-40G", "in bfloat16 by vLLM over 4 GPUs", 4),
        (13.0, 40, "2xV100-16G", "in float16 by vLLM over 2 GPUs", 2),
    ],
)
def test_a_large_model_is_asked_in_the_way_there_is_room_for(
    planned: Planned, billions: float, heads: int, on: str, said: str, gpus: int
) -> None:
    plan, config = planned("alpaca-7b", "evaluate.data=benchmarks", on=on)
    plan, config = with_weights(plan, billions, heads, config)
    stage = stages(plan_whole(plan, config, GPT_4O))["evaluate"]
    by_hand = said != "in bfloat16 on one GPU"
    assert (stage.runs, stage.when) == ((False, "by hand") if by_hand else (True, "yes"))
    note = stage.notes[1 if by_hand else 0]
    assert note.startswith(said)
    dtype = "float32" if "V100" in on else "bfloat16"
    assert (f"packtrain run computes in {dtype} on one device" in stage.notes[0]) == by_hand
    assert stage.memory_bytes is not None
    assert billions * 2e9 / gpus < stage.memory_bytes <= plan.setting.hardware.memory_bytes


def test_what_fits_nowhere_is_said(planned: Planned) -> None:
    plan, config = planned("alpaca-7b", on="cpu:16G")
    plan, config = with_weights(plan, 65.3, 64, config)
    whole = plan_whole(plan, config, GPT_4O)
    stage = stages(whole)["evaluate"]
    assert (stage.fits, stage.seconds, stage.runs) == (False, None, False)
    assert "130.6 GB in 16 bits, 261.2 GB in float32" in stage.notes[0]
    assert whole.totals.time_unknown == whole.totals.disk_unknown == ("evaluate", "judge")


@pytest.mark.parametrize(
    ("judge", "usd"),
    [
        (Judge("openai:gpt-4o", 0.0, 1000.0), 40.5),
        (Judge("openai:nobody-knows"), None),
        (Judge("longest"), 0.0),
        (Judge("local:judge"), 0.0),
        (Judge("vllm:judge", 0.0, 1000.0), 40.5),
    ],
)
def test_the_judge_s_price(planned: Planned, judge: Judge, usd: float | None) -> None:
    plan, config = planned("alpaca-7b")
    whole = plan_whole(plan, config, judge)
    stage = stages(whole)["judge"]
    assert stage.usd == usd
    assert whole.totals.usd_unknown == (("judge",) if usd is None else ())
    assert ("its price is not known" in stage.notes[0]) == (usd is None)


@pytest.mark.parametrize(
    ("model", "known", "paid"),
    [
        ("openai:gpt-4o-mini", True, True),
        ("openai:nobody-knows", False, False),
        ("local:teacher", True, False),
        ("scripted:world", True, False),
    ],
)
def test_the_price_of_made_data(planned: Planned, model: str, known: bool, paid: bool) -> None:
    plan, config = planned("demo", f"generate.model={model}")
    whole = plan_whole(plan, config, GPT_4O)
    stage = stages(whole)["generate"]
    assert (stage.runs, stage.seconds) == (True, None)
    assert (stage.usd is not None) == known
    assert bool(stage.usd) == paid
    assert "generate" in whole.totals.time_unknown
    assert whole.totals.usd_unknown == (() if known else ("generate",))


def test_the_demo_s_own_questions_are_not_known(planned: Planned) -> None:
    plan, config = planned("demo")
    found = stages(plan_whole(plan, config, GPT_4O))
    assert "not known: how much exact_match asks" in found["evaluate"].notes
    assert found["evaluate"].seconds is None
    assert found["judge"].when == "no: no column needs one"
    assert plan.setting.workload.conversations == 4000


def test_nothing_known_of_the_data(planned: Planned) -> None:
    plan, config = planned("default", "template=tulu", "data.sources.mine.path=mine.jsonl")
    whole = plan_whole(plan, config, GPT_4O)
    stage = stages(whole)["data"]
    assert (stage.seconds, stage.disk_bytes) == (None, None)
    assert {"data", "train"} <= set(whole.totals.time_unknown)


def test_finding_duplicates_takes_longer(planned: Planned) -> None:
    seconds = []
    for duplicates in ("keep", "exact", "near:0.9"):
        plan, config = planned("alpaca-7b", f"data.duplicates={duplicates}")
        seconds.append(stages(plan_whole(plan, config, GPT_4O))["data"].seconds or 0.0)
    assert seconds == sorted(seconds)
    assert seconds[2] / seconds[0] == pytest.approx(1.36 / 0.44)
