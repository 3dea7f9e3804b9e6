"""Finds sources whose first records are not of the format that the recipe names for them."""

from collections.abc import Iterator
from itertools import islice

from packtrain.core.conversation import Conversation
from packtrain.core.errors import UserError
from packtrain.core.recipe import Data, Source
from packtrain.data.checks import reason_to_drop
from packtrain.data.conversion import Conversion
from packtrain.data.format import AUTO, open_format
from packtrain.data.reading.containers import read_chunks, records_of
from packtrain.data.recognition import with_formats
from packtrain.data.sources import locate, on_the_hub
from packtrain.pipeline.doctor.wanted import STAGE, Wanted
from packtrain.train.doctor_checks import Finding, error, fine, warning

STAGES = ("data",)
LOOKED_AT = 32
"""Records from the beginning of each source."""


def check(wanted: Wanted) -> Iterator[Finding]:
    """A finding for each source whose files are here; what is wrong with its path or format is said by others."""
    for name, source in wanted.recipe.data.sources.items():
        if source.path.startswith(STAGE) or on_the_hub(source):
            continue
        where = f"data.sources.{name}"
        try:
            form = open_format(source.format)
            found = locate(source)
            options = {} if source.format == AUTO else form.options(source.options)
        except UserError:
            continue
        if found.missing or found.is_stdin or form.reads_its_own:
            continue
        try:
            reasons = _reasons(name, source, Conversion(name, wording=source.wording, options=options))
        except UserError as problem:
            yield error(f"{name}: {problem.message}", where, problem.hint)
            continue
        if not reasons:
            yield error(f"{name}: {source.path} holds no record", where, "name another file")
        elif "" in reasons:
            yield fine(f"{name}: the first {len(reasons)} records are read as {source.format}")
        else:
            what = f"{name}: none of the first {len(reasons)} records gives a conversation ({reasons[0]})"
            yield warning(what, where, f"look at them, or name another format: packtrain show {source.format}")


def _reasons(name: str, source: Source, conversion: Conversion) -> list[str]:
    """For each of the first records why nothing comes of it, "" where a conversation does; UserError for bad files."""
    if source.format == AUTO:
        source = with_formats(Data(sources={name: source})).sources[name]
    form = open_format(source.format)
    records = (record for chunk in read_chunks(locate(source).files) for record in records_of(chunk))
    reasons = []
    for record in islice(records, LOOKED_AT):
        made = form.convert(record, conversion)
        found = [(reason_to_drop(item) or "") if isinstance(item, Conversation) else item.reason for item in made]
        reasons.append(found[0] if found and all(found) else "")
    return reasons
