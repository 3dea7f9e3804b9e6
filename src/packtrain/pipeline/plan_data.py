"""What a plan may know of a recipe's data: a file's own, what the user states, or what is published of the sets."""

from pathlib import Path

from packtrain.core.conversation import Message
from packtrain.core.errors import UserError
from packtrain.core.recipe import Recipe
from packtrain.data.format import open_format
from packtrain.pipeline.doctor.wanted import GENERATED
from packtrain.prompts.template import load_template, template_names
from packtrain.train.plan.workload import (
    CHARACTERS_PER_TOKEN,
    LEARNT_SHARE,
    Workload,
    measured_workload,
    stated_workload,
    unknown_workload,
)


def workload_for(
    recipe: Recipe, data: Path | None, conversations: int | None, mean_tokens: float | None, base: Path | None
) -> Workload:
    """The data in figures, the surest that there are; `base` is the folder with the tokenizer, where it is at hand.

    UserError for a file that holds no conversations, and when it is given beside figures.
    """
    stated = conversations is not None or mean_tokens is not None
    if data is not None:
        if stated:
            raise UserError(
                "--data says how many conversations there are", "leave --conversations and --mean-tokens out"
            )
        return measured_workload(data, recipe, base)
    published = published_workload(recipe)
    known = published or generated_workload(recipe) or unknown_workload(recipe.train)
    if not stated:
        return known
    return stated_workload(
        conversations or known.conversations,
        mean_tokens or known.mean_tokens,
        recipe.train,
        known.learnt_share if published else LEARNT_SHARE,
        "as stated" if conversations and mean_tokens else f"as stated; else: {known.source}",
    )


def published_workload(recipe: Recipe) -> Workload | None:
    """Rows and mean lengths that are published of all the recipe's data sets; None when one has none."""
    rows = tokens = learnt = 0.0
    around = _around_a_round(recipe.template)
    for source in recipe.data.sources.values():
        kind = open_format(source.format)
        if kind.own_data:
            return None
        about = kind.about
        if not (about.rows and about.rounds and about.prompt_tokens and about.completion_tokens):
            return None
        count = min(about.rows, source.max_examples or about.rows) * (source.fraction or 1.0) * source.repeat
        length = about.rounds * (about.prompt_tokens + about.completion_tokens + around)
        within = min(length, recipe.train.max_length_tokens)
        rows += count
        tokens += count * within
        learnt += count * within * about.rounds * about.completion_tokens / length
    return stated_workload(
        max(1, round(rows) - recipe.data.held_out),
        tokens / rows,
        recipe.train,
        learnt / tokens,
        "published means (arXiv 2306.04751, Table 1), the template's words added",
    )


def generated_workload(recipe: Recipe) -> Workload | None:
    """As many conversations as the recipe makes itself, each as long as may be; None when it has other data."""
    made = recipe.generate
    if made is None or any(source.path != GENERATED for source in recipe.data.sources.values()):
        return None
    count, limit = max(1, made.count - recipe.data.held_out), recipe.train.max_length_tokens
    source = "as many as `generate` makes, each as long as the limit"
    return stated_workload(count, limit, recipe.train, LEARNT_SHARE, source)


def _around_a_round(template: str) -> float:
    """Tokens that a shipped template puts around a question and its answer, by its characters; 0 for others."""
    if template not in template_names():
        return 0.0
    empty = (Message("user", ""), Message("assistant", ""))
    return len(load_template(template).render(empty, "").text) / CHARACTERS_PER_TOKEN
