"""Everything that goes by a name, kind after kind: what `packtrain ls` lists and `packtrain show` shows."""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

from packtrain.cli import facts
from packtrain.core.errors import UserError
from packtrain.core.folder import module, names, unknown

_LONGEST_LINE = 80
"""Characters of a recipe's base and data in a list."""
Facts = dict[str, Any]
"""`about` and whatever else is known of a thing; `text`, if it is there, is printed below."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of things that have names."""

    name: str
    """As `--kind` takes it."""
    title: str
    """Of several, in a list; one of them without the last letter."""
    names: Callable[[], Sequence[str]]
    facts: Callable[[str], Facts]
    """What is known of the one of that name."""

    @property
    def singular(self) -> str:
        """What one of them is called."""
        return self.title.removesuffix("s")

    def line(self, name: str) -> str:
        """The one of that name in one line."""
        return next(iter(self.facts(name)["about"].strip().splitlines()), "")


def kinds() -> tuple[Kind, ...]:
    """All kinds, in the order in which a name without a kind is looked for."""
    return (
        Kind("recipe", "recipes", _recipes, _recipe),
        Kind("mixture", "data mixtures", _mixtures, _mixture),
        Kind("format", "data formats", _formats, lambda name: _found(facts.format_facts(name))),
        Kind("rule", "cleaning rules", lambda: names("packtrain.data.clean", ".py"), _rule),
        Kind("template", "prompt formats", _templates, _template),
        Kind("column", "benchmark columns", _columns, _column),
        Kind("benchmark", "benchmarks", lambda: names("packtrain.evaluate.benchmarks", ".py"), _benchmark),
        Kind("lint", "lint rules", lambda: names("packtrain.data.lint_rules", ".py"), _lint),
        Kind("filter", "task filters", lambda: names("packtrain.generate.filters", ".py"), _filter),
        Kind("preset", "generation presets", lambda: names("packtrain.generate.presets", ""), _preset),
        Kind("adapter", "adapter presets", _adapters, _adapter),
        Kind("device", "known devices", _devices, _device),
    )


def kind_called(name: str) -> Kind:
    """The kind of that name; UserError listing the kinds there are."""
    found = {kind.name: kind for kind in kinds()}
    if name not in found:
        raise unknown("kind", name, found)
    return found[name]


def find(name: str, kind: str | None) -> list[Kind]:
    """The kinds, or the one `kind`, in which there is something of that name; UserError where `kind` has none."""
    if kind is None:
        return [each for each in kinds() if name in each.names()]
    chosen = kind_called(kind)
    if name not in chosen.names():
        raise unknown(chosen.name, name, chosen.names())
    return [chosen]


def unknown_name(name: str) -> UserError:
    """The error for a name that nothing has: what it might have meant, of any kind, and where all names are listed."""
    there = {other: each.singular for each in reversed(kinds()) for other in each.names()}
    small = {other.lower(): other for other in there}
    close = [small[found] for found in difflib.get_close_matches(name.lower(), small, n=3)]
    meant = f"did you mean {' or '.join(f'{other} ({there[other]})' for other in close)}? " if close else ""
    return UserError(f"nothing is called {name}", f"{meant}all names: packtrain ls; a recipe of your own ends in .yaml")


def _found(known: Facts | None) -> Facts:
    if known is None:
        raise UserError("it has gone meanwhile", "install the package again")
    return known


def _doc(package: str, name: str, kind: str) -> str:
    return (module(package, name, kind).__doc__ or "").strip()


def _recipes() -> list[str]:
    from packtrain.core.recipe_file import recipe_names

    return recipe_names()


def _recipe(name: str) -> Facts:
    from packtrain.core.recipe_file import load_recipe
    from packtrain.pipeline.train_recipe import DEFAULT

    recipe = load_recipe(name)
    if name == DEFAULT:  # whose base and data the user names
        return {"about": recipe.title}
    tuned = f"{recipe.base.name or recipe.base.path} on {', '.join(recipe.data.sources)}"
    return {"about": f"{recipe.title}: {shorten(tuned, _LONGEST_LINE, placeholder=' ...')}"}


def _mixtures() -> list[str]:
    from packtrain.core.recipe_file import mixture_names

    return mixture_names()


def _mixture(name: str) -> Facts:
    from packtrain.core.recipe_file import load_mixture

    return {"about": load_mixture(name).title}


def _formats() -> list[str]:
    from packtrain.data.format import AUTO

    return [AUTO, *names("packtrain.data.formats", ".py")]


def _rule(name: str) -> Facts:
    return _found(facts.rule_facts(name))


def _templates() -> list[str]:
    from packtrain.prompts.template import AUTO, OWN, template_names

    return [*template_names(), OWN, AUTO]


def _template(name: str) -> Facts:
    """A format with an example of what the model sees, and what it learns of that."""
    from packtrain.core.conversation import Message
    from packtrain.prompts.template import AUTO, FALLBACK, OWN, load_template

    if name == OWN:
        return {"about": "The chat template in the folder of the model.", "prompt format": OWN}
    if name == AUTO:
        return {
            "about": f"The chat template in the folder of the model; {FALLBACK} without one.",
            "prompt format": AUTO,
        }
    template = load_template(name)
    messages = (Message("user", "Your message here!"), Message("assistant", "The answer."))
    shown = template.render(messages, "</s>")
    learnt = ", ".join(repr(shown.text[begin:end]) for begin, end in shown.spans)
    rounds = "one round" if template.one_round else "any number of rounds"
    return {
        "about": f"Prompt format {name}, for {rounds}.",
        "prompt format": name,
        "one_round": template.one_round,
        "example": shown.text,
        "learnt": [shown.text[begin:end] for begin, end in shown.spans],
        "text": f"What the model sees, </s> ending an answer:\n\n{shown.text}\n\n"
        f"What it learns of that: {learnt}\n\n{template.source.rstrip()}\n",
    }


def _columns() -> list[str]:
    from packtrain.evaluate.benchmark import column_names

    return list(column_names())


def _column(name: str) -> Facts:
    from dataclasses import asdict

    from packtrain.core.columns import column_facts, known_columns
    from packtrain.core.published import published_rows
    from packtrain.evaluate.benchmark import column_names, load_benchmark

    known = column_facts(name)
    benchmark = column_names()[name]
    about = _doc("packtrain.evaluate.benchmarks", benchmark, "benchmark")
    heading = f"{known.title}: {known.metric} on {known.benchmark}.\n\n" if name in known_columns() else ""
    published = {row.model: row.columns[name] for row in published_rows().values() if name in row.columns}
    return {
        "about": heading + about,
        "column": name,
        **asdict(known),
        "benchmark file": benchmark,
        "answers are": load_benchmark(benchmark).outcome,
        **_files(benchmark),
        "published": published,
    }


def _files(benchmark: str) -> Facts:
    """Which files a benchmark needs, under which licence, and how one gets them; the user's own are not fetched."""
    from packtrain.evaluate.sources import sources

    if benchmark not in sources():
        return {"files": "your own"}
    source = sources()[benchmark]
    return {
        "files": f"{source.title}; packtrain evaluate fetch {benchmark} --data DIR",
        "licence of the files": source.licence,
    }


def _benchmark(name: str) -> Facts:
    from packtrain.evaluate.benchmark import load_benchmark

    loaded = load_benchmark(name)
    about = _doc("packtrain.evaluate.benchmarks", name, "benchmark")
    known = {"about": about, "benchmark": name, "columns": loaded.columns, "version": loaded.version}
    return known | {"answers are": loaded.outcome} | _files(name)


def _lint(name: str) -> Facts:
    rule = module("packtrain.data.lint_rules", name, "lint rule")
    about = (rule.__doc__ or "").strip()
    return {"about": about, "lint rule": name, "severity": rule.SEVERITY, "mend": rule.MEND}


def _filter(name: str) -> Facts:
    return {"about": _doc("packtrain.generate.filters", name, "filter"), "filter": name}


def _preset(name: str) -> Facts:
    from packtrain.generate.presets import load_preset

    preset = load_preset(name)
    settings = preset.settings.model_dump(mode="json")
    seeds = sum(bool(line.strip()) for line in preset.seeds.read_text(encoding="utf-8").splitlines())
    prompt = preset.prompt.read_text(encoding="utf-8")
    about = settings.pop("title") or f"Preset {name}."
    return {"about": about, "preset": name, **settings, "seed_tasks": seeds, "text": prompt.rstrip("\n") + "\n"}


def _adapters() -> list[str]:
    from packtrain.core.adapter import PRESETS

    return list(PRESETS)


def _adapter(name: str) -> Facts:
    from packtrain.core.adapter import PRESETS

    settings = ", ".join(f"{key}={value}" for key, value in PRESETS[name].items())
    return {"about": f"{settings}; as in train.adapter=lora:preset={name}", "adapter preset": name, **PRESETS[name]}


def _devices() -> list[str]:
    from packtrain.train.plan.hardware import known_devices

    return list(known_devices())


def _device(name: str) -> Facts:
    from packtrain.train.plan.hardware import known_devices

    known = known_devices()[name]
    sizes = [f"{name}-{size}G" for size in known["memory_gb"]]
    about = f"GPU with {' or '.join(map(str, known['memory_gb']))} GB: packtrain plan RECIPE --on 4x{sizes[-1]}"
    return {"about": about, "device": name, **known}


def lines(kind: Kind) -> Iterator[tuple[str, str]]:
    """Name and one line of everything of a kind."""
    return ((name, kind.line(name)) for name in kind.names())


def print_all(known: Mapping[str, Any]) -> None:
    """What is known of a thing, for people."""
    apart = ("text", "example", "learnt")
    facts.print_facts({key: _plain(key, value) for key, value in known.items() if key not in apart})
    if "text" in known:
        print("\n" + known["text"], end="")


def _plain(key: str, value: Any) -> Any:
    """Mappings and lists as one line of text; the rest as it is."""
    if isinstance(value, dict) and key != "options":
        return ", ".join(f"{name} {each}" for name, each in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else value
