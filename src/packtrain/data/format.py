"""Data formats by name: what a module in `data/formats` gives, and how it is called.

A format is one file. It must have

    ABOUT: About
    def convert(record: Record, conversion: Conversion) -> Iterable[Conversation | Dropped]

and may have

    class Options(BaseModel)       what `--option key=value` sets; unknown keys are refused
    def records(path: Path, conversion: Conversion) -> Iterator[Record]
                                   for raw data that are not files of one JSON object per record
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from packtrain.core.conversation import Conversation
from packtrain.core.errors import UserError
from packtrain.core.folder import module, names, unknown
from packtrain.data.about import About
from packtrain.data.conversion import Conversion
from packtrain.data.records import Dropped, Record

FORMATS = "packtrain.data.formats"
AUTO = "auto"
"""The name for whichever format the records have; `recognition` puts the one that it finds in its place."""
OWN_DATA = "auto:"
"""Before the name of a format by which data of the user's own are read: `auto:alpaca`."""
_ABOUT_OWN_DATA = About(dataset=AUTO, title="Your own data", source="your own data", license="")


@dataclass(frozen=True, slots=True)
class Format:
    """One data format."""

    name: str
    code: ModuleType
    own_data: bool = False
    """Whether what is read has only the form, and is not the data set that the format is made for."""

    @property
    def about(self) -> About:
        """What the format says of its data set."""
        about: About = _ABOUT_OWN_DATA if self.own_data else self.code.ABOUT
        return about

    def about_source(self, name: str) -> About:
        """What is known of a source of this name: in a shape that people's own data have, its name tells the set."""
        about = self.about
        return _ABOUT_OWN_DATA if about.common_shape and name != about.dataset else about

    def convert(self, record: Record, conversion: Conversion) -> Iterable[Conversation | Dropped]:
        """What one record holds. A conversation whose id is "" gets the running number of the output as its id."""
        found: Iterable[Conversation | Dropped] = self.code.convert(record, conversion)
        return found

    def alternatives(self, records: Iterable[Record]) -> dict[str, int]:
        """Conversations that other options of the format would give, by option; empty where nobody compares them."""
        count = getattr(self.code, "count_paths", None)
        return {} if count is None else dict(count(records))

    @property
    def compares(self) -> bool:
        """Whether `alternatives` has something to say."""
        return hasattr(self.code, "count_paths")

    @property
    def reads_its_own(self) -> bool:
        """Whether the format reads its raw data in its own way: then a path is not a file of JSON objects."""
        return hasattr(self.code, "records")

    def own_records(self, path: Path, conversion: Conversion) -> Iterator[Record] | None:
        """The records at `path` when the format reads them in its own way; None when they are plain JSON objects."""
        read = getattr(self.code, "records", None)
        found: Iterator[Record] | None = None if read is None else read(path, conversion)
        return found

    def option_fields(self) -> Mapping[str, FieldInfo]:
        """The options by name, with their defaults and what they do."""
        model: type[BaseModel] | None = getattr(self.code, "Options", None)
        return {} if model is None else model.model_fields

    def options(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """`given` with its values checked and defaults filled in; UserError for one that is unknown or wrong."""
        model: type[BaseModel] | None = getattr(self.code, "Options", None)
        if model is None:
            if given:
                raise UserError(f"the format {self.name} has no options (found {', '.join(given)})", "leave them out")
            return {}
        try:
            return model.model_validate(dict(given)).model_dump()
        except ValidationError as error:
            known = ", ".join(f"{name}={field.default}" for name, field in model.model_fields.items())
            problems = "; ".join(_explain(problem) for problem in error.errors())
            raise UserError(f"options of {self.name}: {problems}", f"options and defaults: {known}") from error


def _explain(problem: Any) -> str:
    """What is wrong with one option."""
    name = ".".join(map(str, problem["loc"]))
    return f"there is no {name}" if problem["type"] == "extra_forbidden" else f"{name}: {problem['msg']}"


@cache
def open_format(name: str) -> Format:
    """The format called `name`, or the one whose data set Open-Instruct calls so; UserError listing all formats.

    `auto` has nothing but a name, and `auto:NAME` reads as NAME does.
    """
    here = names(FORMATS, ".py")
    if name == AUTO:
        return Format(AUTO, ModuleType(AUTO), own_data=True)
    if name.startswith(OWN_DATA):
        return replace(open_format(name.removeprefix(OWN_DATA)), name=name, own_data=True)
    if name in here:
        return Format(name, module(FORMATS, name, "data format"))
    others = (Format(other, module(FORMATS, other, "data format")) for other in here)
    found = next((other for other in others if other.about.dataset == name), None)
    if found is None:
        raise unknown("data format", name, [AUTO, *here])
    return found


def numbered(found: Iterable[Conversation | Dropped], dataset: str, first: int = 0) -> Iterator[Conversation | Dropped]:
    """The same with `<dataset>_<running number>` wherever a conversation has no id of its own."""
    number = first
    for item in found:
        if isinstance(item, Conversation) and not item.id:
            item = replace(item, id=f"{dataset}_{number}")
            number += 1
        yield item


def converted(records: Iterable[Record], form: Format, conversion: Conversion) -> Iterator[Conversation | Dropped]:
    """What `records` hold, in order and numbered, in this process."""
    return numbered((item for record in records for item in form.convert(record, conversion)), conversion.dataset)
