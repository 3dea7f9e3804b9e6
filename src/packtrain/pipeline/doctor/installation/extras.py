"""Tells which extras are not installed, what each is for, and the line that installs it.

None of them is needed: a recipe that asks for one is another matter (`recipe/extras.py`).
"""

from collections.abc import Iterator, Mapping

from packtrain.core.extras import EXTRAS, install_line, installed
from packtrain.train.doctor_checks import Finding, fine

PURPOSES: Mapping[str, str] = {
    "web": "packtrain chat --web",
    "vllm": "models answered by vLLM: vllm:DIR",
    "deepspeed": "engine.strategy=deepspeed",
    "lora": "train.adapter=lora, rslora, dora",
    "quant": "train.adapter=qlora",
    "parser": "packtrain data diversity with spaCy's parser",
    "language": "the cleaning rule language",
    "plot": "figures: packtrain plot, --plot, --out NAME.png",
    "tensorboard": "engine.trackers=tensorboard",
    "wandb": "engine.trackers=wandb",
}
"""What works with the extra alone."""


def check() -> Iterator[Finding]:
    """A finding for each extra: its versions, or how to get it."""
    for extra in EXTRAS:
        versions = installed(extra)
        purpose = PURPOSES.get(extra, extra)
        if None in versions.values():
            yield fine(f"{extra} is not installed ({purpose}): {install_line(extra)}")
        else:
            named = ", ".join(f"{name} {version}" for name, version in versions.items())
            yield fine(f"{extra} is there ({purpose}){': ' + named if named else ''}")
