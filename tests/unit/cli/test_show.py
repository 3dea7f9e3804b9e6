"""`packtrain show` and `packtrain ls`: recipes, mixtures, data formats and cleaning rules."""

import json
from typing import Any

import pytest

from packtrain.core.folder import names


def test_every_data_format_says_what_it_reads(packtrain: Any) -> None:
    shown = packtrain("show", "oasst1")
    assert shown.returncode == 0
    for line in ("license: apache-2.0", "rows: 34,795", "citation: kopf2023openassistant", "--option top_k=None"):
        assert line in shown.stdout
    facts = json.loads(packtrain("show", "oasst1", "--json").stdout)
    assert (facts["format"], facts["rounds"], facts["options"]["skip_deleted"]["default"]) == ("oasst1", 1.6, True)


@pytest.mark.parametrize("name", names("packtrain.data.formats", ".py"))
def test_facts_of(name: str) -> None:
    from packtrain.cli.facts import format_facts

    facts = format_facts(name)
    assert facts is not None
    assert facts["about"]
    assert facts["dataset"]
    if name not in ("messages", "prompt_completion"):
        assert facts["rows"] > 10_000
        assert facts["license"]
        assert facts["citation"]
        assert facts["source"].startswith("https://")
    assert all(option["what"] for option in facts["options"].values())


def test_rules_mixtures_and_recipes(packtrain: Any) -> None:
    assert "Open-Instruct" in packtrain("show", "identity").stdout
    assert json.loads(packtrain("show", "tulu", "--json").stdout)["name"] == "tulu"
    assert json.loads(packtrain("show", "alpaca-7b", "--json").stdout)["name"] == "alpaca-7b"
    unknown = packtrain("show", "dollly")
    assert unknown.returncode == 2
    assert unknown.stderr.splitlines() == [
        "error: nothing is called dollly",
        "hint: did you mean dolly (data format)? all names: packtrain ls; a recipe of your own ends in .yaml",
    ]
    unreadable = packtrain("show", "none.yaml")
    assert unreadable.returncode == 2
    assert "cannot read recipe none.yaml" in unreadable.stderr
