"""Whether a model that is named somewhere can be asked; none is loaded and nothing is sent."""

from packtrain.core.errors import UserError
from packtrain.core.extras import need
from packtrain.models.open import open_model
from packtrain.pipeline.doctor.wanted import at_hand, is_hub_id
from packtrain.train.doctor_checks import Finding, error, warning


def problem_of(name: str, where: str) -> Finding | None:
    """What keeps the model from being asked: no key, no folder, no such kind, a missing extra; None when nothing does.

    `where` is the setting or option that names it.
    """
    kind, _, path = name.partition(":")
    try:
        if kind not in ("local", "vllm") or not path:
            open_model(name)
            return None
        if kind == "vllm":
            need("vllm", name)
        there = at_hand(path) is not None
    except UserError as problem:
        return error(problem.message, where, problem.hint)
    if there:
        return None
    if is_hub_id(path):
        return warning(f"{path} is not on this machine: it is fetched from the Hub first", where, f"hf download {path}")
    return error(f"no model folder at {path}", where, "name a folder or an id of the Hub")
