"""Arguments as `fire` reads them: by name (`--name V`, `--name=V`, `--flag`, `--noflag`), the rest by position."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from packtrain.core.errors import UserError

Value = str | bool | None
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a task; a task's switches are those whose default is True or False."""

    what: str
    default: Value = None
    required: bool = False
    by_position: bool = True
    """False: by its name alone."""

    @property
    def is_switch(self) -> bool:
        """Whether its value is True or False."""
        return isinstance(self.default, bool)


@dataclass(frozen=True, slots=True)
class Task:
    """One function that a script offers; `parameters` in the order of their positions."""

    name: str
    what: str
    parameters: Mapping[str, Parameter]


def parse(arguments: Sequence[str], tasks: Sequence[Task]) -> tuple[Task, dict[str, Value]]:
    """The task that is asked for and a value for each of its parameters; UserError when they do not fit it.

    The task is the first argument without a name, or that of `--task`. As with fire, an option takes the
    word behind it as its value unless that is an option too, `-` in a name is `_`, and one letter
    stands for the only parameter that begins with it.
    """
    positional, named = _split(arguments)
    wanted = named.pop("task", None) or (positional.pop(0) if positional else "")
    task = next((task for task in tasks if task.name == wanted.replace("-", "_")), None)
    if task is None:
        there = " or ".join(task.name for task in tasks)
        raise UserError(f"no such task: {wanted}" if wanted else "no task is given", f"begin with {there}; see --help")
    return task, _bind(task, positional, named)


def help_text(command: str, tasks: Sequence[Task]) -> str:
    """What `--help` prints about the tasks of a script that is called as `command`."""
    lines = []
    for task in tasks:
        shown = [f"--{name} ..." if each.required else f"[--{name}]" for name, each in task.parameters.items()]
        lines += [f"{command} {task.name} {' '.join(shown)}", f"  {task.what}", ""]
        for name, each in task.parameters.items():
            default = "" if each.required or each.default is None else f" (default: {each.default})"
            lines.append(f"  --{name:<24} {each.what}{default}")
        lines.append("")
    return "\n".join(lines)


def _split(arguments: Sequence[str]) -> tuple[list[str], dict[str, str | None]]:
    """Words without a name, and options with their values (None: the option alone)."""
    positional: list[str] = []
    named: dict[str, str | None] = {}
    left = [word for word in arguments if word != "--"]
    while left:
        word = left.pop(0)
        if not _is_option(word):
            positional.append(word)
            continue
        spelled, equals, text = word.lstrip("-").partition("=")
        name = spelled.replace("-", "_")
        takes_next = not equals and left and not _is_option(left[0]) and not name.startswith("no")
        named[name] = text if equals else left.pop(0) if takes_next else None
    return positional, named


def _is_option(word: str) -> bool:
    return re.match(r"--?[A-Za-z]", word) is not None


def _bind(task: Task, positional: Sequence[str], named: Mapping[str, str | None]) -> dict[str, Value]:
    bound: dict[str, Value] = {}
    for name, text in named.items():
        full, text = _full_name(task, name, text)
        bound[full] = _value(full, task.parameters[full], text)
    free = [name for name, each in task.parameters.items() if each.by_position and name not in bound]
    if len(positional) > len(free):
        raise UserError(f"one argument too many: {positional[len(free)]}", _options(task))
    for name, text in zip(free, positional, strict=False):
        bound[name] = _value(name, task.parameters[name], text)
    for name, each in task.parameters.items():
        if each.required and not bound.get(name):
            raise UserError(f"{task.name} needs --{name}", f"give --{name}: {each.what}")
        bound.setdefault(name, each.default)
    return bound


def _full_name(task: Task, name: str, text: str | None) -> tuple[str, str | None]:
    """The parameter that an option means, and its value as text."""
    if name in task.parameters:
        return name, text
    switch = task.parameters.get(name.removeprefix("no"))
    if name.startswith("no") and switch is not None and switch.is_switch and text is None:
        return name.removeprefix("no"), "False"
    begun = [each for each in task.parameters if len(name) == 1 and each.startswith(name)]
    if len(begun) != 1:
        raise UserError(f"{task.name} has no option --{name}{'' if text is None else f'={text}'}", _options(task))
    return begun[0], text


def _value(name: str, parameter: Parameter, text: str | None) -> Value:
    if parameter.is_switch:
        if text is not None and text.lower() not in _TRUTH:
            raise UserError(f"--{name} is True or False, not {text}", f"--no{name} is the same as --{name}=False")
        return True if text is None else _TRUTH[text.lower()]
    if not text:
        raise UserError(f"--{name} has no value", f"give --{name}: {parameter.what}")
    return None if text == "None" and not parameter.required else text


def _options(task: Task) -> str:
    return f"there are: {', '.join(f'--{name}' for name in task.parameters)}"
