"""`packtrain card` as it is typed: model card without a verb, data card, licence texts, languages."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from tests.unit.card.reported import SCORES
from typer.testing import CliRunner

from packtrain.card.card import render_card
from packtrain.card.facts import CardFacts
from packtrain.cli.main import app
from packtrain.core.conversation import Conversation, Message, write_conversations
from packtrain.core.manifest import Manifest
from packtrain.core.recipe_file import load_recipe
from packtrain.core.score import write_scores


def run(*arguments: object) -> Any:
    """The command's result; what it raised is in `exception`."""
    return CliRunner().invoke(app, ["card", *map(str, arguments)])


def test_a_recipe_needs_no_verb_and_the_file_is_named(tmp_path: Path) -> None:
    out = tmp_path / "README.md"
    result = run("alpaca-7b", "--out", out)
    assert result.exit_code == 0, result.exception
    assert result.stdout == f"{out}\n"
    assert result.stderr == "note: llama_license.txt must lie beside the model; --licences DIR copies what is needed\n"
    assert out.read_text(encoding="utf-8") == render_card(load_recipe("alpaca-7b"), [], CardFacts())
    assert run("recipe", "alpaca-7b", "--out", tmp_path / "same.md").exit_code == 0
    assert (tmp_path / "same.md").read_bytes() == out.read_bytes()


def test_scores_repository_licences_and_language(tmp_path: Path) -> None:
    texts, scored, out = tmp_path / "texts", tmp_path / "scores", tmp_path / "out" / "README.md"
    for folder in (texts, scored):
        folder.mkdir()
    for name in ("LICENSE.txt", "llama_license.txt"):
        (texts / name).write_text(name)
    write_scores(scored / "scores.json", "m", SCORES)
    Manifest("evaluate", {}, {}, {}, finished="2025-02-01T10:00:00Z").write(scored)
    result = run(
        "tulu-65b", "--scores", scored / "scores.json", "--repo", "org/tulu", "--licences", texts, "--language", "zh",
        "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.exception
    hidden = out.parent / ".eval_results"
    told = f"note: {hidden}, a hidden folder, has the scores as the Hub reads them: publish it as well\n"
    assert result.stderr == told
    results = ["mmlu", "gsm8k", "big_bench_hard", "tydi_qa", "humaneval", "alpacafarm"]
    written = ["LICENSE.txt", "llama_license.txt", *(f".eval_results/{name}.yaml" for name in results), "README.md"]
    assert result.stdout.split() == [str(out.parent / name) for name in written]
    facts = CardFacts(repository="org/tulu", scores_date="2025-02-01")
    assert out.read_text(encoding="utf-8") == render_card(load_recipe("tulu-65b"), SCORES, facts, "zh")


def test_contradictory_licences_write_nothing(tmp_path: Path) -> None:
    result = run("alpaca-7b", "release.license=mit", "--out", tmp_path / "README.md")
    assert result.exception.message.startswith("the licence mit of the result allows commercial use")
    assert not any(tmp_path.iterdir())


def test_figures_of_a_run_come_from_its_records(tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "README.md"
    (work / "stages").mkdir(parents=True)
    for folder in ("data", "tuned", "scores"):
        (work / folder).mkdir()
    counts = {"read": 12, "train": 9, "held_out": 2, "not_drawn": 0, "repeated": 0, "dropped": {}, "mended": {}}
    data = {"train": 9, "held_out": 2, "sources": {"stanford_alpaca": counts}}
    Manifest("data", {}, {"stanford_alpaca": {"alpaca_data.json": "ab" * 32}}, {}, data).write(work / "data")
    trained = {
        "steps": 3, "learnt_tokens": 1234, "first_loss": 3.0, "final_loss": 2.0, "held_out_before": 3.5,
        "held_out_after": 2.5, "seconds": 75.0, "hardware": "2 CPU cores",
    }  # fmt: skip
    versions = {"python": "3.11.7", "torch": "2.13.0", "packtrain": "0.1.0"}
    settings = load_recipe("alpaca-7b").resolved()
    Manifest("train", settings, {}, {}, trained, 42, versions, "2025-01-31T10:00:00Z").write(work / "tuned")
    Manifest("evaluate", {}, {}, {}, finished="2025-02-01T10:00:00Z").write(work / "scores")
    figures = {"share_equal": 1.0, "max_abs_difference": 0.0}
    (work / "stages" / "recover.json").write_text(json.dumps({"figures": figures}))
    result = run("alpaca-7b", "--run", work, "--out", out)
    assert result.exit_code == 0, result.exception
    assert run("alpaca-7b", "--model", work, "--out", tmp_path / "same.md").exit_code == 0
    assert (tmp_path / "same.md").read_bytes() == out.read_bytes()
    facts = CardFacts(
        date="2025-01-31",
        scores_date="2025-02-01",
        conversations={"stanford_alpaca": 9},
        data_hashes={"stanford_alpaca": "ab" * 32},
        held_out=2,
        hardware="2 CPU cores",
        steps=3,
        learnt_tokens=1234,
        training_s=75.0,
        versions={"packtrain": "0.1.0", "torch": "2.13.0"},
        final_loss=2.0,
        held_out_loss_before=3.5,
        held_out_loss_after=2.5,
        diff_equal_share=1.0,
        diff_largest_difference=0.0,
    )
    assert out.read_text(encoding="utf-8") == render_card(load_recipe("alpaca-7b"), [], facts)
    assert run("alpaca-7b", "--run", tmp_path, "--out", tmp_path / "other.md").exception.message == (
        f"{tmp_path} is not the work folder of a run"
    )


def test_what_would_be_refused_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    out, texts = tmp_path / "README.md", tmp_path / "texts"
    texts.mkdir()
    (texts / "llama_license.txt").write_text("LLaMA licence")
    out.write_text("mine")
    assert "exists already" in run("alpaca-7b", "--licences", texts, "--out", out).exception.message
    refused = run("alpaca-7b", "--licences", texts, "--language", "fr", "--out", tmp_path / "new.md")
    assert refused.exception.message == "unknown language of cards: fr"
    path = tmp_path / "no.jsonl"
    assert (
        run("data", path, "--license", "GPPL", "--out", tmp_path / "d.md").exception.message == "unknown licence: gppl"
    )
    assert run("data", path, "--out", out).exception.message == f"{out} exists already"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["README.md", "texts"]


def test_the_data_card_makes_the_reports_that_it_is_not_given(tmp_path: Path) -> None:
    path, out = tmp_path / "mine.jsonl", tmp_path / "README.md"
    turns = (Message("user", "Name a colour."), Message("assistant", "Red."))
    write_conversations(path, [Conversation("mine", "0", turns), Conversation("mine", "1", turns)])
    result = run("data", path, "--license", "cc-by-4.0", "--out", out)
    assert result.exit_code == 0, result.exception
    assert result.stdout == f"{out}\n"
    card = out.read_text(encoding="utf-8")
    assert "| `duplicate` | warning |" in card
    assert "| name | 2 | 100.0 % | colour |" in card
    report = tmp_path / "lint.json"
    report.write_text(json.dumps({"records": 3, "rules": {}}))
    other = run("data", path, "--lint", report, "--out", tmp_path / "other.md")
    assert other.exception.message == "the report of packtrain data lint is about 3 conversations, mine.jsonl has 2"


def test_without_arguments_it_says_what_there_is() -> None:
    shown = run()
    assert shown.exit_code == 0
    assert "The datasheet of a conversation file." in shown.stdout
    assert run("--help").stdout == shown.stdout


def test_scores_of_a_part_of_the_items_are_marked_and_kept_from_the_hub(tmp_path: Path) -> None:
    out, scores = tmp_path / "README.md", tmp_path / "scores.json"
    few = [replace(score, n=4, whole_n=14_042) for score in SCORES[:2]]
    write_scores(scores, "m", [*few, *SCORES[2:]])
    result = run("alpaca-7b", "--scores", scores, "--out", out)
    assert result.exit_code == 0, result.exception
    hidden = tmp_path / ".eval_results"
    told = result.stderr.splitlines()[1:]
    assert told == [
        "note: partial scores, kept out of model-index and .eval_results: mmlu:0shot (4 of 14,042 items), "
        "mmlu:5shot (4 of 14,042 items)",
        f"note: {hidden}, a hidden folder, has the scores as the Hub reads them: publish it as well",
    ]
    assert not (hidden / "mmlu.yaml").exists()
    assert len(list(hidden.iterdir())) == 5
    card = out.read_text(encoding="utf-8")
    assert "| MMLU 0-shot (partial) | 30.0 ± 1.2 | 4 of 14,042 |" in card
    assert "| GSM direct | 32.0 ± 1.2 | 1,002 |" in card
    assert "Average**" not in card
    assert "Partial: only some of the items were asked" in card
    [index] = yaml.safe_load(card.split("---\n")[1])["model-index"]
    assert sum(len(result["metrics"]) for result in index["results"]) == 9


def test_partial_scores_alone_make_no_model_index_and_no_hidden_folder(tmp_path: Path) -> None:
    scores = tmp_path / "scores.json"
    write_scores(scores, "m", [replace(SCORES[0], n=4, whole_n=5)])
    for language, row in (("en", "MMLU 0-shot (partial) | 30.0 ± 1.2 | 4 of 5"), ("zh", "MMLU 0-shot（部分） | ")):
        out = tmp_path / f"{language}.md"
        assert run("tulu-7b", "--scores", scores, "--out", out, "--language", language).exit_code == 0
        card = out.read_text(encoding="utf-8")
        assert row in card
        assert "model-index" not in card
    assert not (tmp_path / ".eval_results").exists()
