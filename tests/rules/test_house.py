"""The house rules that a machine can check."""

import ast
import re
from pathlib import Path

import pytest

from packtrain.core.folder import names
from packtrain.core.recipe import Recipe

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = sorted((REPOSITORY / "src").rglob("*.py"))
MAX_LINES = 300
MAX_RECIPE_FIELDS = 50
FORBIDDEN_NAMES = ("utils", "helpers", "misc", "common")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY / "src")))
def test_a_file_does_one_thing(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    assert path.stem not in FORBIDDEN_NAMES
    tree = ast.parse(text)
    if path.name != "__init__.py":
        assert ast.get_docstring(tree), "a module says in its first line what it is"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            assert not node.name.endswith(("Manager", "Handler")), node.name
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            inside = isinstance(node, ast.FunctionDef) and not _is_public(tree, node)
            assert inside or ast.get_docstring(node), f"{node.name} is public and has no docstring"


def _is_public(tree: ast.Module, node: ast.FunctionDef) -> bool:
    """Module functions, and methods of public classes that are not overrides of dunder names."""
    owners = [tree, *(part for part in tree.body if isinstance(part, ast.ClassDef) and not part.name.startswith("_"))]
    return any(node in owner.body for owner in owners)


def test_prompt_strings_stand_in_templates_only() -> None:
    """The markers that define a format occur in `prompts/*.jinja`, never in code that builds prompts."""
    markers = ("### Response:", "<|assistant|>", "Below is an instruction")
    allowed = {"packtrain/chat/session.py"}  # the texts at which a chat answer is cut
    found = {
        str(path.relative_to(REPOSITORY / "src"))
        for path in SOURCES
        if any(marker in path.read_text(encoding="utf-8") for marker in markers)
    }
    assert found <= allowed


def test_no_path_of_a_machine_and_no_secret() -> None:
    pattern = re.compile(r"/(?:home|root|Users)/\w+|sk-[A-Za-z0-9]{20}|hf_[A-Za-z0-9]{20}")
    texts = [
        path
        for folder in ("src", "compat", "docs", "scripts", "bench", "tests")
        for path in (REPOSITORY / folder).rglob("*")
        if path.suffix in (".py", ".md", ".yaml", ".jinja", ".txt", ".jsonl")
    ]
    assert texts
    for path in texts:
        if path.resolve() != Path(__file__).resolve():
            assert not pattern.search(path.read_text(encoding="utf-8")), path


def test_a_recipe_stays_small() -> None:
    def leaves(model: type) -> int:
        total = 0
        for field in model.model_fields.values():
            nested = [part for part in _types(field.annotation) if hasattr(part, "model_fields")]
            total += sum(leaves(part) for part in nested) if nested else 1
        return total

    assert leaves(Recipe) <= MAX_RECIPE_FIELDS


def _types(annotation: object) -> list[type]:
    from typing import get_args

    arguments = get_args(annotation)
    return [part for argument in arguments for part in _types(argument)] if arguments else [annotation]


def test_every_registry_folder_has_something_in_it() -> None:
    for package, suffix in (
        ("packtrain.recipes", ".yaml"),
        ("packtrain.prompts", ".jinja"),
        ("packtrain.mixtures", ".yaml"),
        ("packtrain.data.formats", ".py"),
        ("packtrain.data.clean", ".py"),
        ("packtrain.data.lint_rules", ".py"),
        ("packtrain.generate.filters", ".py"),
        ("packtrain.evaluate.benchmarks", ".py"),
    ):
        assert names(package, suffix), package
