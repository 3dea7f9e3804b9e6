"""Finds data sources whose files are not there; says where their publishers put them."""

from collections.abc import Iterator

from packtrain.core.errors import UserError
from packtrain.core.recipe import Source
from packtrain.data.format import open_format
from packtrain.data.sources import locate, on_the_hub
from packtrain.pipeline.doctor.wanted import GENERATED, STAGE, Wanted
from packtrain.train.doctor_checks import Finding, error, fine

STAGES = ("data",)


def check(wanted: Wanted) -> Iterator[Finding]:
    """A finding for each source."""
    for name, source in wanted.recipe.data.sources.items():
        where = f"data.sources.{name}.path"
        if source.path.startswith(STAGE):
            yield from _made_here(wanted, name, source.path, where)
        elif on_the_hub(source):
            yield fine(f"{name}: a data set of the Hub, {source.path}")
        else:
            yield _on_disk(name, source, where)


def _made_here(wanted: Wanted, name: str, path: str, where: str) -> Iterator[Finding]:
    if path != GENERATED:
        yield error(f"{name}: there is no {path}", where, f"{GENERATED} is what the recipe's own generation made")
    elif wanted.recipe.generate is None:
        mend = "give generate.model and generate.count, or a file: " + where + "=FILE"
        yield error(f"{name}: {path}, and the recipe has no generate section", where, mend)
    else:
        yield fine(f"{name}: what the recipe's generate stage makes")


def _on_disk(name: str, source: Source, where: str) -> Finding:
    try:
        found = locate(source)
    except UserError as problem:
        return error(f"{name}: {problem.message}", where, problem.hint)
    if not found.missing:
        return fine(f"{name}: {source.path}")
    return error(f"{name}: there is nothing at {source.path}", where, f"{_get_it(source)}{where}=FILE")


def _get_it(source: Source) -> str:
    """Where the publishers of the format's data set put it; "" for data of the user's own."""
    about = open_format(source.format).about
    if not about.source.startswith("http"):
        return "name your file: "
    return f"get it from {about.source} (more: packtrain show {source.format}), then name it: "
