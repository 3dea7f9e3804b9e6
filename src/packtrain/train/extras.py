"""Which extras of the package a training asks for; those of its trackers are told by themselves (`trackers`)."""

from packtrain.core.adapter import parse_adapter
from packtrain.core.engine import Engine
from packtrain.core.recipe import Train


def extras_of_training(settings: Train, engine: Engine) -> list[tuple[str, str]]:
    """Each extra with the setting that asks for it, as `train.adapter=lora`."""
    found = []
    if adapter := parse_adapter(settings.adapter):
        found.append(("quant" if adapter.kind == "qlora" else "lora", f"train.adapter={adapter.kind}"))
    if engine.strategy == "deepspeed":
        found.append(("deepspeed", "engine.strategy=deepspeed"))
    return found
