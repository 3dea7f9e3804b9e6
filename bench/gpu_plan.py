"""The part of bench/gpu.py that asks packtrain's plan what a training should take, to stand beside what it took."""

from typing import Any

from gpu_setup import GB, Setting

from packtrain.core.engine import Engine
from packtrain.core.recipe_file import load_recipe


def planned_gb(setting: Setting, config: Any, engine: Engine, precision: str, examples: Any) -> dict[str, Any]:
    """What torch should allocate at most for alpaca-7b's learning of this model on these conversations, or why not."""
    try:
        from packtrain.train.plan.hardware import parse_hardware
        from packtrain.train.plan.plan import plan
        from packtrain.train.plan.workload import Workload

        some = [examples[index] for index in range(0, len(examples), max(1, len(examples) // 1024))]
        lengths = [len(one.input_ids) for one in some]
        learnt = sum(one.learnt_tokens for one in some) / sum(lengths)
        folder = setting.work / "planned"
        config.save_pretrained(folder)
        recipe = load_recipe("alpaca-7b", [f"train.precision={precision}"])
        workload = Workload(len(examples), tuple(lengths), learnt, "the conversations themselves")
        found = plan(recipe, engine, parse_hardware("this"), workload, model_config=folder)
        return {"planned_gb": found.memory.allocated / GB, "planned": dict(found.memory.device)}
    except Exception as error:  # the plan is compared here, and must not spoil what was measured
        return {"planned_gb": None, "not_planned": f"{type(error).__name__}: {error}"[:300]}
