"""What `packtrain show` says of a data format, of a cleaning rule or of the engine's settings."""

import json
from typing import Any, Literal, get_args, get_origin

ENGINE = "engine"
"""What `packtrain show` calls the engine's settings."""


def format_facts(name: str) -> dict[str, Any] | None:
    """Source, licence, files, published counts and options of a data format; None when there is none of that name."""
    from dataclasses import asdict

    from packtrain.core.folder import names
    from packtrain.data.format import AUTO, FORMATS, open_format

    if name == AUTO:
        from packtrain.data import recognition

        return {"format": AUTO, "about": (recognition.__doc__ or "").strip(), "options": {}}
    if name not in names(FORMATS, ".py"):
        return None
    form = open_format(name)
    facts = {key: value for key, value in asdict(form.about).items() if value not in ("", (), None, False)}
    options = {
        key: {"default": field.default, "what": " ".join((field.description or "").split())}
        for key, field in form.option_fields().items()
    }
    return {"format": name, "about": (form.code.__doc__ or "").strip(), **facts, "options": options}


def rule_facts(name: str) -> dict[str, Any] | None:
    """What a cleaning rule does and where it comes from; None when there is none of that name."""
    from packtrain.core.folder import module, names
    from packtrain.data.cleaning import RULES

    if name not in names(RULES, ".py"):
        return None
    return {"cleaning rule": name, "about": (module(RULES, name, "cleaning rule").__doc__ or "").strip()}


def engine_facts(name: str) -> dict[str, Any] | None:
    """Every setting of the engine with its values and default, when `name` is `engine`; None otherwise."""
    if name != ENGINE:
        return None
    from packtrain.core import engine

    settings = {
        key: {
            "default": field.get_default(),
            "values": _choices(field.annotation),
            "what": " ".join((field.description or "").split()),
        }
        for key, field in engine.Engine.model_fields.items()
    }
    return {"about": (engine.__doc__ or "").strip(), "settings": settings}


def _choices(annotation: Any) -> list[Any]:
    """The words that a field takes; empty when it takes something else."""
    inside = get_args(annotation)
    return list(inside) if get_origin(annotation) is Literal else [word for part in inside for word in _choices(part)]


def print_facts(facts: dict[str, Any]) -> None:
    """The facts for people: the description, then a line for each."""
    print(facts["about"] + "\n")
    for key, value in facts.items():
        if key not in ("about", "options", "settings"):
            print(f"{key.replace('_', ' ')}: {_shown(value)}")
    for key, option in facts.get("options", {}).items():
        print(f"--option {key}={option['default']}   {option['what']}".rstrip())
    for key, setting in facts.get("settings", {}).items():
        values = f" ({', '.join(setting['values'])})" if setting["values"] else ""
        print(f"engine.{key}={_written(setting['default'])}{values}\n    {setting['what']}")


def _written(value: Any) -> str:
    """A setting's value as the command line takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
