"""`packtrain ls` and `packtrain show` know everything that has a name."""

import json
from importlib.resources import files
from typing import Any

import pytest

from packtrain.cli.catalogue import find, kind_called, kinds, print_all, unknown_name
from packtrain.core.errors import UserError
from packtrain.core.score import COLUMNS

FOLDERS = {
    "recipe": ("packtrain.recipes", ".yaml"),
    "mixture": ("packtrain.mixtures", ".yaml"),
    "format": ("packtrain.data.formats", ".py"),
    "rule": ("packtrain.data.clean", ".py"),
    "template": ("packtrain.prompts", ".jinja"),
    "benchmark": ("packtrain.evaluate.benchmarks", ".py"),
    "lint": ("packtrain.data.lint_rules", ".py"),
    "filter": ("packtrain.generate.filters", ".py"),
    "preset": ("packtrain.generate.presets", ""),
}
"""Kinds that are folders: a thing called X is the one file X in it."""


@pytest.mark.parametrize("kind", FOLDERS)
def test_what_lies_in_a_folder_is_listed(kind: str) -> None:
    package, suffix = FOLDERS[kind]
    there = {
        entry.name.removesuffix(suffix)
        for entry in files(package).iterdir()
        if (entry.name.endswith(suffix) if suffix else entry.is_dir()) and not entry.name.startswith("_")
    }
    more = {"format": {"auto"}, "template": {"own", "auto"}}.get(kind, set())
    assert there
    assert set(kind_called(kind).names()) == there | more


def test_the_eleven_columns_are_listed() -> None:
    assert set(COLUMNS) < set(kind_called("column").names())


@pytest.mark.parametrize("kind", [kind.name for kind in kinds()])
def test_everything_says_in_a_line_what_it_is(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = kind_called(kind)
    assert chosen.names()
    for name in chosen.names():
        line = chosen.line(name)
        assert 5 < len(line) < 160, (name, line)
        known = chosen.facts(name)
        assert json.loads(json.dumps(known))["about"]
        print_all(known)
        assert capsys.readouterr().out.startswith(known["about"])


def test_names_are_looked_for_in_order_and_a_kind_settles_it() -> None:
    assert [kind.name for kind in find("alpaca", None)] == ["format", "template", "preset"]
    assert [kind.name for kind in find("tulu", None)] == ["mixture", "template"]
    assert [kind.name for kind in find("alpaca", "preset")] == ["preset"]
    assert find("nothing", None) == []
    with pytest.raises(UserError, match="unknown template: tullu"):
        find("tullu", "template")
    with pytest.raises(UserError, match="unknown kind: templates"):
        find("tulu", "templates")


def test_a_template_is_shown_as_the_model_sees_it(packtrain: Any) -> None:
    shown = packtrain("show", "tulu", "--kind", "template", "--json")
    facts = json.loads(shown.stdout)
    assert facts == {
        "about": "Prompt format tulu, for any number of rounds.",
        "prompt format": "tulu",
        "one_round": False,
        "example": "<|user|>\nYour message here!\n<|assistant|>\nThe answer.</s>",
        "learnt": ["The answer.</s>"],
    }


def test_a_column_is_shown_with_what_was_published(packtrain: Any) -> None:
    shown = packtrain("show", "gsm:cot").stdout
    assert "Tulu 65B 60.0" in shown
    assert "hub: openai/gsm8k" in shown
    assert "packtrain evaluate fetch gsm --data DIR" in shown
    assert "licence of the files: MIT; demonstrations Apache-2.0" in shown
    assert "answers are: read" in shown
    own = packtrain("show", "exact_match").stdout
    assert own.startswith("Exact match on held-back conversations of one's own")
    assert "files: your own" in own


def test_a_recipe_says_in_its_line_what_is_tuned_on_what() -> None:
    assert kind_called("recipe").line("alpaca-7b") == "Alpaca 7B: llama-7b on stanford_alpaca"
    tulu = kind_called("recipe").line("tulu-65b")
    assert tulu.startswith("Tulu 65B: llama-65b on flan_v2, cot_zero_shot, cot_few_shot, dolly, ")
    assert tulu.endswith(", ...")
    assert kind_called("recipe").line("default") == "A model fine-tuned on data of one's own"


@pytest.mark.parametrize(
    ("name", "meant"),
    [("mmlu:5sho", "mmlu:5shot (benchmark column)"), ("tullu", "tulu ("), ("h100", "H100 (known device)")],
)
def test_a_wrong_name_is_looked_for_in_all_kinds(name: str, meant: str) -> None:
    error = unknown_name(name)
    assert error.message == f"nothing is called {name}"
    assert error.hint.startswith("did you mean ")
    assert meant in error.hint


def test_a_name_like_no_other_is_pointed_to_the_list() -> None:
    assert unknown_name("zzzzzzzz").hint == "all names: packtrain ls; a recipe of your own ends in .yaml"


def test_what_has_no_values_cannot_be_changed(packtrain: Any) -> None:
    refused = packtrain("show", "dolly", "x=1")
    assert refused.returncode == 2
    assert "error: dolly is a data format and has no values to change" in refused.stderr


def test_other_things_of_the_same_name_are_told_beside_the_result(packtrain: Any) -> None:
    shown = packtrain("show", "tulu")
    assert shown.stderr == "also a prompt format: packtrain show tulu --kind template\n"
    listed = packtrain("ls", "template").stdout
    assert listed.splitlines()[0] == "alpaca             Prompt format alpaca, for one round."
    assert list(json.loads(packtrain("ls", "preset", "--json").stdout)) == ["alpaca", "code_alpaca"]
