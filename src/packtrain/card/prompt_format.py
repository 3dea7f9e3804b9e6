"""The input format of a model card, rendered from the model's own template."""

from packtrain.card import known
from packtrain.core.conversation import Message
from packtrain.core.errors import UserError
from packtrain.core.recipe import Recipe
from packtrain.prompts.template import AUTO, OWN, PromptTemplate, load_template, template_names


def prompt_format(
    recipe: Recipe, language: str = "en", beside: PromptTemplate | None = None
) -> tuple[list[tuple[str, str]], list[str]]:
    """Captions with the exact text that the model is shown before it answers, and what to mind about them.

    `beside`: the template in the model's folder, or the shipped one that it was trained on. It stands for a file that
    the recipe names, and a recipe that leaves the format to its base has no texts without it.
    """
    words = known.read("words", language)["prompt"]
    of_the_base = recipe.template in (OWN, AUTO)
    named = recipe.template not in template_names()
    template = beside if of_the_base or (beside and named) else load_template(recipe.template)
    try:
        alone, with_input = _texts(template, words) if template else ("", "")
    except UserError:  # a base's own, which cannot show one message alone
        template = None
    if template is None:
        return [], [words["of_the_base"]]
    two = template.one_round and with_input != alone
    prompts = [(words["alone" if two else "first"], alone)]
    if two:
        prompts.append((words["with_input"], with_input))
    last_line = alone.rstrip("\n").rsplit("\n", 1)[-1]
    notes = [words["line_feed" if alone.endswith("\n") else "no_line_feed"].format(last=last_line)]
    notes += [words["one_round"]] if template.one_round else []
    return prompts, [*notes, words["of_the_base"]] if of_the_base and not template.shipped else notes


def _texts(template: PromptTemplate, words: dict[str, str]) -> tuple[str, str]:
    """The prompt of a message alone, and of one with an input."""
    messages = Message("user", words["message"]), Message("user", words["message"], words["context"])
    alone, with_input = (template.render((message,), "", for_answer=True).text for message in messages)
    return alone, with_input
