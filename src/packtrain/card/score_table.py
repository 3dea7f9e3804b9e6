"""The scores of a model card: the table of the columns, and what has to be known to read it."""

from collections.abc import Sequence

from packtrain.card import known
from packtrain.card.markdown import table, thousands
from packtrain.core.columns import column_facts
from packtrain.core.published import PROFILE, PublishedRow, published_rows
from packtrain.core.recipe import Recipe
from packtrain.core.score import COLUMNS, Score, average_of, notes_by_column, one_profile


def published_beside(recipe: Recipe, scores: Sequence[Score]) -> PublishedRow | None:
    """The figures of the published model of this recipe, where they were measured under the scores' profile.

    Raises UserError for scores of several profiles or of one column twice.
    """
    profile = one_profile(scores) or PROFILE
    return published_rows().get(recipe.name) if profile == PROFILE else None


def score_table(scores: Sequence[Score], published: PublishedRow | None, language: str = "en") -> str:
    """Columns in the cards' order, then any others, then the Average when all eleven are whole; "" without rows.

    A partial score is marked, and says of how many items it is a part.
    """
    words = known.read("words", language)["scores"]
    ours = {score.column: score for score in scores}
    printed = published.columns if published else {}
    wanted = [column for column in COLUMNS if column in ours or column in printed]
    rows = []
    for column in [*wanted, *(column for column in ours if column not in COLUMNS)]:
        score, theirs = ours.get(column), printed.get(column)
        measured = (f"{score.value:.1f} ± {score.standard_error:.1f}", _items(score, words)) if score else ("", "")
        rows.append((_title(column, score, words), *measured, "" if theirs is None else f"{theirs:.1f}"))
    mean = average_of(scores)
    published_average = published.average if published else None
    if mean is not None or published_average is not None:
        shown = ("" if each is None else f"{each:.1f}" for each in (mean, published_average))
        ours_shown, theirs_shown = shown
        rows.append((f"**{words['average']}**", ours_shown, "", theirs_shown))
    return table([words[each] for each in ("benchmark", "measured", "items", "published")], rows)


def _title(column: str, score: Score | None, words: dict[str, str]) -> str:
    title = column_facts(column).title
    return words["partial"].format(title=title) if score and score.partial else title


def _items(score: Score, words: dict[str, str]) -> str:
    if score.whole_n is None:
        return thousands(score.n)
    return words["part_of"].format(n=thousands(score.n), whole=thousands(score.whole_n))


def score_notes(
    scores: Sequence[Score], published: PublishedRow | None, date: str | None, language: str = "en"
) -> list[str]:
    """How the figures were measured and compare: one text, then one for each column that has notes, or for them all."""
    words = known.read("words", language)["scores"]
    notes = [] if scores else [words["none"]]
    if scores:
        form = words["profile_dated"] if date else words["profile"]
        notes.append(form.format(profile=scores[0].profile, date=date))
    if published:
        notes.append(words["published_note"].format(model=published.model))
    if average_of(scores) is not None or published:
        notes.append(words["average_of"])
    if any(score.partial for score in scores):
        notes.append(words["partial_note"])
    between = "" if language == "zh" else " "
    own = [
        f"{column_facts(column).title if column else words['all_columns']}: {'; '.join(told)}"
        for column, told in notes_by_column(scores)
    ]
    return [between.join(notes), *own]
