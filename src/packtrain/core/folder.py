"""The folder is the registry: a thing called X is the one file X in its folder.

There is no list to register in. A name that does not exist prints the names that do, closest first.
"""

import difflib
import importlib
from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import ModuleType

from packtrain.core.errors import UserError


def names(package: str, suffix: str) -> list[str]:
    """Sorted names in a package folder: file names ending in `suffix`, without it and without `_private` ones."""
    entries = (entry.name for entry in files(package).iterdir())
    return sorted(name.removesuffix(suffix) for name in entries if name.endswith(suffix) and not name.startswith("_"))


def unknown(kind: str, name: str, choices: Iterable[str]) -> UserError:
    """The error for a name that is not there: what it might have meant, and all that there is."""
    choices = list(choices)
    close = difflib.get_close_matches(name, choices, n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    return UserError(f"unknown {kind}: {name}", f"{meant}there are: {', '.join(choices)}")


def resource(package: str, name: str, suffix: str, kind: str) -> Traversable:
    """The file `name + suffix` in a package folder; UserError listing the names when there is none."""
    choices = names(package, suffix)
    if name not in choices:
        raise unknown(kind, name, choices)
    return files(package) / (name + suffix)


def module(package: str, name: str, kind: str) -> ModuleType:
    """The module `name` of a package folder; UserError listing the names when there is none."""
    choices = names(package, ".py")
    if name not in choices:
        raise unknown(kind, name, choices)
    return importlib.import_module(f"{package}.{name}")
