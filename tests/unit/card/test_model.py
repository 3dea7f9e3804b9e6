"""`packtrain card --model`: the card states what was trained, and one that says otherwise is refused."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from packtrain.card.card import render_card
from packtrain.card.facts import CardFacts
from packtrain.cli.main import app
from packtrain.core.manifest import Manifest
from packtrain.core.recipe_file import load_recipe
from packtrain.core.training_record import handed_on

FIGURES = {
    "steps": 3, "examples": 9, "learnt_tokens": 1234, "final_loss": 2.0, "held_out_before": None,
    "held_out_after": None, "seconds": 75.0, "hardware": "2 CPU cores",
}  # fmt: skip
VERSIONS = {"python": "3.11.7", "torch": "2.13.0", "packtrain": "0.1.0"}
FINISHED = "2025-01-31T10:00:00Z"
LEARNT = {"train.jsonl": "cd" * 32}
OVERRIDES = ["base.path=/models/llama-7b-hf", "train.max_steps=3"]
FACTS = CardFacts(
    date="2025-01-31",
    versions={"packtrain": "0.1.0", "torch": "2.13.0"},
    hardware="2 CPU cores",
    steps=3,
    learnt_tokens=1234,
    training_s=75.0,
    final_loss=2.0,
    conversations={"stanford_alpaca": 9},
)
"""What the record of `tuned` gives a card."""


def run(*arguments: object) -> Any:
    """The command's result; what it raised is in `exception`."""
    return CliRunner().invoke(app, ["card", *map(str, arguments)])


def written(path: Path, stage: str, settings: dict[str, Any], **more: Any) -> Path:
    """A folder with a `run.json`."""
    path.mkdir(parents=True)
    given = {"inputs": {}, "outputs": {}, "figures": {}, "versions": VERSIONS, "finished": FINISHED} | more
    Manifest(stage, settings, **given).write(path)
    return path


def training(path: Path, recipe: str = "alpaca-7b", overrides: Sequence[str] = OVERRIDES) -> Path:
    """The folder of a training."""
    settings = load_recipe(recipe, overrides).resolved() | {"engine": {}}
    return written(path, "train", settings, inputs={"data": LEARNT}, figures=FIGURES)


@pytest.fixture
def tuned(tmp_path: Path) -> Path:
    """A model of alpaca-7b from another base, in three steps."""
    return training(tmp_path / "tuned")


def diff_of(tuned: Path, form: str = "exact") -> Path:
    """The folder of its diff."""
    settings = {"form": form, "growth_rule": "literal", **handed_on(tuned)}
    return written(tuned.with_name("diff"), "diff make", settings, figures={"parameters": 260_032, "share_equal": 1.0})


def card_of(tuned: Path, *arguments: object) -> str:
    """The card that the command writes."""
    out = tuned.with_name("README.md")
    result = run("alpaca-7b", "--model", tuned, "--out", out, "--overwrite", *arguments)
    assert result.exit_code == 0, result.exception
    return out.read_text(encoding="utf-8")


def test_settings_base_and_figures_are_the_recorded_ones(tuned: Path) -> None:
    card = card_of(tuned)
    assert card == render_card(load_recipe("alpaca-7b", OVERRIDES), [], FACTS)
    assert "`train.max_steps`: None → 3" in card
    assert "llama-7b-hf" in card


def test_a_diff_and_what_is_recovered_from_it_have_the_record_too(tuned: Path) -> None:
    diff = diff_of(tuned, "float")
    float_diff = load_recipe("alpaca-7b", [*OVERRIDES, "release.form=float-diff"])
    facts = CardFacts(**vars(FACTS) | {"parameters": 260_032})
    assert card_of(diff) == render_card(float_diff, [], facts)
    recovered = written(tuned.with_name("recovered"), "diff recover", handed_on(diff))
    assert card_of(recovered) == card_of(tuned)


def test_counts_and_hashes_come_from_the_data_that_were_learnt_from(tuned: Path) -> None:
    figures = {"train": 8, "held_out": 2, "sources": {"stanford_alpaca": {"train": 8}}}
    raw = {"stanford_alpaca": {"alpaca_data.json": "ab" * 32}}
    data = {"sources": {"stanford_alpaca": {"format": "alpaca", "path": "x.json"}}}
    other = {"inputs": raw, "figures": figures, "outputs": {"train.jsonl": "ef" * 32}}
    written(tuned.with_name("another"), "data", {"data": data}, **other)
    assert "| 9 |" in card_of(tuned)
    written(tuned.with_name("prepared"), "data", {"data": data}, **other | {"outputs": LEARNT})
    (tuned.with_name("broken")).mkdir()
    (tuned.with_name("broken") / "run.json").write_text("[]")
    card = card_of(tuned)
    assert "| `alpaca_data.json` | `abababababababab` | 8 |" in card
    assert "2 conversations were held out" in card


def test_data_of_other_sources_than_the_recipe_names_are_named(tuned: Path) -> None:
    data = {"sources": {"mine": {"format": "messages", "path": "/data/m.jsonl"}}, "held_out": 1, "name": "a-mixture"}
    figures = {"sources": {"mine": {"train": 7}}}
    written(tuned.with_name("prepared"), "data", {"data": data}, outputs=LEARNT, figures=figures)
    card = card_of(tuned)
    assert "fine-tuned to follow instructions, on `mine`." in card
    assert "52,002" not in card
    assert run("alpaca-7b", "--model", tuned, "--out", tuned / "README.md").exit_code == 0
    refused = run("alpaca-7b", "--model", tuned, "--out", tuned / "other.md", "data.held_out=0").exception
    assert "data.held_out: trained with 1, the card would say 0" in refused.message


def test_each_override_that_contradicts_the_record_is_named_and_nothing_written(tuned: Path) -> None:
    before = sorted(tuned.parent.rglob("*"))
    out = tuned.with_name("README.md")
    wrong = ["base.path=llama-13b", "train.adapter=qlora", "train.lr=2e-4", "train.max_steps=3"]
    refused = run("alpaca-7b", "--model", tuned, "--out", out, *wrong).exception
    assert refused.message == (
        f"{tuned / 'run.json'} records another training: "
        "base.path: trained with llama-7b-hf, the card would say llama-13b; "
        "train.lr: trained with 2e-05, the card would say 0.0002; "
        "train.adapter: trained with none, the card would say qlora"
    )
    assert refused.hint == (
        "leave these overrides out, and name the recipe that was trained: the rest is in the record"
    )
    named = run("default", "--model", tuned, "--out", out).exception
    assert named.message.endswith("name: trained with alpaca-7b, the card would say default")
    form = run("alpaca-7b", "--model", diff_of(tuned), "--out", out, "release.form=full").exception
    assert "release.form: the folder holds a diff, the card would say full" in form.message
    assert [path for path in sorted(tuned.parent.rglob("*")) if "diff" not in str(path)] == before


def test_what_concerns_publishing_may_be_said_anew(tuned: Path) -> None:
    card = card_of(tuned, "title=My Alpaca", "base.license=mit")
    assert card == render_card(load_recipe("alpaca-7b", [*OVERRIDES, "title=My Alpaca", "base.license=mit"]), [], FACTS)


def test_a_licence_and_a_gate_that_were_written_into_the_recipe_later_count(tmp_path: Path) -> None:
    tuned = training(tmp_path / "tuned", "default", ["release.form=diff"])
    later = load_recipe("default").resolved()
    later["release"] |= {"license": "cc-by-4.0", "gate": {"prompt": "Who are you?", "fields": {"Name": "text"}}}
    (tmp_path / "later.yaml").write_text(yaml.safe_dump(later))
    out = tmp_path / "README.md"
    result = run(tmp_path / "later.yaml", "--model", tuned, "--out", out)
    assert result.exit_code == 0, result.exception
    front = yaml.safe_load(out.read_text(encoding="utf-8").split("---\n")[1])
    assert (front["license"], front["extra_gated_fields"]) == ("cc-by-4.0", {"Name": "text"})
    assert "weight-diff" in front["tags"]


@pytest.mark.parametrize("stage", ["train", "diff make"])
def test_a_card_in_a_folder_that_records_another_training_is_refused(tuned: Path, stage: str) -> None:
    folder = tuned if stage == "train" else diff_of(tuned)
    out = folder / "README.md"
    typed = ["base.path=llama-7b-hf", "train.max_steps=3"]
    refused = run("alpaca-7b", "--out", out, *typed, "train.adapter=qlora", "train.lr=2e-4").exception
    assert refused.message == (
        f"{folder / 'run.json'} records another training: "
        "train.lr: trained with 2e-05, the card would say 0.0002; "
        "train.adapter: trained with none, the card would say qlora"
    )
    assert refused.hint == f"leave such overrides out, and give --model {folder}: then nothing has to be typed"
    plain = run("alpaca-7b", "--out", out).exception
    assert "base.path: trained with llama-7b-hf, the card would say llama-7b" in plain.message
    assert not out.exists()
    assert run("alpaca-7b", "--out", out, *typed).exit_code == 0
    other = training(tuned.with_name("other"), "alpaca-7b", ["train.epochs=1"])
    refused = run("alpaca-7b", "--model", other, "--out", out, "--overwrite").exception
    assert "train.epochs: trained with 3, the card would say 1" in refused.message


def test_a_folder_whose_record_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("[]")
    result = run("alpaca-7b", "--out", tmp_path / "README.md")
    assert result.exit_code == 0, result.exception
    assert result.stderr.startswith("warning: the card was not compared with the folder it lies in: ")


def test_folders_without_a_training_are_refused(tmp_path: Path, tuned: Path) -> None:
    out = tmp_path / "README.md"
    data = written(tmp_path / "data", "data", {})
    for folder in (data, tmp_path / "nothing"):
        refused = run("alpaca-7b", "--model", folder, "--out", out).exception
        assert refused.message == f"{folder} has no record of a training"
    record = json.loads((tuned / "run.json").read_text())
    (tuned / "run.json").write_text(json.dumps(record | {"settings": {"train": {"lr": "much"}}}))
    refused = run("alpaca-7b", "--model", tuned, "--out", out).exception
    assert refused.message.startswith(f"recipe recorded in {tuned / 'run.json'}: ")
    both = run("alpaca-7b", "--model", tuned, "--run", tuned, "--out", out).exception
    assert both.message == "--run and --model name the same thing"
    assert not out.exists()
