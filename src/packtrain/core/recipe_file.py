"""Reading recipes: a shipped name or a YAML file, with dotted overrides, all errors at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from packtrain.core.errors import UserError
from packtrain.core.folder import names, resource
from packtrain.core.recipe import Mixture, Recipe

RECIPES = "packtrain.recipes"
MIXTURES = "packtrain.mixtures"
Model = TypeVar("Model", bound=BaseModel)


def recipe_names() -> list[str]:
    """Names of the recipes that the package ships."""
    return names(RECIPES, ".yaml")


def mixture_names() -> list[str]:
    """Names of the data mixtures that the package ships."""
    return names(MIXTURES, ".yaml")


def recipe_text(name_or_path: str) -> str:
    """The YAML text of a shipped recipe or of a file, comments included."""
    return _text(name_or_path, RECIPES, "recipe")


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe with `section.key=value` overrides applied; one UserError lists everything wrong with it."""
    values = _values(recipe_text(name_or_path), f"recipe {name_or_path}", overrides, Recipe)
    return validate_recipe(values, name_or_path)


def load_mixture(name_or_path: str, overrides: Sequence[str] = ()) -> Mixture:
    """The mixture, a shipped name or a YAML file, with `sources.NAME.path=FILE` overrides applied."""
    where = f"mixture {name_or_path}"
    values = _values(_text(name_or_path, MIXTURES, "mixture"), where, overrides, Mixture)
    return validated(Mixture, values, where, "see a shipped one with: packtrain show tulu")


def mixture_text(name: str) -> str:
    """The YAML text of a shipped mixture or of a file, comments included."""
    return _text(name, MIXTURES, "mixture")


def validate_recipe(values: dict[str, Any], where: str) -> Recipe:
    """The recipe that `values` describe; one UserError names every wrong key and value."""
    return validated(Recipe, values, f"recipe {where}", "see the keys and defaults with: packtrain show alpaca-7b")


def _text(name_or_path: str, package: str, kind: str) -> str:
    if name_or_path.endswith((".yaml", ".yml")):
        try:
            return Path(name_or_path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read {kind} {name_or_path}: {error}", "give a UTF-8 YAML file") from error
    return resource(package, name_or_path, ".yaml", kind).read_text(encoding="utf-8")


def _values(text: str, where: str, overrides: Sequence[str], model: type[BaseModel]) -> dict[str, Any]:
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{where} is not valid YAML: {_one_line(error)}", "mend the file") from error
    if not isinstance(values, dict):
        raise UserError(f"{where} is not a mapping", "start from a shipped one: packtrain show alpaca-7b")
    for override in overrides:
        apply_override(values, override, model)
    return values


def validated(model: type[Model], values: dict[str, Any], where: str, hint: str) -> Model:
    """The `model` that `values` describe; one UserError names every wrong key and value."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [_explain(model, problem) for problem in error.errors()]
        raise UserError(f"{where}: " + "; ".join(problems), hint) from error


def apply_override(values: dict[str, Any], override: str, model: type[BaseModel] = Recipe) -> None:
    """Set one dotted key in nested `values`; the value is read as YAML (`1e-5`, `true`, `[a, b]`, text)."""
    key, equals, text = override.partition("=")
    parts = key.split(".")
    if not equals or not all(parts):
        raise UserError(f"not an override: {override!r}", "overrides look like train.lr=1e-5")
    place = values
    for depth, part in enumerate(parts[:-1], start=1):
        inside = place.setdefault(part, {})
        if not isinstance(inside, dict):
            raise UserError(f"{override}: {'.'.join(parts[:depth])} is a value, not a section", "see packtrain show")
        place = inside
    place[parts[-1]] = text if _is_text(parts, model) else _scalar(text)


def _is_text(parts: Sequence[str], model: type[BaseModel]) -> bool:
    """Whether the field at `parts` holds text, which is then taken as it stands: YAML reads `off` as false."""
    field = _section_fields(parts[:-1], model).get(parts[-1])
    return field is not None and (field.annotation is str or get_origin(field.annotation) is Literal)


def _scalar(text: str) -> Any:
    try:
        return float(text) if "e" in text.lower() else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        pass
    try:
        return yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        return text


def _one_line(error: yaml.YAMLError) -> str:
    return " ".join(str(error).split())


def _explain(model: type[BaseModel], problem: Any) -> str:
    path = [part for part in problem["loc"] if part not in ("function-after",)]
    key = ".".join(map(str, path))
    if problem["type"] == "extra_forbidden":
        from difflib import get_close_matches

        fields = list(_section_fields(path[:-1], model))
        close = get_close_matches(str(path[-1]), fields, n=1)
        meant = (
            f"did you mean {'.'.join([*map(str, path[:-1]), close[0]])}?" if close else f"known: {', '.join(fields)}"
        )
        return f"unknown key {key} ({meant})"
    if problem["type"] == "missing":
        return f"missing key {key}"
    if problem["type"] == "tuple_type":
        problem = {**problem, "msg": "should be a list"}
    if problem["type"] == "string_pattern_mismatch" and str(path[-1]) == "duplicates":
        return f"{key}: not one of keep, exact, near, near:SIMILARITY such as near:0.9 (found {problem['input']!r})"
    shown = repr(problem.get("input"))
    return f"{key}: {problem['msg'][0].lower()}{problem['msg'][1:]} (found {shown[:80]})"


def _section_fields(path: Sequence[Any], model: type[BaseModel]) -> dict[str, Any]:
    """Fields of the section at `path` of a `model`; empty for something that is no section."""
    section: Any = model
    for part in path:
        if isinstance(section, type) and issubclass(section, BaseModel) and part in section.model_fields:
            section = section.model_fields[part].annotation
            if not isinstance(section, type):
                arguments = [argument for argument in get_args(section) if isinstance(argument, type)]
                section = next((a for a in arguments if issubclass(a, BaseModel)), section)
        # a key of a mapping of sections (data.sources.NAME): the section stays the same
    return dict(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else {}
