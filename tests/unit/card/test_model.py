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
from packtrain.core.conversation import Conversation, Message, write_conversations
from packtrain.core.data_record import data_record
from packtrain.core.manifest import Manifest, sha256_of_file
from packtrain.core.recipe_file import load_recipe
from packtrain.core.training_record import handed_on, with_places_told
from packtrain.prompts.template import load_template

FIGURES = {
    "steps": 3, "examples": 9, "learnt_tokens": 1234, "final_loss": 2.0, "held_out_before": None,
    "held_out_after": None, "seconds": 75.0, "hardware": "2 CPU cores", "precision": "bfloat16",
}  # fmt: skip
VERSIONS = {"python": "3.11.7", "torch": "2.13.0", "packtrain": "0.1.0"}
FINISHED = "2025-01-31T10:00:00Z"
LEARNT = {"train.jsonl": "cd" * 32}
OVERRIDES = ["base.path=/models/llama-7b-hf", "train.max_steps=3"]
FACTS = CardFacts(
    date="2025-01-31",
    versions={"packtrain": "0.1.0", "torch": "2.13.0"},
    hardware="2 CPU cores",
    precision="bfloat16",
    steps=3,
    learnt_tokens=1234,
    training_s=75.0,
    final_loss=2.0,
    conversations={"stanford_alpaca": 9},
    data_recorded=False,
)
"""What the record of `tuned` gives a card: one of before trainings recorded what they learnt from."""


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


def test_whole_weights_are_no_diff_whatever_the_recipe_publishes(tuned: Path, tmp_path: Path) -> None:
    """A recovered and a merged model, and a tuned one whose card lies beside its weights."""
    diff = diff_of(tuned)
    recovered = written(tuned.with_name("recovered"), "diff recover", handed_on(diff))
    merged = written(tuned.with_name("merged"), "convert merge-lora", handed_on(tuned))
    full = load_recipe("alpaca-7b", [*OVERRIDES, "release.form=full", "base.license=mit"])
    for model in (recovered, merged):
        assert card_of(model, "base.license=mit") == render_card(full, [], FACTS)
    places = [(recovered, recovered.with_name("R.md")), (diff, recovered / "README.md"), (tuned, tuned / "README.md")]
    for model, out in places:
        refused = run("alpaca-7b", "--model", model, "--out", out).exception
        files = model if out.parent == tmp_path else out.parent
        assert refused.message == (
            f"the files of {files} are whole weights: release.form=full publishes weights from which the base "
            "llama-7b-hf could be had, and its licence llama forbids that"
        )
        assert refused.hint == "publish a diff of them (packtrain diff make), and give --model its folder"
        assert not out.exists()
        assert run("alpaca-7b", "--model", model, "--out", out, "base.license=mit").exit_code == 0
        assert "weight-diff" not in out.read_text(encoding="utf-8")
    said = run("alpaca-7b", "--model", merged, "--out", merged / "R.md", "release.form=diff").exception
    assert "release.form: the folder holds whole weights, the card would say diff" in said.message
    assert "weight-diff" in card_of(tuned)
    assert run("alpaca-7b", "--model", tuned, "--out", diff / "README.md").exit_code == 0
    assert "weight-diff" in (diff / "README.md").read_text(encoding="utf-8")


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
    refused = run("alpaca-7b", "--model", tuned, "--out", tuned / "other.md", "data.held_out=0").exception
    assert "data.held_out: trained with 1, the card would say 0" in refused.message


def learnt(path: Path, recipe: str, rows: Sequence[tuple[str, dict[str, str]]], *more: str) -> Path:
    """The folder of a training that recorded what it learnt from: a file with these data sets and provenances."""
    data = path.with_name(f"of-{path.name}") / "c.jsonl"
    data.parent.mkdir(exist_ok=True)
    said = Message("user", "Name a colour."), Message("assistant", "Red.")
    write_conversations(data, (Conversation(name, str(number), said, of) for number, (name, of) in enumerate(rows)))
    settings = load_recipe(recipe, ["base.path=/models/base", *more]).resolved() | {"engine": {}}
    figures = FIGURES | data_record(data, sha256_of_file(data))
    return written(path, "train", settings, inputs={"data": {"c.jsonl": sha256_of_file(data)}}, figures=figures)


def prepared_of(path: Path, sources: dict[str, dict[str, str]], inputs: dict[str, dict[str, str]]) -> None:
    """The record beside the file that the model in `path` is to learn from, of two conversations."""
    data = path.with_name(f"of-{path.name}")
    data.mkdir()
    said = Message("user", "Name a colour."), Message("assistant", "Red.")
    write_conversations(data / "c.jsonl", (Conversation("mine", number, said) for number in "01"))
    figures = {"train": 2, "held_out": 3, "sources": {name: {"train": 2} for name in sources}}
    outputs = {"c.jsonl": sha256_of_file(data / "c.jsonl")}
    Manifest("data", {"data": {"sources": sources}}, inputs, outputs, figures).write(data)


def table_of(card: str) -> list[list[str]]:
    """The rows of the card's table of data."""
    rows = card.partition("- **Data:**")[2].partition("\n## ")[0].splitlines()
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if row.startswith("| ")][2:]


@pytest.mark.parametrize("after", ["tuned", "diff", "recovered"])
def test_a_file_of_ones_own_is_never_taken_for_the_recipes_data(tmp_path: Path, after: str) -> None:
    tuned = learnt(tmp_path / "tuned", "alpaca-7b", [("mine", {}), ("mine", {})])
    model = tuned if after == "tuned" else diff_of(tuned)
    if after == "recovered":
        model = written(tmp_path / "recovered", "diff recover", handed_on(model))
    card = card_of(model, "base.license=mit")
    [row] = table_of(card)
    assert (row[:2], row[3:]) == (["`mine`", "`c.jsonl`"], ["2"])
    assert "datasets" not in yaml.safe_load(card.split("---\n")[1])
    assert "\n- Nothing is recorded of how `c.jsonl` was made; its conversations name the sources.\n" in card
    assert "- `data.sources`: stanford_alpaca → mine\n" in card
    assert "52,002" not in card
    assert "taori2023alpaca" not in card
    out = model / "README.md"
    said = run("alpaca-7b", "--out", out, "base.path=base", "train.max_steps=null").exception
    assert said.message.endswith("data.sources: trained with mine, the card would say stanford_alpaca")
    assert not out.exists()


def test_models_and_licences_that_the_conversations_name_count(tmp_path: Path) -> None:
    rows = [("generated", {"model": "openai:gpt-4o-mini"}), ("generated", {"license": "cc-by-nc-4.0"}), ("b", {})]
    tuned = learnt(tmp_path / "tuned", "default", rows, "base.license=mit")
    out = tmp_path / "README.md"
    assert run("default", "--model", tuned, "--out", out).exit_code == 0
    card = out.read_text(encoding="utf-8")
    assert [(row[0], row[3]) for row in table_of(card)] == [("`generated`", "2"), ("`b`", "1")]
    assert "- `generated`: written by `openai:gpt-4o-mini`." in card
    assert "terms on that model's output apply to the data set generated (OpenAI terms of use)" in card
    assert "for research without commercial purpose only, because of the data set generated (CC BY-NC 4.0)" in card
    assert "name-" not in card
    refused = run("default", "--model", tuned, "--out", tmp_path / "x.md", "release.license=mit").exception
    assert "forbidden by cc-by-nc-4.0 of its data generated" in refused.message


def test_prepared_data_are_named_wherever_they_lay(tmp_path: Path) -> None:
    """A raw file and its hash belong together; a data set of the Hub has its id."""
    raw, hub = {"instructions.json": "ab" * 32}, {"HuggingFaceH4/no_robots@12ab": "commit 12ab"}
    own = {"format": "alpaca", "path": "/data/instructions.json"}
    prepared_of(tmp_path / "tuned", {"stanford_alpaca": own}, {"stanford_alpaca": raw})
    tuned = learnt(tmp_path / "tuned", "alpaca-7b", [("mine", {}), ("mine", {})])
    card = card_of(tuned)
    [row] = table_of(card)
    assert row[2:5] == ["`instructions.json`", "`abababababababab`", "2"]
    assert "3 conversations were held out" in card
    prepared_of(
        tmp_path / "other", {"mine": {"format": "auto:messages", "path": "HuggingFaceH4/no_robots"}}, {"mine": hub}
    )
    given = "data.sources.mine.path=HuggingFaceH4/no_robots"
    other = learnt(tmp_path / "other", "default", [("mine", {}), ("mine", {})], given, "release.form=diff")
    for model in (other, diff_of(other)):
        out = tmp_path / f"{model.name}.md"
        assert run("default", "--model", model, "--out", out).exit_code == 0
        card = out.read_text(encoding="utf-8")
        link = "[HuggingFaceH4/no_robots](https://huggingface.co/datasets/HuggingFaceH4/no_robots/tree/12ab)"
        assert table_of(card) == [["`mine`", link, "2"]]
        assert yaml.safe_load(card.split("---\n")[1])["datasets"] == ["HuggingFaceH4/no_robots"]
        assert "- `data.sources" not in card


def test_the_prompt_of_a_recipe_for_any_base_is_that_of_the_model(tmp_path: Path) -> None:
    """Rendered by the template in its folder, or in the diff's; a template that cannot be shown is named alone."""
    tuned = training(tmp_path / "tuned", "default", ["release.form=diff"])
    diff = diff_of(tuned)
    (diff / "tuned").mkdir()
    for folder in (tuned, diff / "tuned"):
        (folder / "chat_template.jinja").write_text(load_template("tulu").chat_template("<s>"))
    texts = []
    for model in (tuned, diff):
        out = tmp_path / "README.md"
        assert run("default", "--model", model, "--out", out, "--overwrite").exit_code == 0
        texts.append(out.read_text(encoding="utf-8").partition("## Prompt format\n")[2].partition("\n## ")[0])
    assert texts[0] == texts[1]
    assert texts[0].startswith(
        "\nThe model was trained on this format:\n\n```\n<|user|>\nYour message here!\n<|assistant|>\n\n```\n\n"
        "Mind the line feeds: the one after `<|assistant|>` belongs to the prompt"
    )
    assert "`chat_template.jinja`" in texts[0]
    (tuned / "chat_template.jinja").write_text("{% generation %}{{ raise_exception('no') }}{% endgeneration %}")
    assert run("default", "--model", tuned, "--out", out, "--overwrite").exit_code == 0
    assert "trained on this format" not in out.read_text(encoding="utf-8")
    told = FIGURES | {"template": "tulu"}
    bare = written(tmp_path / "bare", "train", load_recipe("default").resolved(), figures=told)
    assert run("default", "--model", bare, "--out", out, "--overwrite").exit_code == 0
    card = out.read_text(encoding="utf-8")
    assert "<|user|>\nYour message here!\n<|assistant|>\n" in card
    assert "chat_template.jinja" not in card


def test_a_data_set_of_the_hub_that_a_recipe_names_is_linked(tmp_path: Path) -> None:
    """Without a model, and for one of before there was a record; a file is none."""
    given = ["data.sources.mine.path=owner/data::test@v1", "data.sources.file={format: messages, path: owner/m.jsonl}"]
    old = training(tmp_path / "old", "default", [*given, "base.path=/models/llama-7b-hf"])
    calls: list[list[object]] = [[*given], ["--model", old]]
    for number, more in enumerate(calls):
        out = tmp_path / f"{number}.md"
        assert run("default", "--out", out, *more).exit_code == 0
        card = out.read_text(encoding="utf-8")
        link = "[owner/data](https://huggingface.co/datasets/owner/data/tree/v1)"
        assert table_of(card) == [["`mine`", link], ["`file`", "`m.jsonl`"]]
        assert yaml.safe_load(card.split("---\n")[1])["datasets"] == ["owner/data"]


def test_a_broken_record_of_the_data_is_refused(tuned: Path) -> None:
    record = json.loads((tuned / "run.json").read_text())
    record["figures"]["learnt_from"] = {"file": "c.jsonl"}
    (tuned / "run.json").write_text(json.dumps(record))
    refused = run("alpaca-7b", "--model", tuned, "--out", tuned.with_name("README.md")).exception
    assert refused.message == f"{tuned / 'run.json'}: learnt_from is no record of data ('sets')"


@pytest.mark.parametrize(
    ("path", "base_model", "shown"),
    [
        ("models/llama-7b-hf", None, "`llama-7b-hf`"),
        ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B", "[Qwen/Qwen3-0.6B](https://huggingface.co/Qwen/Qwen3-0.6B)"),
        ("Qwen/Qwen3-0.6B@v1", "Qwen/Qwen3-0.6B", "[Qwen/Qwen3-0.6B](https://huggingface.co/Qwen/Qwen3-0.6B/tree/v1)"),
    ],
)
def test_a_base_is_of_the_hub_if_it_was_when_it_was_trained(
    path: str, base_model: str | None, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The card is written where no folder of that name is."""
    (tmp_path / "there/models/llama-7b-hf").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "there")
    settings = with_places_told(load_recipe("default", [f"base.path={path}", "release.form=diff"]).resolved())
    tuned = written(tmp_path / "tuned", "train", settings, inputs={"data": LEARNT}, figures=FIGURES)
    monkeypatch.chdir(tmp_path)
    for model in (tuned, diff_of(tuned)):
        out = tmp_path / f"{model.name}.md"
        result = run("default", "--model", model, "--out", out)
        assert result.exit_code == 0, result.exception
        card = out.read_text(encoding="utf-8")
        assert yaml.safe_load(card.split("---\n")[1]).get("base_model") == base_model
        assert shown in card


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
