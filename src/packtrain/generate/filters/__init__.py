"""Filters: a filter called X is the one file X in this folder.

Its function `objection(task)` returns why the task is not wanted, or None. The first filter that
objects, in order of their names, is the reason under which a task is counted; the names are chosen
so that this is the order of the original's checks too.
"""

from collections.abc import Callable, Iterable, Mapping

from packtrain.core.folder import module, names
from packtrain.generate.task import Task

Filter = Callable[[Task], str | None]


def load_filters(wanted: Iterable[str] | None = None) -> Mapping[str, Filter]:
    """The filters by name, all of them when `wanted` is None; UserError listing the names for an unknown one."""
    chosen = names(__name__, ".py") if wanted is None else sorted(set(wanted))
    return {name: module(__name__, name, "filter").objection for name in chosen}


def rejection(task: Task, filters: Mapping[str, Filter]) -> tuple[str, str] | None:
    """Name of the first filter that objects to `task` and what it says; None when all let it pass."""
    for name, check in filters.items():
        objection = check(task)
        if objection is not None:
            return name, objection
    return None
