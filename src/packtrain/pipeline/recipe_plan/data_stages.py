"""The stages before training in a plan: data that a language model writes, and their preparation."""

from pathlib import Path

from packtrain.core.recipe import Generate, Recipe
from packtrain.models.prices import price_of
from packtrain.pipeline.recipe_plan.stage_plan import StagePlan, left_out
from packtrain.train.plan.workload import CHARACTERS_PER_TOKEN, Workload

PREPARED_ROWS = {"keep": 18_242 / 0.44, "exact": 18_242 / 0.52, "near": 18_242 / 1.36}
"""Rows of Alpaca per second on two cores, by `data.duplicates` (bench/data.py duplicates, docs/performance.md)."""
ALPACA_TOKENS = 64_935 / 512
"""Mean length of these rows (docs/performance.md): longer ones are taken to cost as much more."""
RECORD_BYTES = 155
"""Of a prepared conversation beside its text: 18,233 rows of Alpaca, 2,819,972 bytes."""
PREPARE_BYTES = (76 + 2 * 46) * 1_000_000
"""Peak of the reading process and of two workers, whatever the number of rows (bench/data.py memory)."""


def plan_generate(recipe: Recipe, settings: Generate | None) -> StagePlan:
    """What making the data takes; time is the endpoint's business and not known."""
    if settings is None:
        return left_out("generate", "no: the recipe makes no data")
    kind = settings.model.partition(":")[0]
    if kind == "scripted":
        return StagePlan("generate", "yes", notes=(f"{settings.model} is a program of its caller and costs nothing",))
    from packtrain.generate.loop import expected
    from packtrain.generate.settings import Settings

    price = price_of(settings.model)
    chosen = Settings(novelty=settings.novelty, seed=recipe.seed)
    estimate = expected(settings.model, settings.count, Path("not-there"), chosen, price=price)
    tokens = f"{estimate.prompt_tokens:,} tokens in and {estimate.completion_tokens:,} out"
    cost = estimate.cost_usd if kind == "openai" else 0.0
    unknown = ", its price is not known" if cost is None else ""
    note = f"{settings.model}: about {estimate.requests:,} requests, {tokens}{unknown}; {estimate.basis}"
    disk = round(estimate.completion_tokens * CHARACTERS_PER_TOKEN)
    return StagePlan("generate", "yes", disk_bytes=disk, usd=cost, notes=(note,))


def plan_data(recipe: Recipe, workload: Workload) -> StagePlan:
    """What preparing the data takes, raw files not counted."""
    rows, tokens = workload.conversations, workload.mean_tokens
    if not rows:
        return StagePlan("data", "yes", memory_bytes=PREPARE_BYTES, disk_bytes=None, notes=("how many are not known",))
    rate = PREPARED_ROWS[recipe.data.duplicates.partition(":")[0]] * ALPACA_TOKENS / tokens
    disk = round(rows * (tokens * CHARACTERS_PER_TOKEN + RECORD_BYTES))
    seconds = rows / rate
    note = f"{rate:,.0f} conversations/s, as measured on two cores, raw files of any size being at hand"
    return StagePlan("data", "yes", seconds=seconds, memory_bytes=PREPARE_BYTES, disk_bytes=disk, notes=(note,))
