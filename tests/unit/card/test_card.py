"""Model cards: whole cards against stored ones, front matter as the Hub reads it, and nothing that is not known.

`python -m tests.unit.card.test_card` writes the stored cards anew; read the difference before keeping it.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from tests.unit.card.reported import RUNS, SCORES, SMALL

from packtrain.card import known
from packtrain.card.card import render_card, write_card
from packtrain.card.departures import departures
from packtrain.card.facts import CardFacts, measured_on
from packtrain.card.licences import judge_recipe
from packtrain.card.markdown import duration
from packtrain.card.score_table import score_notes
from packtrain.card.tables import diff_check
from packtrain.core.errors import UserError
from packtrain.core.manifest import Manifest
from packtrain.core.recipe_file import load_recipe, recipe_names
from packtrain.core.score import Score

GOLDENS = Path(__file__).parent / "goldens"


def small_alpaca(language: str = "en") -> str:
    """A run that departs from its recipe and reports all that a run can report."""
    overrides = [
        "base.path=/somewhere/private/stories260k",
        "base.license=mit",
        "data.sources.stanford_alpaca.path=/somewhere/private/random_9k.json",
        "data.held_out=200",
        "train.max_steps=60",
        "train.adapter=lora:r=8",
        "release.form=float-diff",
    ]
    judged = replace(SCORES[10], notes=("judge: a scripted one", "2 verdicts not read"))
    return render_card(load_recipe("alpaca-7b", overrides), [*SCORES[:2], judged], SMALL, language)


def shipped(name: str, scores: list[Score] | None = None, language: str = "en") -> Callable[[], str]:
    """The card of a shipped recipe, of a run that reported what stands in reported.py."""
    return lambda: render_card(load_recipe(name), scores or [], RUNS[name], language)


CARDS = {
    "alpaca-7b": shipped("alpaca-7b"),
    "alpaca-7b.zh": shipped("alpaca-7b", language="zh"),
    "alpaca-7b-small-run": small_alpaca,
    "alpaca-7b-small-run.zh": lambda: small_alpaca("zh"),
    "code-alpaca-7b": shipped("code-alpaca-7b", SCORES),
    "code-alpaca-7b.zh": shipped("code-alpaca-7b", SCORES, "zh"),
    "galpaca-6.7b": shipped("galpaca-6.7b"),
    "galpaca-6.7b.zh": shipped("galpaca-6.7b", language="zh"),
    "oasst1-13b": shipped("oasst1-13b", SCORES[:4]),
    "oasst1-13b.zh": shipped("oasst1-13b", SCORES[:4], "zh"),
    "tulu-65b": shipped("tulu-65b", SCORES),
    "tulu-65b.zh": shipped("tulu-65b", SCORES, "zh"),
}


def test_the_stored_cards_are_those_of_the_five_published_recipes_in_both_languages() -> None:
    assert {path.name.removesuffix(".md") for path in GOLDENS.glob("*-*.md")} == set(CARDS)
    assert set(RUNS) == {"alpaca-7b", "code-alpaca-7b", "galpaca-6.7b", "oasst1-13b", "tulu-65b"}


@pytest.mark.parametrize("name", CARDS)
def test_the_card_is_the_stored_one_to_the_byte(name: str) -> None:
    assert CARDS[name]() == (GOLDENS / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(recipe_names()))
def test_every_recipe_has_a_card_that_the_hub_can_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    write_card(load_recipe(name), path, scores=SCORES, facts=CardFacts())
    card = ModelCard.load(path)
    assert card.text.lstrip().startswith(f"# {load_recipe(name).title}\n")
    data = card.data
    assert (data.pipeline_tag, data.model_name) == ("text-generation", name)
    assert data.to_dict()["library_name"] == "transformers"
    assert data.eval_results is not None
    assert [result.metric_value for result in data.eval_results] == [score.value for score in SCORES]
    assert "{{" not in card.text
    assert "None" not in card.text


def test_the_front_matter_says_what_the_hub_needs() -> None:
    front = yaml.safe_load(shipped("galpaca-6.7b")().split("---\n")[1])
    assert front == {
        "base_model": "facebook/galactica-6.7b",
        "datasets": ["tatsu-lab/alpaca"],
        "language": "en",
        "library_name": "transformers",
        "license": "cc-by-nc-4.0",
        "pipeline_tag": "text-generation",
        "tags": ["packtrain", "instruction-tuning"],
    }
    front = yaml.safe_load(shipped("tulu-65b")().split("---\n")[1])
    assert front["license"] == "other"
    assert front["license_name"] == "open-instruct"
    assert front["license_link"].startswith("https://")
    assert "weight-diff" in front["tags"]
    assert "model-index" not in front
    assert front["datasets"] == [
        "databricks/databricks-dolly-15k",
        "OpenAssistant/oasst1",
        "sahil2801/CodeAlpaca-20k",
    ]


def test_the_published_row_stands_only_beside_the_same_profile() -> None:
    recipe = load_recipe("tulu-65b")
    assert "| MMLU 0-shot | 30.0 ± 1.2 | 1,000 | 59.2 |" in render_card(recipe, SCORES, CardFacts())
    fixed = [replace(score, profile="fixed") for score in SCORES]
    assert "| MMLU 0-shot | 30.0 ± 1.2 | 1,000 |\n" in render_card(recipe, fixed, CardFacts())
    with pytest.raises(UserError, match="several profiles: fixed, paper-2023"):
        render_card(recipe, [SCORES[0], fixed[1]], CardFacts())
    with pytest.raises(UserError, match="a column twice"):
        render_card(recipe, [SCORES[0], SCORES[0]], CardFacts())


def test_an_average_needs_all_eleven_columns() -> None:
    recipe = load_recipe("alpaca-7b")
    assert "Average" not in render_card(recipe, SCORES[:10], CardFacts())
    assert "| **Average** | 35.4 |" in render_card(recipe, SCORES, CardFacts())


def test_other_benchmarks_than_the_eleven_are_shown_by_their_name() -> None:
    card = render_card(load_recipe("alpaca-7b"), [Score("world", 91.5, 200, 2.0)], CardFacts())
    assert "| world | 91.5 ± 2.0 | 200 |" in card


def test_no_folder_of_the_machine_gets_into_a_card() -> None:
    assert "somewhere" not in small_alpaca()
    assert "private" not in small_alpaca()


def test_departures_name_what_changed_and_nothing_else() -> None:
    assert [departures(load_recipe(name)) for name in recipe_names()] == [[] for _ in recipe_names()]
    moved = ["base.path=/models/llama-7b", "data.sources.stanford_alpaca.path=/data/alpaca_data.json"]
    assert departures(load_recipe("alpaca-7b", moved)) == []
    assert departures(
        load_recipe("alpaca-7b", ["train.lr=1e-4", "data.sources.mine={format: messages, path: m.jsonl}"])
    ) == [
        "`data.sources`: stanford_alpaca → stanford_alpaca, mine",
        "`train.lr`: 2e-05 → 0.0001",
    ]
    given = ["base.path=base", "data.sources={chats: {format: messages, path: c.jsonl}}", "train.epochs=1"]
    assert departures(load_recipe("default", given)) == ["`train.epochs`: 3 → 1"]


def test_data_of_the_users_own_are_not_taken_for_published_ones() -> None:
    own = load_recipe("alpaca-7b").model_copy(update={"name": "mine", "title": "Mine", "family": "packtrain"})
    source = own.data.sources["stanford_alpaca"].model_copy(update={"license": ""})
    own = own.model_copy(update={"data": own.data.model_copy(update={"sources": {"mine": source}})})
    card = render_card(own, [], CardFacts())
    assert "taori2023alpaca" not in card
    front = yaml.safe_load(card.split("---\n")[1])
    assert "datasets" not in front
    assert "language" not in front
    assert "departs" not in card


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("llama-7b", "touvron2023llama"),
        ("models/hf_llama_65b", "touvron2023llama"),
        ("facebook/opt-6.7b", "zhang2022opt"),
        ("galactica-6.7b", "taylor2022galactica"),
        ("meta-llama/Llama-2-7b-hf", None),
        ("meta-llama/Llama-3.1-8B", None),
        ("stories260k", None),
        ("openlm-research/open_llama_3b", None),
        ("TinyLlama/TinyLlama-1.1B", None),
    ],
)
def test_the_base_is_cited_when_it_is_known(path: str, key: str | None) -> None:
    found = known.base(load_recipe("galpaca-6.7b", [f"base.path={path}"]))
    assert found.get("citations", [None]) == [key]


def test_every_licence_and_citation_that_is_named_exists() -> None:
    for name in recipe_names():
        judge_recipe(load_recipe(name))
        known.bibtex(load_recipe(name))
    for facts in (*known.read("known")["datasets"].values(), *known.read("known")["bases"].values()):
        assert set(facts["citations"]) <= set(known.citations())
        assert {*facts.get("terms", ())} <= set(known.read("licences"))
    with pytest.raises(UserError, match="unknown licence: cc-by-nc") as caught:
        judge_recipe(load_recipe("alpaca-7b", ["release.license=cc-by-nc"]))
    assert "did you mean cc-by-nc-4.0?" in caught.value.hint


def test_a_share_just_below_one_is_never_shown_as_all() -> None:
    assert diff_check(replace(SMALL, diff_largest_difference=None)) == (
        "Recovered and compared with the trained model: 99.9999 % of the weights are equal to the last bit."
    )
    assert "100 %" in diff_check(CardFacts(diff_equal_share=1.0))
    assert diff_check(CardFacts()) == ""


@pytest.mark.parametrize(
    ("seconds", "english", "chinese"),
    [(42, "42 s", "42 秒"), (303.4, "5 min 3 s", "5 分 3 秒"), (7503, "2 h 5 min", "2 小时 5 分")],
)
def test_times_are_written_for_people(seconds: float, english: str, chinese: str) -> None:
    assert (duration(seconds), duration(seconds, "zh")) == (english, chinese)


def test_an_existing_card_is_kept_unless_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        write_card(load_recipe("alpaca-7b"), path, scores=[], facts=CardFacts())
    assert path.read_text() == "mine"
    write_card(load_recipe("alpaca-7b"), path, scores=[], facts=RUNS["alpaca-7b"], overwrite=True)
    assert path.read_text(encoding="utf-8") == CARDS["alpaca-7b"]()


def test_scores_lie_beside_the_card_as_the_hub_reads_them(tmp_path: Path) -> None:
    facts = RUNS["tulu-65b"]
    written = write_card(load_recipe("tulu-65b"), tmp_path / "README.md", scores=SCORES, facts=facts)
    names = ["mmlu", "gsm8k", "big_bench_hard", "tydi_qa", "humaneval", "alpacafarm"]
    assert written == [*(tmp_path / ".eval_results" / f"{name}.yaml" for name in names), tmp_path / "README.md"]
    entries = parse_eval_result_entries(yaml.safe_load(written[0].read_text()))
    assert [(entry.dataset_id, entry.task_id, entry.value, entry.date) for entry in entries] == [
        ("cais/mmlu", "mmlu_0shot", 30.0, "2025-02-01"),
        ("cais/mmlu", "mmlu_5shot", 31.0, "2025-02-01"),
    ]
    second = tmp_path / "README.zh.md"
    assert write_card(load_recipe("tulu-65b"), second, scores=SCORES, facts=facts, language="zh") == [second]
    with pytest.raises(UserError, match=r"gsm8k\.yaml exists already"):
        write_card(
            load_recipe("tulu-65b"), tmp_path / "other.md", scores=SCORES[2:], facts=replace(facts, scores_date=None)
        )
    assert not (tmp_path / "other.md").exists()


def test_results_that_a_new_card_does_not_state_go_with_the_card_that_they_were_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card, folder = tmp_path / "README.md", tmp_path / ".eval_results"
    recipe, facts = load_recipe("tulu-65b"), RUNS["tulu-65b"]
    write_card(recipe, card, scores=[replace(score, profile="fixed") for score in SCORES], facts=facts)
    (folder / "mine.yaml").write_text("mine")
    (folder / "gsm8k.yaml").write_text("- dataset: {id: gsm8k}\n  value: 1.0\n")
    (folder / "tydi_qa.yaml").write_text("no: list")
    write_card(recipe, card, scores=SCORES[:2], facts=facts, overwrite=True)
    assert sorted(path.name for path in folder.iterdir()) == ["gsm8k.yaml", "mine.yaml", "mmlu.yaml", "tydi_qa.yaml"]
    assert "profile paper-2023" in (folder / "mmlu.yaml").read_text()
    assert f"note: removed, because the card does not state them: {folder / 'big_bench_hard.yaml'}, " in (
        capsys.readouterr().err
    )
    write_card(recipe, tmp_path / "README.zh.md", scores=[], facts=facts, language="zh")
    assert (folder / "mmlu.yaml").exists()
    write_card(recipe, card, scores=[], facts=facts, overwrite=True)
    assert sorted(path.name for path in folder.iterdir()) == ["gsm8k.yaml", "mine.yaml", "tydi_qa.yaml"]


def test_the_date_of_scores_is_that_of_the_record_beside_them(tmp_path: Path) -> None:
    assert measured_on(tmp_path / "scores.json") is None
    Manifest("evaluate", {}, {}, {}, finished="2025-02-01T10:00:00Z").write(tmp_path)
    assert measured_on(tmp_path / "scores.json") == "2025-02-01"
    Manifest("data", {}, {}, {}, finished="2025-02-01T10:00:00Z").write(tmp_path)
    assert measured_on(tmp_path / "scores.json") is None


def test_the_data_table_names_the_files_by_their_hashes() -> None:
    recipe = load_recipe("alpaca-7b")
    facts = CardFacts(conversations={"stanford_alpaca": 52002}, data_hashes={"stanford_alpaca": "0123456789abcdef" * 4})
    card = render_card(recipe, [], facts)
    assert "| `alpaca_data.json` | `0123456789abcdef` | 52,002 |" in card
    assert "SHA-256" not in render_card(recipe, [], CardFacts(conversations={"stanford_alpaca": 52002}))


if __name__ == "__main__":
    for stored, render in CARDS.items():
        (GOLDENS / f"{stored}.md").write_text(render(), encoding="utf-8")


@pytest.mark.parametrize(("language", "every"), [("en", "All columns"), ("zh", "所有列")])
def test_what_is_to_be_known_of_every_column_is_said_once(language: str, every: str) -> None:
    scores = [replace(score, notes=("computed in float32",)) for score in SCORES]
    assert score_notes(scores, None, None, language)[1:] == [f"{every}: computed in float32"]
