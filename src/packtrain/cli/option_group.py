"""Options that several commands share as one parameter: a dataclass whose fields are the options."""

from collections.abc import Callable
from dataclasses import is_dataclass
from functools import WRAPPER_ASSIGNMENTS, wraps
from inspect import Parameter, Signature, signature
from typing import Any


def with_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the fields of a dataclass in place of each parameter of that type: so typer sees the options.

    Annotations of the fields are those of options, their defaults the options' own.
    """
    groups: dict[str, Callable[..., Any]] = {}
    options: list[Parameter] = []
    for name, parameter in signature(command).parameters.items():
        if isinstance(parameter.annotation, type) and is_dataclass(parameter.annotation):
            groups[name] = parameter.annotation
            options += signature(parameter.annotation).parameters.values()
        else:
            options.append(parameter)

    @wraps(command, assigned=[each for each in WRAPPER_ASSIGNMENTS if each != "__annotations__"])
    def ungrouped(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{option: given.pop(option) for option in signature(group).parameters})
        command(**given)

    vars(ungrouped)["__signature__"] = Signature(options)
    return ungrouped
