"""Evaluation in a plan: the columns that `packtrain run` asks, and the one that it asks with `--judge` alone.

`packtrain run` computes in `evaluate.dtype` on one device. Where the model is too large for that, the plan tries what
can be done by hand: 16 bits on one device, then vLLM with the model spread over a machine's GPUs (docs/serving.md).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from packtrain.evaluate.benchmark import benchmark_of
from packtrain.evaluate.judge import FORM_OF_PROFILE
from packtrain.evaluate.workload import (
    READ_SHARE,
    ColumnWork,
    Kind,
    Machine,
    ModelWork,
    batch_rows,
    column_work,
    evaluation_seconds,
    judge_work,
    program_seconds,
)
from packtrain.models.prices import CHARACTERS_PER_TOKEN
from packtrain.pipeline.columns import columns_of_recipe
from packtrain.pipeline.judge import Judge
from packtrain.pipeline.recipe_plan.stage_plan import StagePlan, left_out
from packtrain.train.plan.hardware import MFU, Hardware, stated_flops
from packtrain.train.plan.memory import CUDA_CONTEXT, PYTHON_CPU
from packtrain.train.plan.plan import Plan
from packtrain.weights.info import torch_dtype

ROOM = 0.9
"""Share of a device that weights may take: the rest is for what answers remember and what is at work."""
START_S, START_S_VLLM = 0.8e-3, 0.1e-3
"""Seconds to start one layer's operations on a GPU, from Python and as recorded graphs: assumed."""
SPREAD_OVER = (8, 4, 2)
"""GPUs of one machine that vLLM may share a model among; it must be able to share out the heads of attention."""
SPREAD_SHARE = 0.7
"""Of several GPUs' speed that is left when they share a model: assumed."""
ANSWER_BYTES = 300
"""Of an answer in the logs beside its text: assumed."""


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to ask the model."""

    what: str
    by_hand: bool
    kind: Kind
    memory_bytes: int
    """Of all devices together."""
    model: ModelWork
    machine: Machine | None
    """None where the speed is not known."""
    devices: int = 1


def plan_evaluation(plan: Plan, config: Any, judge: Judge) -> list[StagePlan]:
    """The stages `evaluate` and `judge` of the recipe of `plan`; `config` is the base's."""
    columns, ways = columns_of_recipe(plan.setting.recipe), list(_ways(plan, config))
    return [_evaluate(plan, columns.asked, ways), _judge(plan, columns.judged, ways, judge)]


def _evaluate(plan: Plan, columns: Sequence[str], ways: Sequence[_Way]) -> StagePlan:
    if not columns:
        return left_out("evaluate", "no: the recipe names no columns")
    data = plan.setting.recipe.evaluate.data
    when = "yes" if data else "with evaluate.data=DIR"
    if not ways:
        return _too_large(plan, "evaluate", when)
    stage = _asked("evaluate", columns, ways[0])
    dtype = _dtype_of_run(plan)
    weights = _gb(torch_dtype(dtype).itemsize * plan.shape.weights)
    first = f"packtrain run computes in {dtype} on one device: {weights} GB of weights do not fit"
    if not ways[0].by_hand:
        return replace(stage, when=when, runs=bool(data), notes=(*stage.notes, *_faster(columns, ways[1:])))
    return replace(stage, notes=(first, *stage.notes))


def _faster(columns: Sequence[str], others: Sequence[_Way]) -> Iterator[str]:
    """What the next way would save."""
    for way in others[:1]:
        seconds, _ = _seconds(columns, way)
        if seconds is not None:
            yield f"by hand, {way.what}: about {seconds / 60:,.0f} minutes"


def _judge(plan: Plan, columns: Sequence[str], ways: Sequence[_Way], judge: Judge) -> StagePlan:
    if not columns:
        return left_out("judge", "no: no column needs one")
    work = judge_work(FORM_OF_PROFILE["paper-2023"])
    usd = 0.0 if judge.costs_nothing else work.cost_usd(judge.price) if judge.price else None
    unknown = "; its price is not known: give --price-in and --price-out" if usd is None else ""
    tokens = f"about {work.prompt_tokens:,} tokens in, at most {work.completion_tokens:,} out"
    notes = (
        f"--judge {judge.name}, {work.prompts} prompts, {tokens}{unknown}",
        "its time is that of the model's answers; the judge's own is not known",
    )
    stage = _asked("judge", columns, ways[0]) if ways else _too_large(plan, "judge", "by hand")
    when = "by hand" if not ways or ways[0].by_hand else "with --judge NAME"
    return replace(stage, when=when, runs=False, usd=usd, notes=notes if ways else (*stage.notes, *notes))


def _too_large(plan: Plan, name: str, when: str) -> StagePlan:
    """A model that no way has room for."""
    hardware, weights = plan.setting.hardware, plan.shape.weights
    memory_of: Literal["GPU", "host"] = "host" if hardware.kind == "cpu" else "GPU"
    note = f"the model does not fit: {_gb(2 * weights)} GB in 16 bits, {_gb(4 * weights)} GB in float32"
    return StagePlan(name, when, runs=False, memory_of=memory_of, fits=False, disk_bytes=None, notes=(note,))


def _asked(name: str, columns: Sequence[str], way: _Way) -> StagePlan:
    """The columns asked in this way."""
    works = {column: work for column in columns if (work := column_work(column))}
    seconds, at_most = _seconds(columns, way)
    on_gpu = way.kind == "cuda"
    cache = max((_cache_bytes(work, way) for work in works.values()), default=0)
    weights = way.model.weight_bytes
    memory = (weights + cache) // way.devices + (CUDA_CONTEXT if on_gpu else PYTHON_CPU)
    unmeasured = [column for column in columns if column not in works]
    notes = [f"{way.what}; {_assumed(way)}"]
    if unmeasured:
        notes.append(f"not known: how much {', '.join(unmeasured)} asks")
    disk = sum(map(_log_bytes, works.values()))
    return StagePlan(
        name,
        "by hand",
        runs=False,
        seconds=seconds,
        at_most_seconds=at_most,
        memory_bytes=memory,
        memory_of="GPU" if on_gpu else "host",
        fits=True,
        disk_bytes=None if unmeasured else disk,
        notes=tuple(notes),
    )


def _assumed(way: _Way) -> str:
    machine = way.machine
    if machine is None:
        return "how fast that is, is not known"
    flops = f"{machine.flops / 1e12:,.1f} TFLOP/s" if machine.flops >= 1e11 else f"{machine.flops / 1e9:,.0f} GFLOP/s"
    start = f", {machine.start_s * 1e3:g} ms to start a layer" if machine.start_s else ""
    return f"assumed to reach {flops} and {READ_SHARE * machine.bytes_per_s / 1e9:,.0f} GB/s{start}"


def _seconds(columns: Sequence[str], way: _Way) -> tuple[float | None, float | None]:
    """As an estimate, and if every answer ran on; None when a column or the machine is not known."""
    works = [(column, column_work(column)) for column in columns]
    estimate = at_most = 0.0
    for column, work in works:
        if work is None or way.machine is None:
            return None, None
        programs = program_seconds(work) if benchmark_of(column).outcome == "executed" else 0.0
        estimate += evaluation_seconds(work, way.model, way.machine) + programs
        at_most += evaluation_seconds(work.at_most(), way.model, way.machine) + programs
    return estimate, at_most


def _cache_bytes(work: ColumnWork, way: _Way) -> int:
    """Of what the answers under way remember, at the most."""
    rows = batch_rows(work, way.model, way.kind, way.memory_bytes)
    tokens = rows * (work.computed_tokens + work.max_new_tokens) + work.shared_tokens
    return round(tokens * way.model.cache_bytes)


def _log_bytes(work: ColumnWork) -> int:
    """Of questions and answers, before questions are compressed."""
    text = work.questions * work.prompt_tokens + work.answers * work.new_tokens
    return round(text * CHARACTERS_PER_TOKEN + work.answers * ANSWER_BYTES)


def _ways(plan: Plan, config: Any) -> Iterator[_Way]:
    """The ways that there is room for, that of `packtrain run` first."""
    hardware = plan.setting.hardware
    kind: Kind = "cpu" if hardware.kind == "cpu" else "cuda"
    short, of_run = _short(hardware), _dtype_of_run(plan)
    own = PYTHON_CPU if kind == "cpu" else CUDA_CONTEXT
    where = "the CPU" if kind == "cpu" else "one GPU"
    for dtype in dict.fromkeys((of_run, short)):
        model = _model_work(plan, config, torch_dtype(dtype).itemsize)
        if model.weight_bytes + own <= ROOM * hardware.memory_bytes:
            by_hand = dtype != of_run
            what = f"in {dtype} on {where}" + (f" (--dtype {dtype})" if by_hand else "")
            start = START_S if kind == "cuda" else 0.0
            yield _Way(what, by_hand, kind, hardware.memory_bytes, model, _machine(hardware, dtype, 1, start))
    model, heads = _model_work(plan, config, torch_dtype(short).itemsize), config.get_text_config().num_attention_heads
    for count in SPREAD_OVER:
        room = ROOM * count * hardware.memory_bytes - count * own
        if count <= hardware.per_machine and heads % count == 0 and model.weight_bytes <= room:
            what = f"in {short} by vLLM over {count} GPUs (docs/serving.md)"
            machine = _machine(hardware, short, count, START_S_VLLM)
            yield _Way(what, True, kind, count * hardware.memory_bytes, model, machine, count)
            return


def _short(hardware: Hardware) -> str:
    """The type of 16 bits that suits the devices."""
    return "bfloat16" if hardware.native_bfloat16 or hardware.kind == "cpu" else "float16"


def _dtype_of_run(plan: Plan) -> str:
    """What `packtrain run` computes in, as `models/precision.py` decides it for `auto`."""
    wanted = plan.setting.recipe.evaluate.dtype
    if wanted != "auto":
        return wanted
    return "bfloat16" if plan.setting.hardware.native_bfloat16 else "float32"


def _machine(hardware: Hardware, dtype: str, count: int, start_s: float) -> Machine | None:
    """So many devices as one; None where their speed in `dtype` is not known."""
    peak = dict(hardware.peak_flops).get(dtype) or stated_flops(hardware.name, dtype)
    share = dict(hardware.utilisation).get(dtype, MFU)
    if not peak or not hardware.memory_bytes_per_s:
        return None
    many = count * SPREAD_SHARE if count > 1 else 1.0
    kind: Kind = "cpu" if hardware.kind == "cpu" else "cuda"
    memory, speed = count * hardware.memory_bytes, hardware.memory_bytes_per_s * many
    return Machine(kind, memory, peak * share * many, speed, start_s)


def _model_work(plan: Plan, config: Any, item_bytes: int) -> ModelWork:
    work, text = plan.shape.work, config.get_text_config()
    layers, heads = len(work.attention_windows), text.num_attention_heads
    kept = getattr(text, "num_key_value_heads", None) or heads
    return ModelWork(
        body_weights=work.body_weights,
        head_weights=work.head_weights,
        attention=4 * work.attention_width * layers,
        weight_bytes=item_bytes * plan.shape.weights,
        cache_bytes=2 * layers * work.attention_width * kept // heads * item_bytes,
        layers=layers,
    )


def _gb(size: float) -> str:
    return f"{size / 1e9:,.1f}"
