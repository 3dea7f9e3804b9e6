"""The pages of docs/reference, made from the code: `python scripts/build_reference.py`.

`commands.md` from what `--help` of every command shows, `configuration.md` from the models of recipe, mixture and
engine, `python.md` from the docstrings of the modules that a program may import, `names.md` from the folders that are
registries. Nothing is typed by hand. `--check` writes nothing and exits with 1 when a page is not what the code says;
tests/rules/test_reference.py does the same.
"""

import ast
import importlib
import inspect
import json
import re
import sys
import textwrap
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = REPOSITORY / "docs" / "reference"
SOURCE = REPOSITORY / "src"
MADE = "*Made from the code by `scripts/build_reference.py`; edit the code, then run `make docs`.*"
MODULES = {
    "Recipes and what stages exchange": (
        "packtrain.core.errors",
        "packtrain.core.conversation",
        "packtrain.core.recipe_file",
        "packtrain.core.score",
        "packtrain.core.manifest",
    ),
    "Prompts and tokens": ("packtrain.prompts.template", "packtrain.prompts.tokenizer", "packtrain.prompts.encode"),
    "Weights": ("packtrain.weights.store", "packtrain.weights.writer"),
    "Diffs": ("packtrain.diff", "packtrain.diff.make", "packtrain.diff.recover", "packtrain.diff.check"),
    "Models that answer": ("packtrain.models.base", "packtrain.models.open", "packtrain.models.scripted"),
    "Evaluation": ("packtrain.evaluate.benchmark", "packtrain.evaluate.run"),
    "Stages": ("packtrain.data.prepare", "packtrain.data.mix", "packtrain.train.stage", "packtrain.pipeline.run"),
}
"""What a program may import; everything else is internal."""


def reference_pages() -> dict[str, str]:
    """Every page by its file name, as it should be."""
    return {
        "commands.md": _commands_page(),
        "configuration.md": _configuration_page(),
        "python.md": _python_page(),
        "names.md": _names_page(),
    }


def _page(title: str, about: str, parts: Sequence[str]) -> str:
    return "\n\n".join([f"# {title}", about, MADE, *(part.rstrip() for part in parts if part)]) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a bar inside a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _code(text: str) -> str:
    return f"`{text}`"


# --- commands -------------------------------------------------------------------------------------------------------


def _commands_page() -> str:
    import typer.main

    from packtrain.cli.main import app

    top: Any = typer.main.get_command(app)
    parts = [part for name in top.commands for part in _command(top.commands[name], ("packtrain", name), "")]
    about = (
        "Every command, its arguments and options: what `--help` says. Results go to stdout, or as JSON with `--json`; "
        "messages go to stderr. The exit status is 0 when it is done, 1 when a check failed, 2 when the input or the "
        "command line is wrong, 130 when it was interrupted. `--debug` shows the traceback of an error."
    )
    return _page("Commands", about, parts)


def _command(command: Any, path: tuple[str, ...], note: str) -> Iterator[str]:
    """The parts of one command, and of those below it."""
    import typer

    below = getattr(command, "commands", None)
    context = typer.Context(command, info_name=path[-1])
    yield f"{'#' * len(path)} {' '.join(path)}"
    yield _paragraphs(command.help)
    if note:
        yield note
    if below is not None:
        has_main = type(command).__name__ == "VerbGroup"
        for number, (name, each) in enumerate(below.items()):
            left_out = f"The word `{name}` may be left out." if has_main and number == 0 else ""
            yield from _command(each, (*path, name), left_out)
        return
    yield f"```\n{_usage(command, path)}\n```"
    parameters = [param for param in command.params if param.name != "help"]
    for kind, title in (("argument", "argument"), ("option", "option")):
        records = [param.get_help_record(context) for param in parameters if param.param_type_name == kind]
        rows = [[_code(record[0]), _prose(_one_line(record[1]))] for record in records if record]
        if rows:
            yield _table([title, "what it is"], rows)
    examples = _examples(command.epilog)
    if examples:
        yield f"```\n{examples}\n```"


def _paragraphs(text: str | None) -> str:
    return "\n\n".join(_prose(_one_line(part)) for part in inspect.cleandoc(text or "").split("\n\n"))


def _prose(text: str) -> str:
    """Help text as Markdown: signs that Markdown would take for its own are escaped outside of code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*_<])", r"\\\1", part) for part in parts)


def _usage(command: Any, path: tuple[str, ...]) -> str:
    """The command with its arguments and the options that have to be given."""
    words = list(path)
    for param in command.params:
        if param.param_type_name == "argument":
            name = param.metavar or param.name.upper().removesuffix("...")
            words.append(name if param.required else name if name.startswith("[") else f"[{name}]")
            if param.nargs == -1 and not words[-1].endswith("..."):
                words[-1] += "..."
    needed = [param for param in command.params if param.param_type_name == "option" and param.required]
    words += [f"{param.opts[0]} {param.opts[0].lstrip('-').upper()}" for param in needed]
    return " ".join([*words, "[OPTION]..."])


def _examples(epilog: str | None) -> str:
    """What `packtrain.cli.examples` has put below its heading."""
    _, _, shown = (epilog or "").partition(":\n")
    return textwrap.dedent(shown)


# --- configuration --------------------------------------------------------------------------------------------------


def _configuration_page() -> str:
    from packtrain.core import engine, recipe

    sections = ("Recipe", "Base", "Data", "Source", "Train", "Evaluate", "Generate", "Release", "Gate", "Mixture")
    parts = [_model(getattr(recipe, name), _prefix(name)) for name in sections]
    parts.append(_model(engine.Engine, "engine."))
    about = (
        "Every key of a recipe, of a mixture and of the engine, with what it takes and its default. On the command "
        "line a key is `train.lr=1e-5`, in a YAML file `lr` below `train`. Unknown keys are errors. "
        "`packtrain show NAME` prints a shipped recipe with the source of each number; engine settings are given on "
        "the command line alone."
    )
    return _page("Configuration", about, parts)


def _prefix(section: str) -> str:
    nested = {"Recipe": "", "Mixture": "", "Source": "data.sources.NAME.", "Gate": "release.gate."}
    return nested.get(section, f"{section.lower()}.")


def _model(model: Any, prefix: str) -> str:
    """One section: heading, what it is, and a row for each key."""
    told = _attribute_docstrings(model)
    rows = []
    for name, field in model.model_fields.items():
        default = "needed" if field.is_required() else _default(field.get_default(call_default_factory=True))
        takes = _takes(field.annotation, field.metadata)
        rows.append([_code(prefix + name), takes, default, _one_line(told.get(name))])
    title = f"## {model.__name__}" + (f": `{prefix}`" if prefix else "")
    return "\n\n".join([title, inspect.cleandoc(model.__doc__ or ""), _table(["key", "takes", "default", ""], rows)])


def _attribute_docstrings(model: Any) -> dict[str, str]:
    """The text below each field of a class and of those that it builds on."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if each.__module__.startswith("packtrain."):
            [tree] = ast.parse(inspect.getsource(each)).body
            found |= _told(tree)
    return found


def _told(tree: Any) -> dict[str, str]:
    pairs = zip(tree.body, tree.body[1:], strict=False)
    return {
        line.target.id: text.value.value
        for line, text in pairs
        if isinstance(line, ast.AnnAssign)
        and isinstance(line.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }


def _default(value: Any) -> str:
    if hasattr(value, "model_dump"):
        return "its defaults"
    return _code(value if isinstance(value, str) and value else json.dumps(value))


def _takes(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """What a field takes, in words."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(_code(str(word)) for word in inside)
    if hasattr(annotation, "__metadata__"):
        return _takes(inside[0], [*metadata, *annotation.__metadata__])
    if origin in (Union, types.UnionType):
        kinds = [_takes(kind, metadata) for kind in inside if kind is not type(None)]
        return " or ".join([*kinds, *(["nothing"] if type(None) in inside else [])])
    if origin is tuple:
        items = [_takes(kind) for kind in inside if kind is not Ellipsis]
        return f"list: {items[0]}" if Ellipsis in inside else f"{len(items)} of: {items[0]}"
    if origin is dict:
        return f"names with {_takes(inside[1])}"
    if hasattr(annotation, "model_fields"):
        return f"section {annotation.__name__}"
    kind = {bool: "`true`, `false`", int: "whole number", float: "number", str: "text"}.get(annotation, "anything")
    return kind + _bounds(metadata)


def _bounds(metadata: Sequence[Any]) -> str:
    words = {"gt": "above", "ge": "from", "lt": "below", "le": "to"}
    found = {}
    for each in metadata:
        for part in getattr(each, "metadata", None) or [each]:
            found |= {key: getattr(part, key) for key in words if getattr(part, key, None) is not None}
    return "".join(f" {words[key]} {found[key]:g}" for key in words if key in found)


# --- the Python interface -------------------------------------------------------------------------------------------


def _python_page() -> str:
    parts = []
    for title, modules in MODULES.items():
        parts.append(f"## {title}")
        parts += [part for module in modules for part in _module(module)]
    about = (
        "What a program may import: the types that stages exchange, and one function for each stage. What is not on "
        "this page is internal and may change. Every error that a user can mend is a `UserError` with a message and a "
        "hint."
    )
    return _page("Python", about, parts)


def _module(name: str) -> Iterator[str]:
    """The parts of one module: its docstring, then each public class and function of it."""
    path = SOURCE / name.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield f"### {name}"
    yield _docstring(tree)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield from _definition(node)


def _definition(node: ast.FunctionDef | ast.ClassDef) -> Iterator[str]:
    yield f"#### {node.name}"
    if isinstance(node, ast.FunctionDef):
        yield f"```python\n{_signature(node)}\n```"
        yield _docstring(node)
        return
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    fields = [line for line in node.body if isinstance(line, ast.AnnAssign) and not _name(line).startswith("_")]
    lines = [f"class {node.name}{f'({bases})' if bases else ''}:", *(f"    {ast.unparse(line)}" for line in fields)]
    yield "\n".join(["```python", *(lines if fields else [lines[0].removesuffix(":")]), "```"])
    yield _docstring(node)
    told = _told(node)
    yield "\n".join(f"- `{_name(line)}`: {_one_line(told[_name(line)])}" for line in fields if _name(line) in told)
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
            yield f"```python\n{_signature(method)}\n```"
            yield _docstring(method)


def _name(line: ast.AnnAssign) -> str:
    return ast.unparse(line.target)


def _signature(node: ast.FunctionDef) -> str:
    """The first line of a function, broken where it is long; `@property` and the like above."""
    above = "".join(f"@{ast.unparse(each)}\n" for each in node.decorator_list)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"def {node.name}({ast.unparse(node.args)}){returns}"
    if len(line) <= 100:
        return above + line
    return above + f"def {node.name}(\n    " + ",\n    ".join(_arguments(node.args)) + f",\n){returns}"


def _arguments(arguments: ast.arguments) -> list[str]:
    """The arguments of a function, each with its type and default."""
    text, pieces, depth = ast.unparse(arguments), [""], 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += char
    return [piece.strip() for piece in pieces]


def _docstring(node: Any) -> str:
    return ast.get_docstring(node) or ""


# --- names ----------------------------------------------------------------------------------------------------------


def _names_page() -> str:
    from packtrain.cli.facts import format_facts
    from packtrain.core.folder import names
    from packtrain.core.recipe_file import load_mixture, load_recipe, mixture_names, recipe_names
    from packtrain.evaluate.benchmark import column_names
    from packtrain.prompts.template import template_names

    doctor = (
        "packtrain.pipeline.doctor.installation",
        "packtrain.pipeline.doctor.recipe",
        "packtrain.train.doctor_checks",
    )
    checks = [row for folder in doctor for row in _rules(folder)]
    recipes = [
        [_code(name), recipe.title, _code(recipe.base.path), _code(recipe.template), recipe.release.form]
        for name in recipe_names()
        for recipe in [load_recipe(name)]
    ]
    formats = [
        [_code(name), _one_line(facts.get("title") or _first(facts["about"])), facts.get("license", "")]
        for name in names("packtrain.data.formats", ".py")
        for facts in [format_facts(name) or {"about": ""}]
    ]
    columns = [[_code(name)] for name in column_names()]
    parts = [
        "## Recipes\n\n" + _table(["recipe", "what it makes", "base", "prompt format", "released as"], recipes),
        "## Prompt formats\n\n" + _table(["format"], [[_code(name)] for name in template_names()]),
        "## Data mixtures\n\n" + _table(["mixture", ""], [[_code(n), load_mixture(n).title] for n in mixture_names()]),
        "## Data formats\n\n" + _table(["format", "what it is", "licence of the data"], formats),
        "## Cleaning rules\n\n" + _table(["rule", "what it does"], _rules("packtrain.data.clean")),
        "## Lint rules\n\n" + _table(["rule", "what it finds"], _rules("packtrain.data.lint_rules")),
        "## Filters of generated instructions\n\n" + _table(["filter", ""], _rules("packtrain.generate.filters")),
        "## Benchmark columns\n\n" + _table(["column"], columns),
        "## Checks of the doctor\n\n" + _table(["check", "what it is about"], checks),
    ]
    about = (
        "What can be named on the command line and in a recipe: each is one file in its folder, and `packtrain ls` "
        "lists what is there, and `packtrain show NAME` says more of any of them."
    )
    return _page("Names", about, parts)


def _rules(folder: str) -> list[list[str]]:
    """Every file of a folder that is a registry, with the first sentence of what it says of itself."""
    from packtrain.core.folder import names

    return [
        [_code(name), _prose(_first(importlib.import_module(f"{folder}.{name}").__doc__))]
        for name in names(folder, ".py")
    ]


def _first(text: str | None) -> str:
    return _one_line((text or "").strip().split("\n\n")[0])


def main() -> None:
    """Write the pages, or with `--check` name those that differ and exit with 1."""
    pages = reference_pages()
    if "--check" in sys.argv[1:]:
        differ = [name for name, text in pages.items() if not _same(FOLDER / name, text)]
        if differ:
            sys.exit(f"not what the code says: {', '.join(differ)}; run python scripts/build_reference.py")
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


def _same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    main()
