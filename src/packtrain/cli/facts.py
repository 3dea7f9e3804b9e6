"""What `packtrain show` says of a data format or of a cleaning rule."""

from typing import Any


def format_facts(name: str) -> dict[str, Any] | None:
    """Source, licence, files, published counts and options of a data format; None when there is none of that name."""
    from dataclasses import asdict

    from packtrain.core.folder import names
    from packtrain.data.format import FORMATS, open_format

    if name not in names(FORMATS, ".py"):
        return None
    form = open_format(name)
    facts = {key: value for key, value in asdict(form.about).items() if value not in ("", (), None)}
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


def print_facts(facts: dict[str, Any]) -> None:
    """The facts for people: the description, then a line for each."""
    print(facts["about"] + "\n")
    for key, value in facts.items():
        if key not in ("about", "options"):
            print(f"{key.replace('_', ' ')}: {_shown(value)}")
    for key, option in facts.get("options", {}).items():
        print(f"--option {key}={option['default']}   {option['what']}".rstrip())


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
