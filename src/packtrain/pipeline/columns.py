"""Which of a recipe's columns `packtrain run` measures, and why it leaves the others out."""

from dataclasses import dataclass

from packtrain.core.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a recipe."""

    asked: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    """No benchmark fills them."""
    judged: tuple[str, ...] = ()
    """They need a judge, which a recipe does not name."""

    def with_judge(self, judge: str) -> tuple[str, ...]:
        """The columns that are asked when `judge` is at hand, the judged ones last; "" is nobody."""
        return (*self.asked, *(self.judged if judge else ()))


def columns_of_recipe(recipe: Recipe) -> Columns:
    """The columns that are asked, in the recipe's order, and those that are not."""
    from packtrain.evaluate.benchmark import benchmark_of, column_names

    there = column_names()
    known = [column for column in recipe.evaluate.columns if column in there]
    judged = tuple(column for column in known if benchmark_of(column).outcome == "judged")
    unknown = tuple(column for column in recipe.evaluate.columns if column not in there)
    return Columns(tuple(column for column in known if column not in judged), unknown, judged)
