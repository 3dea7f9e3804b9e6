"""`packtrain ls` and `packtrain show`: what there is, and what each thing is or says."""

from typing import Annotated

import typer

from packtrain.cli.examples import examples
from packtrain.cli.options import Json, Overrides, print_json

LS_EXAMPLE = examples(
    "packtrain ls",
    "packtrain ls column",
)
SHOW_EXAMPLE = examples(
    "packtrain show alpaca-7b train.lr=1e-5",
    "packtrain show oasst1",
    "packtrain show mmlu:5shot",
    "packtrain show tulu --kind template",
    "packtrain show engine",
)


def ls(
    kind: Annotated[
        str | None,
        typer.Argument(help="Things of one kind, each with a line: recipe, column, template, preset, ..."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List everything that has a name: recipes, mixtures, formats, rules, columns, benchmarks, filters, presets ..."""
    from packtrain.cli import catalogue

    if kind is not None:
        found = dict(catalogue.lines(catalogue.kind_called(kind)))
        if as_json:
            print_json(found)
            return
        width = max(map(len, found))
        for name, line in found.items():
            print(f"{name:{width}}  {line}".rstrip())
        return
    listed = {each.title: list(each.names()) for each in catalogue.kinds()}
    if as_json:
        print_json(listed)
        return
    for each in catalogue.kinds():
        print(f"{each.title} ({each.name}): {', '.join(listed[each.title])}")


def show(
    recipe: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Anything that packtrain ls lists, a recipe's YAML file, or engine."),
    ],
    overrides: Overrides = None,
    kind: Annotated[
        str | None, typer.Option(help="What the name is of, where several things have it: template, format, ...")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print a recipe or a mixture (resolved with overrides or --json), or what anything else with a name is.

    `engine` is not a recipe: it lists the settings engine.KEY=VALUE of packtrain train.
    """
    from packtrain.cli import catalogue
    from packtrain.cli.facts import engine_facts, print_facts
    from packtrain.core.progress import say

    engine = engine_facts(recipe) if kind is None else None
    if engine is not None:
        print_json(engine) if as_json else print_facts(engine)
        return
    found = catalogue.find(recipe, kind)
    if not found and not recipe.endswith((".yaml", ".yml")):
        raise catalogue.unknown_name(recipe)
    if not found or found[0].name in ("recipe", "mixture"):
        _print_values(recipe, overrides or [], as_json=as_json, mixture=bool(found) and found[0].name == "mixture")
    elif overrides:
        from packtrain.core.errors import UserError

        raise UserError(f"{recipe} is a {found[0].singular} and has no values to change", "leave KEY=VALUE out")
    elif as_json:
        print_json({key: value for key, value in found[0].facts(recipe).items() if key != "text"})
    else:
        catalogue.print_all(found[0].facts(recipe))
    for other in found[1:]:
        say(f"also a {other.singular}: packtrain show {recipe} --kind {other.name}")


def _print_values(name: str, overrides: list[str], *, as_json: bool, mixture: bool) -> None:
    """A recipe or mixture: its commented file, or all its values with --json or with changes."""
    from packtrain.core.recipe_file import load_mixture, load_recipe, mixture_text, recipe_text

    loaded = load_mixture(name, overrides) if mixture else load_recipe(name, overrides)
    values = loaded.model_dump(mode="json")
    if as_json:
        print_json(values)
    elif overrides:
        import yaml

        print(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), end="")
    else:
        print(mixture_text(name) if mixture else recipe_text(name), end="")
