"""Records of raw data files, and what cannot be learnt from."""

from dataclasses import dataclass
from typing import Any

from packtrain.core.conversation import Message
from packtrain.core.errors import UserError

_NAMED = 20
"""Fields found that an error names."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A record that cannot be learnt from, and why: every format yields these among its conversations."""

    id: str
    reason: str
    """A short phrase, the same for all records dropped for the same cause: reports count by it."""
    messages: tuple[Message, ...] = ()
    """What it said, where the raw record alone does not tell; kept beside with the reason."""


@dataclass(frozen=True, slots=True)
class Record:
    """One JSON object of a raw file."""

    number: int
    """From 0, in file order."""
    where: str
    """For error messages: `file:line` or `file: record N`."""
    fields: dict[str, Any]

    def require(self, *names: str) -> None:
        """Raise UserError, naming the fields found and expected, unless all of `names` are there."""
        missing = [name for name in names if name not in self.fields]
        if missing:
            found = ", ".join(name[:60] for name in list(self.fields)[:_NAMED]) or "none"
            found += f" and {len(self.fields) - _NAMED} more" if len(self.fields) > _NAMED else ""
            raise UserError(
                f"{self.where}: missing {', '.join(missing)} (found: {found}; expected: {', '.join(names)})",
                "check that the format fits the file",
            )


def not_text(*values: tuple[str, object]) -> str | None:
    """The reason for dropping a record in which one of the named values is no string; None when all are."""
    return next((f"{name} is not text" for name, value in values if not isinstance(value, str)), None)
