"""From a name on the command line to a model that answers."""

from collections.abc import Callable

from packtrain.core.errors import UserError
from packtrain.core.folder import unknown
from packtrain.models.base import LanguageModel


def open_model(spec: str) -> LanguageModel:
    """The model that `KIND:NAME` names; UserError listing the kinds when there is no such kind.

    `openai:NAME` is a model behind an OpenAI-compatible endpoint (OPENAI_API_KEY, OPENAI_BASE_URL);
    `local:DIR` is a Hugging Face folder, run by transformers; `vllm:DIR` one run by vLLM.
    """
    kind, name = kind_and_name(spec)
    return _KINDS[kind][1](name)


def kind_and_name(spec: str) -> tuple[str, str]:
    """The two parts of `KIND:NAME`, nothing being opened; UserError as of `open_model` when there is no such kind."""
    kind, colon, name = spec.partition(":")
    if not colon or not name:
        forms = ", ".join(f"{kind}:{form}" for kind, (form, _) in _KINDS.items())
        meant = f"; is it openai:{spec}?" if spec and not colon and "/" not in spec else ""
        raise UserError(f"not a model: {spec!r}", f"a model is one of: {forms}{meant}")
    if kind == "scripted":
        raise UserError(f"{spec} is a program that its caller brings", "for the recipe demo: packtrain demo")
    if kind not in _KINDS:
        raise unknown("kind of model", kind, _KINDS)
    return kind, name


def _open_openai(name: str) -> LanguageModel:
    from packtrain.models.openai import OpenAIModel

    return OpenAIModel(name)


def _open_local(name: str) -> LanguageModel:
    from packtrain.models.local import LocalModel
    from packtrain.weights.source import model_folder

    return LocalModel(model_folder(name))


def _open_vllm(name: str) -> LanguageModel:
    from packtrain.models.vllm import VllmModel
    from packtrain.weights.source import model_folder

    return VllmModel(model_folder(name))


_KINDS: dict[str, tuple[str, Callable[[str], LanguageModel]]] = {
    "local": ("DIR", _open_local),
    "openai": ("NAME", _open_openai),
    "vllm": ("DIR", _open_vllm),
}
