"""Finds benchmark files that are missing or cannot be read."""

from collections.abc import Iterator

from packtrain.core.errors import UserError
from packtrain.pipeline.columns import columns_of_recipe
from packtrain.pipeline.doctor.wanted import Wanted
from packtrain.train.doctor_checks import Finding, error, fine

STAGES = ("evaluate",)
_WHERE = "evaluate.data"


def check(wanted: Wanted) -> Iterator[Finding]:
    """A finding for each file at fault, or one with the number of items; nothing where no folder is named."""
    from packtrain.evaluate.benchmark import Setting, benchmark_of

    columns, named = columns_of_recipe(wanted.recipe).with_judge(wanted.judge.name), wanted.recipe.evaluate.data
    folder = wanted.recipe.evaluate.folder
    if not columns or not named:
        return
    if not folder.is_dir():
        yield error(f"there is no folder {named}", _WHERE, f"fetch the files: packtrain evaluate fetch --data {named}")
        return
    problems: dict[str, str] = {}
    items = []
    for column in columns:
        try:
            items.append(f"{column} {len(benchmark_of(column).items(folder, Setting(column)))}")
        except UserError as problem:
            problems.setdefault(problem.message, problem.hint.replace("--data DIR", f"--data {named}"))
    for message, hint in problems.items():
        yield error(message, _WHERE, hint)
    if items:
        yield fine(f"items of the columns: {', '.join(items)}")
