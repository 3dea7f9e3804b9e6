"""`format: auto`: a source's data format, found by its first records.

Recognised are the shapes that people's own files have, by the fields of their records and by whether the format that
reads such fields can read these: chat messages, ShareGPT, Alpaca, Dolly, prompt and completion, FLAN and some more.
Every further record must have the same shape. The data count as the user's own: what is known of the data set that
gave a format its name does not hold for them.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypeVar

from packtrain.core.errors import UserError
from packtrain.core.folder import names
from packtrain.core.progress import say
from packtrain.core.recipe import Data, Source
from packtrain.data.conversion import Conversion
from packtrain.data.format import AUTO, FORMATS, OWN_DATA, Format, open_format
from packtrain.data.reading.byte_stream import STDIN
from packtrain.data.reading.containers import read_chunks, records_of
from packtrain.data.reading.source_files import source_files
from packtrain.data.records import Record

_LOOKED_AT = 32
"""Records from which a format is told."""
_SHOWN_FIELDS = 20

Section = TypeVar("Section", bound=Data)


def with_formats(data: Section) -> Section:
    """The same sources, those of format `auto` with the one that their first records have, which is said.

    UserError, naming the source, for files that cannot be read, are empty, or fit no format or several.
    """
    if all(source.format != AUTO for source in data.sources.values()):
        return data
    return data.model_copy(update={"sources": {name: _named(name, each) for name, each in data.sources.items()}})


def _named(name: str, source: Source) -> Source:
    if source.format != AUTO:
        return source
    try:
        found = _format_of(_first_records(source))
    except UserError as error:
        raise UserError(f"{name}: {error.message}", error.hint) from error
    fields = ", ".join(found.code.FIELDS)
    say(f"{name}: {source.path} is read as {found.name} (its records have {fields})")
    return source.model_copy(update={"format": f"{OWN_DATA}{found.name}"})


def _first_records(source: Source) -> list[Record]:
    files = source_files(source.path, ())
    if STDIN in files or (source.file.exists() and not source.file.is_file() and not source.file.is_dir()):
        raise UserError(
            f"{source.path} can be read once, so its format is not looked for",
            "name the format, such as messages or alpaca, or write the data into a file first",
        )
    records = list(islice((record for chunk in read_chunks(files) for record in records_of(chunk)), _LOOKED_AT))
    if not records:
        raise UserError(f"{source.path} holds no records", "check that the file is the right one")
    return records


def _format_of(records: Sequence[Record]) -> Format:
    """The one format that reads all of these records; UserError when there is none, or more than one."""
    fields = [field for field in records[0].fields if all(field in record.fields for record in records)]
    fitting = [form for form in _shapes() if set(form.code.FIELDS) <= set(fields)]
    errors = {form.name: _misfit(form, records) for form in fitting}
    reading = [form for form in fitting if errors[form.name] is None]
    if len(reading) == 1:
        return reading[0]
    if len(fitting) == 1 and (error := errors[fitting[0].name]) is not None:
        raise UserError(f"{error.message} (taken for {fitting[0].name} by its fields)", error.hint)
    found = ", ".join(field[:60] for field in list(records[0].fields)[:_SHOWN_FIELDS]) or "none"
    file = records[0].where.rpartition(":")[0]
    if reading:
        several = " and ".join(form.name for form in reading)
        raise UserError(
            f"{file}: its records have the fields of several formats, {several} (found: {found})",
            f"name the one that is meant as the source's format: {', '.join(form.name for form in reading)}",
        )
    known = "; ".join(f"{form.name} ({', '.join(form.code.FIELDS)})" for form in _shapes())
    raise UserError(
        f"{file}: no data format is known for records with these fields (found: {found})",
        f"rename the fields, or name the source's format; there are: {known}",
    )


def _shapes() -> Iterator[Format]:
    """The formats that differ in how they read a record; of several that read alike the one that the others use."""
    for name in names(FORMATS, ".py"):
        form = open_format(name)
        here = form.code.convert.__module__ == form.code.__name__
        if here and not form.reads_its_own and getattr(form.code, "FIELDS", ()):
            yield form


def _misfit(form: Format, records: Sequence[Record]) -> UserError | None:
    """What the format finds wrong with the first record that it cannot read; None when it reads all."""
    conversion = Conversion(AUTO, options=form.options({}))
    for record in records:
        try:
            for _ in form.convert(record, conversion):
                pass
        except UserError as error:
            return error
    return None
