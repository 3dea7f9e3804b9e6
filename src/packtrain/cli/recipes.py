"""`packtrain ls` and `packtrain show`: what there is, and what a recipe says."""

from typing import Annotated

import typer

from packtrain.cli.options import Json, Overrides, print_json

LS_EXAMPLE = "Example: packtrain ls"
SHOW_EXAMPLE = (
    "Examples: packtrain show alpaca-7b train.lr=1e-5     packtrain show oasst1     packtrain show identity     "
    "packtrain show engine"
)


def ls(as_json: Json = False) -> None:
    """List recipes, prompt formats, data formats, mixtures, cleaning rules and benchmark columns."""
    from packtrain.core.folder import names
    from packtrain.core.recipe_file import mixture_names, recipe_names
    from packtrain.data.format import AUTO as AUTO_FORMAT
    from packtrain.evaluate.benchmark import column_names
    from packtrain.prompts.template import AUTO, OWN, template_names

    found = {
        "recipes": recipe_names(),
        "prompt formats": [*template_names(), OWN, AUTO],
        "data mixtures": mixture_names(),
        "cleaning rules": names("packtrain.data.clean", ".py"),
        "data formats": [AUTO_FORMAT, *names("packtrain.data.formats", ".py")],
        "benchmark columns": list(column_names()),
    }
    if as_json:
        print_json(found)
        return
    for kind, entries in found.items():
        print(f"{kind}: {', '.join(entries)}")


def show(
    recipe: Annotated[
        str,
        typer.Argument(help="A recipe, data mixture, data format or cleaning rule, a recipe's YAML file, or engine."),
    ],
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Print a recipe or a mixture (resolved with overrides or --json), or what a data format or cleaning rule is.

    `engine` is not a recipe: it lists the settings engine.KEY=VALUE of packtrain train.
    """
    from packtrain.cli.facts import engine_facts, format_facts, print_facts, rule_facts
    from packtrain.core.recipe_file import load_mixture, load_recipe, mixture_names, mixture_text, recipe_text

    facts = format_facts(recipe) or rule_facts(recipe) or engine_facts(recipe)
    if facts is not None:
        print_json(facts) if as_json else print_facts(facts)
        return
    if recipe in mixture_names():
        resolved, text = load_mixture(recipe, overrides or ()).model_dump(mode="json"), mixture_text(recipe)
    else:
        resolved, text = load_recipe(recipe, overrides or ()).resolved(), recipe_text(recipe)
    if as_json:
        print_json(resolved)
    elif overrides:
        import yaml

        print(yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True), end="")
    else:
        print(text, end="")
