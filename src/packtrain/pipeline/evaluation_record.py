"""What decides an evaluation beside the recipe: protocols, benchmark files, and the judge of an earlier run."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from packtrain.core.recipe import Recipe
from packtrain.pipeline.columns import columns_of_recipe
from packtrain.pipeline.judge import Judge
from packtrain.pipeline.stage_outlook import Reads, read_json
from packtrain.pipeline.stages import RECORDS
from packtrain.train.doctor_checks import Finding, error

EVALUATE = "evaluate"
"""The stage that measures what a recipe made."""


def versions_of(columns: Sequence[str]) -> dict[str, int]:
    """Column to the version of its benchmark's protocol: scores of two versions must not be compared."""
    from packtrain.evaluate.benchmark import benchmark_of

    return {column: benchmark_of(column).version for column in columns}


def files_of(columns: Sequence[str]) -> Reads:
    """What `columns` read of a data folder: all files but those that are fetched for other benchmarks alone.

    Where a column is not fetched, nobody knows which files it reads: then only the lock file of fetching is left out.
    """
    from packtrain.evaluate.benchmark import column_names
    from packtrain.evaluate.fetch import LOCK
    from packtrain.evaluate.sources import sources

    names, known = column_names(), sources()
    asked = {names[column] for column in columns}
    others = known.keys() - asked if asked <= known.keys() else set()
    own = {place for name in asked & known.keys() for place in _places(name)}
    left_out = tuple({place for name in others for place in _places(name)} - own)
    return Reads(lambda name: name != LOCK and not name.startswith(left_out))


def _places(benchmark: str) -> Iterator[str]:
    """Folders, with `/`, and files of a data folder that are a benchmark's."""
    from packtrain.evaluate.assets import FOLDER
    from packtrain.evaluate.sources import sources

    for file in sources()[benchmark].files:
        for place in (file.to, *(members.to for members in file.unpack)):
            if place:
                yield f"{place.partition('/')[0]}/"
        if file.asset:
            yield f"{FOLDER}/{file.asset}.json"


def judge_before(recipe: Recipe, work: Path) -> Judge | None:
    """Who judged columns that `recipe` still has when they were measured in `work`; None when nobody did."""
    settings = read_json(work / RECORDS / f"{EVALUATE}.json", {"settings": {}})["settings"]
    judged = {*columns_of_recipe(recipe).judged}.intersection(settings.get("columns", ()))
    return Judge(settings["judge"]) if judged and settings.get("judge") else None


def missing_judge(recipe: Recipe, before: Judge) -> Finding:
    """The error that columns cannot be measured again without the judge that they had."""
    judged = ", ".join(columns_of_recipe(recipe).judged)
    return error(
        f"{judged}: judged by {before.name} before, and now no judge is named",
        "--judge",
        f"give --judge {before.name}, who is not asked again what is answered, or take it out of evaluate.columns",
    )
