"""Which data formats a record's fields fit: what to suggest when the chosen one does not."""

from collections.abc import Collection

from packtrain.core.folder import module, names
from packtrain.data.format import FORMATS


def fitting_formats(fields: Collection[str]) -> list[str]:
    """Names of the formats that could read a record with these fields, sorted; of the closest ones only.

    A format says in its `FIELDS` by which ones a record of its kind is known. Closest are the formats that find most.
    """
    wanted = {name: getattr(module(FORMATS, name, "data format"), "FIELDS", ()) for name in names(FORMATS, ".py")}
    fitting = {name: len(needed) for name, needed in wanted.items() if needed and set(needed) <= set(fields)}
    return sorted(name for name, count in fitting.items() if count == max(fitting.values()))
