"""Finds data formats, options of them and cleaning rules that there are not."""

from collections.abc import Iterator

from packtrain.core.errors import UserError
from packtrain.data.cleaning import load_rules
from packtrain.data.format import AUTO, open_format
from packtrain.pipeline.doctor.wanted import Wanted
from packtrain.train.doctor_checks import Finding, error, fine

STAGES = ("data",)


def check(wanted: Wanted) -> Iterator[Finding]:
    """A finding for each source that cannot be read as the recipe says, or one that all can."""
    wrong = False
    for name, source in wanted.recipe.data.sources.items():
        try:
            form = open_format(source.format)
            if source.format != AUTO:  # whose options are those of the format that is found
                form.options(source.options)
            load_rules(source.clean)
        except UserError as problem:
            wrong = True
            yield error(f"{name}: {problem.message}", f"data.sources.{name}", problem.hint)
    if not wrong:
        yield fine("formats, their options and cleaning rules are known")
