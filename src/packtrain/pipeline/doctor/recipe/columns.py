"""Finds columns that packtrain run will not measure: unknown ones, judged ones, all without a data folder."""

from collections.abc import Iterator, Sequence

from packtrain.pipeline.columns import columns_of_recipe
from packtrain.pipeline.doctor.wanted import Wanted
from packtrain.train.doctor_checks import Finding, error, fine, warning

STAGES = ("evaluate",)
_WHERE, _DATA = "evaluate.columns", "evaluate.data"


def check(wanted: Wanted) -> Iterator[Finding]:
    """A finding for each reason to leave columns out, and one for those that are asked."""
    settings = wanted.recipe.evaluate
    if not settings.columns:
        yield fine("no columns: nothing is measured")
        return
    columns = columns_of_recipe(wanted.recipe)
    if columns.unknown:
        what = f"left out, because there is no such column: {', '.join(columns.unknown)}"
        yield warning(what, _WHERE, "see the columns there are: packtrain ls column")
    if columns.judged and not wanted.judge.name:
        what = f"left out, because it needs a judge: {', '.join(columns.judged)}"
        yield warning(what, _WHERE, "name one: packtrain run ... --judge openai:NAME")
    asked = columns.with_judge(wanted.judge.name)
    if not asked:
        yield error("none of the recipe's columns can be measured", _WHERE, "name one of: packtrain ls column")
    elif not settings.data:
        what = f"nothing is measured ({', '.join(asked)}): no folder with the benchmark files is named"
        yield warning(what, _DATA, _get_them(asked))
    else:
        yield fine(f"will be measured: {', '.join(asked)}")


def _get_them(columns: Sequence[str]) -> str:
    """What to do for the files of these columns; some are the user's own."""
    from packtrain.evaluate.benchmark import column_names
    from packtrain.evaluate.sources import sources

    there = column_names()
    own = [column for column in columns if there[column] not in sources()]
    fetch = "packtrain evaluate fetch --data DIR, then " if len(own) < len(columns) else ""
    return f"{fetch}{_DATA}=DIR{f' with your file of {own[0]}: packtrain show {own[0]}' if own else ''}"
