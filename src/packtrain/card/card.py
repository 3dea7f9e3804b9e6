"""The model card: front matter for the Hub, and text made from recipe, scores and the figures of the run.

Nothing in a card is typed for the occasion: sentences come from `model.LANGUAGE.md.jinja` and the YAML files of this
folder, figures from the run. What is not known is left out.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from packtrain.card import known
from packtrain.card.departures import departures
from packtrain.card.facts import CardFacts
from packtrain.card.front_matter import model_front_matter
from packtrain.card.learnt_data import data_claims, data_notes
from packtrain.card.licences import Verdict, applying, judge_recipe, statements
from packtrain.card.markdown import code, render
from packtrain.card.prompt_format import prompt_format
from packtrain.card.score_table import published_beside, score_notes, score_table
from packtrain.card.tables import data_table, diff_check, training_table
from packtrain.core.atomic import atomic_file, check_output_file
from packtrain.core.hub_id import on_hub
from packtrain.core.hub_results import FOLDER, eval_result_files, our_result_files
from packtrain.core.progress import say
from packtrain.core.recipe import Recipe
from packtrain.core.recipe_file import recipe_names
from packtrain.core.score import Score


def write_card(
    recipe: Recipe,
    out: Path,
    *,
    scores: Sequence[Score],
    facts: CardFacts,
    language: str = "en",
    overwrite: bool = False,
) -> list[Path]:
    """Write the model card to the file `out`, and `.eval_results/NAME.yaml` beside it when there are scores.

    Each file is written atomically, the card last; returns them all. Raises UserError as `render_card` does, or when
    one exists; results that are there already, as for a second card in another language, are left as they are. With
    `overwrite`, results of an earlier card that this one does not state are removed, which is said.
    """
    text = render_card(recipe, scores, facts, language)
    results = eval_result_files(scores, facts.scores_date) if scores else {}
    entries = {out.parent / FOLDER / f"{name}.yaml": content for name, content in results.items()}
    written = {path: content for path, content in entries.items() if not _holds(path, content)} | {out: text}
    for path in written:
        check_output_file(path, overwrite)
    stale = [path for path in our_result_files(out.parent) if path not in entries] if overwrite else []
    for path in stale:
        path.unlink()
    if stale:
        say(f"note: removed, because the card does not state them: {', '.join(map(str, stale))}")
    for path, content in written.items():
        with atomic_file(path) as file:
            file.write(content)
    return list(written)


def _holds(path: Path, content: str) -> bool:
    return path.is_file() and path.read_bytes() == content.encode()


def render_card(recipe: Recipe, scores: Sequence[Score], facts: CardFacts, language: str = "en") -> str:
    """The card as Markdown with YAML front matter, in English or Chinese (`zh`).

    Raises UserError for another language, for unknown and contradictory licences, and for scores of several profiles
    or of one column twice.
    """
    known.check_language(language)
    verdict = judge_recipe(recipe, data_claims(recipe, facts))
    body = {
        **_model(recipe, facts, language),
        **_training(recipe, facts, language),
        **_scores(recipe, scores, facts, language),
        **_licence(verdict, language),
        "citations": known.bibtex(recipe),
    }
    front_matter = model_front_matter(recipe, scores, language, facts.data_on_hub)
    return f"---\n{front_matter}\n---\n\n{render('model', language, body)}"


def _model(recipe: Recipe, facts: CardFacts, language: str) -> dict[str, Any]:
    """What the model is made of, how it is recovered, and how it is prompted."""
    base = known.base(recipe, language)
    sources = recipe.data.sources.items()
    about = [known.dataset(name, source.format, language).get("about", "") for name, source in sources]
    told = [f"{code(name)}: {text}" for (name, _), text in zip(sources, about, strict=True) if text]
    prompts, prompt_notes = prompt_format(recipe, language, facts.template)
    return {
        "recipe": recipe,
        "facts": facts,
        "family": known.family(recipe, language),
        "base": _base_link(recipe),
        "base_facts": {"where": "", "about": "", "example": _example(language)} | base,
        "data_names": known.enumeration([code(name) for name in recipe.data.sources], language),
        "data_table": data_table(recipe, facts, language),
        "data_about": [*told, *data_notes(recipe, facts, language)],
        "diff": recipe.release.form != "full",
        "diff_check": diff_check(facts, language),
        "prompts": prompts,
        "prompt_notes": prompt_notes,
    }


def _training(recipe: Recipe, facts: CardFacts, language: str) -> dict[str, Any]:
    """How it was trained, in what that departs from the shipped recipe, and how to repeat it."""
    paths = [f"data.sources.{name}.path=<{known.last_part(each.path)}>" for name, each in recipe.data.sources.items()]
    changed = departures(recipe, language)
    return {
        "training_table": training_table(recipe, facts, language),
        "departures": changed,
        "repeat": [*paths] if recipe.name in recipe_names() and not changed else [],
    }


def _scores(recipe: Recipe, scores: Sequence[Score], facts: CardFacts, language: str) -> dict[str, Any]:
    published = published_beside(recipe, scores)
    notes, *column_notes = score_notes(scores, published, facts.scores_date, language)
    return {
        "score_table": score_table(scores, published, language),
        "score_notes": notes,
        "column_notes": column_notes,
    }


def _licence(verdict: Verdict, language: str) -> dict[str, Any]:
    return {"licences": applying(verdict, language), "licence_statements": statements(verdict, "model", language)}


def _base_link(recipe: Recipe) -> str:
    title, hub = known.base_title(recipe), on_hub(recipe.base.path)
    if hub is None:
        return f"`{title}`"
    place = f"{hub.repository}/tree/{hub.revision}" if hub.revision else hub.repository
    return f"[{title}](https://huggingface.co/{place})"


def _example(language: str) -> str:
    """What a model of an unknown base is asked in the example."""
    return str(known.read("words", language)["prompt"]["example"])
