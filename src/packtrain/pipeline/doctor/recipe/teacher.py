"""Finds a model for `generate` that cannot be asked: no key, no folder, no such kind, a missing extra."""

from collections.abc import Iterator

from packtrain.core.errors import UserError
from packtrain.core.extras import need
from packtrain.models.open import open_model
from packtrain.pipeline.doctor.wanted import Wanted, at_hand, is_hub_id
from packtrain.train.doctor_checks import Finding, error, fine, warning

STAGES = ("generate",)
_WHERE = "generate.model"


def check(wanted: Wanted) -> Iterator[Finding]:
    """One finding when the recipe generates; no model is loaded and nothing is sent."""
    settings = wanted.recipe.generate
    if settings is None:
        return
    kind, _, name = settings.model.partition(":")
    try:
        if wanted.has_teacher:
            pass
        elif kind in ("local", "vllm") and name:
            if kind == "vllm":
                need("vllm", settings.model)
            if at_hand(name) is None:
                yield _absent(name)
                return
        else:
            open_model(settings.model)
    except UserError as problem:
        yield error(problem.message, _WHERE, problem.hint)
    else:
        yield fine(f"{settings.count:,} instructions by {settings.model}")


def _absent(name: str) -> Finding:
    if is_hub_id(name):
        return warning(
            f"{name} is not on this machine: it is fetched from the Hub first", _WHERE, f"hf download {name}"
        )
    return error(f"no model folder at {name}", _WHERE, "name a folder or an id of the Hub")
