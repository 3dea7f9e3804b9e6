"""What is installed on demand only: the extras of the package, and the error for one that is missing."""

import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from packtrain.core.errors import UserError
from packtrain.core.folder import unknown
from packtrain.core.packages import version_of

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "web": (),
    "vllm": ("vllm",),
    "deepspeed": ("deepspeed",),
    "lora": ("peft",),
    "quant": ("peft", "bitsandbytes"),
    "parser": ("spacy",),
    "language": ("py3langid",),
    "plot": ("matplotlib",),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
}
"""Extra to the packages that it brings, which are imported under the same names; the page of chat needs none."""


def install_line(extra: str) -> str:
    """The command that installs an extra: `pip install 'packtrain[web]'`; UserError listing the extras there are."""
    if extra not in EXTRAS:
        raise unknown("extra", extra, EXTRAS)
    return f"pip install 'packtrain[{extra}]'"


def missing_extra(extra: str, what: str, otherwise: str = "", reason: str = "") -> UserError:
    """The error for `what` (`figures`, `packtrain chat --web`), which works with an extra that is not installed.

    `otherwise` says what can be done without it: `give --out a name in .html`; `reason` is why a package that is
    installed cannot be imported.
    """
    absent = _absent(extra)
    needed = " and ".join(absent or EXTRAS[extra])
    state = "not installed" if absent else "installed and cannot be imported" + (f" ({reason})" if reason else "")
    verb = "are" if " and " in needed else "is"
    hint = install_line(extra) + (f", or {otherwise}" if otherwise else "")
    return UserError(f"{what}: {needed} {verb} {state}", hint)


def need(extra: str, what: str, otherwise: str = "") -> None:
    """Raise UserError when a package of an extra is not installed; nothing is imported, so it costs nothing to ask."""
    if _absent(extra):
        raise missing_extra(extra, what, otherwise)


def imported(module: str, extra: str, what: str, otherwise: str = "") -> Any:
    """A module of an extra's packages, imported; UserError with the line that installs the extra where it cannot be."""
    try:
        return import_module(module)
    except ImportError as error:
        reason = " ".join(str(error).split())[:200]
        raise missing_extra(extra, what, otherwise, reason) from error


def installed(extra: str) -> dict[str, str | None]:
    """Packages of an extra and their versions; None for one that is not installed."""
    return {package: version_of(package) for package in EXTRAS[extra]}


def _absent(extra: str) -> list[str]:
    """Packages of an extra that cannot be found; what is imported already need not be looked for."""
    return [package for package in EXTRAS[extra] if sys.modules.get(package) is None and find_spec(package) is None]
