"""How the machine at hand computes what a recipe says: nothing here changes what the model becomes, beyond rounding.

A recipe is the same on a laptop and on a cluster; these settings are not, so they are given beside it,
as `engine.KEY=VALUE` on the command line, and may differ between a run and its resumption.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt

from packtrain.core.recipe_file import apply_override, validated

PREFIX = "engine."
Tracker = Literal["tensorboard", "wandb"]


def _as_written(value: object) -> object:
    """`on` and `off` as text: YAML reads them as true and false."""
    return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value


def _one_or_several(value: object) -> object:
    return [value] if isinstance(value, str) else value


class Engine(BaseModel):
    """Settings of the computation; the defaults suit any machine."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    strategy: Literal["auto", "single", "fsdp", "deepspeed"] = "auto"
    """A name in `train/strategies`; `auto`: one process is `single`, several are `fsdp`."""
    packing: Annotated[Literal["auto", "on", "off"], BeforeValidator(_as_written)] = "auto"
    """Several conversations in one row. `auto`: unless the model's attention cannot keep them apart exactly."""
    attention: Literal["auto", "segments", "sdpa", "eager", "flash_attention_2"] = "auto"
    """`segments` computes each conversation of a row alone; `sdpa` and `eager` take a mask; `auto` the first that is
    exact on this model."""
    micro_batch_tokens: PositiveInt | None = None
    """Tokens per forward pass on one device, padding counted; by default what suits the device. A longer
    conversation still is a micro-batch of its own."""
    activation_checkpointing: bool = False
    """Compute each layer's activations again in the backward pass instead of keeping them."""
    compile: bool = False
    """torch.compile for each decoder layer."""
    cpu_offload: bool = False
    """Keep weights and optimizer state in the host's memory (fsdp and deepspeed, on GPUs)."""
    replicas: PositiveInt = 1
    """Whole copies of the model among the processes (HSDP): the number of nodes, so that each node shards alone."""
    async_checkpoints: bool | None = None
    """Write checkpoints while training goes on, from a copy in the host's memory; by default on GPUs."""
    keep_last: PositiveInt = 1
    """Newest checkpoints that are kept."""
    keep_every_steps: PositiveInt | None = None
    """Checkpoints of these steps are kept for good."""
    trackers: Annotated[tuple[Tracker, ...], BeforeValidator(_one_or_several)] = ()
    """Where metrics go beside `metrics.jsonl`."""
    probes: int = Field(default=8, ge=0)
    """Prompts that the finished model must answer and end; 0 leaves the check out."""


class _Given(BaseModel):
    """The settings under the name by which they are given."""

    engine: Engine = Engine()


def engine_words(engine: Engine) -> list[str]:
    """The settings that are not the defaults, as they are given on the command line: `engine.packing=off`."""
    changed = engine.model_dump(mode="json", exclude_defaults=True)
    return [f"{PREFIX}{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in changed.items()]


def split_engine(overrides: Sequence[str]) -> tuple[Engine, list[str]]:
    """The engine that the `engine.KEY=VALUE` among `overrides` describe, and the overrides that are the recipe's.

    UserError names every unknown key and wrong value.
    """
    values: dict[str, object] = {}
    rest = []
    for override in overrides:
        if override.startswith(PREFIX):
            apply_override(values, override, _Given)
        else:
            rest.append(override)
    given = validated(_Given, values, "engine settings", "see the keys and defaults with: packtrain show engine")
    return given.engine, rest
