"""Checks of a recipe: one that asks for what is not there, and one that does not."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from packtrain.core.engine import Engine
from packtrain.core.errors import UserError
from packtrain.core.recipe_file import load_recipe
from packtrain.diff.size_plan import EXACT_SHARE, FLOAT_BYTES
from packtrain.pipeline.doctor.checks import recipe_checks, recipe_findings
from packtrain.pipeline.doctor.wanted import Wanted, at_hand, here, is_hub_id, load_recipe_here
from packtrain.pipeline.judge import Judge
from packtrain.pipeline.run import stages_of
from packtrain.weights.store import open_store
from packtrain.weights.writer import amount

Found = list[tuple[str, str]]


def wanted(*overrides: str, recipe: str = "demo", **more: Any) -> Wanted:
    loaded = load_recipe(recipe, overrides)
    return replace(Wanted(loaded, here(loaded.base.path)), **more)


def run(name: str, about: Wanted) -> Found:
    """Severity and words of what one check finds."""
    [check] = [one for one in recipe_checks() if one.name == name]
    return [(finding.severity, finding.what) for finding in check.check(about)]


def test_every_check_is_asked_for_by_a_stage_of_a_run(tmp_path: Path) -> None:
    recipe = load_recipe("demo", [f"evaluate.data={tmp_path}"])
    stages = {stage.name for stage in stages_of(recipe, tmp_path)}
    assert recipe_checks()
    for check in recipe_checks():
        assert check.stages
        assert set(check.stages) <= stages, check.name


def test_base(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert run("base", wanted(f"base.path={tiny_base}")) == [("fine", f"the base is here: {tiny_base}")]
    assert run("base", wanted(f"base.path={tmp_path}")) == [("error", f"{tmp_path} holds no config.json")]
    [(severity, what)] = run("base", wanted("base.path=llama-7b"))
    assert (severity, what) == ("error", "no model folder at llama-7b")
    fetched = ("warning", "no-such-owner/no-such-model is not on this machine: it is fetched from the Hub first")
    assert run("base", wanted("base.path=no-such-owner/no-such-model")) == [fetched]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    [(severity, what)] = run("base", wanted("base.path=no-such-owner/no-such-model"))
    assert (severity, what[-26:]) == ("error", "and nothing may be fetched")


def test_how_one_gets_a_known_base_is_told() -> None:
    [check] = [one for one in recipe_checks() if one.name == "base"]
    [finding] = check.check(wanted(recipe="tulu-65b"))
    assert "The LLaMA weights come from Meta" in finding.mend


def test_sources(conversations_file: Path, tmp_path: Path) -> None:
    alpaca = {"format": "alpaca", "path": str(tmp_path / "none.json")}
    several = {
        "here": {"format": "messages", "path": str(conversations_file)},
        "hub": {"format": "auto", "path": "owner/name"},
        "missing": alpaca,
        "folder": {"format": "alpaca", "path": str(tmp_path / "empty")},
        "made": {"format": "messages", "path": "stage:generate"},
        "other": {"format": "messages", "path": "stage:other"},
    }
    (tmp_path / "empty").mkdir()
    found = run("sources", wanted(f"data.sources={json.dumps(several)}"))
    assert found[0] == ("fine", f"here: {conversations_file}")
    assert found[1] == ("fine", "hub: a data set of the Hub, owner/name")
    assert found[2] == ("error", f"missing: there is nothing at {tmp_path}/none.json")
    assert found[3][0] == "error"
    assert found[3][1].startswith(f"folder: {tmp_path}/empty must hold ")
    assert found[4] == ("fine", "made: what the recipe's generate stage makes")
    assert found[5] == ("error", "other: there is no stage:other")
    nothing_made = wanted(f"data.sources={json.dumps({'made': several['made']})}", recipe="alpaca-7b")
    assert run("sources", nothing_made) == [("error", "made: stage:generate, and the recipe has no generate section")]


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ({"format": "alpacca"}, "mine: unknown data format: alpacca"),
        ({"format": "oasst1", "options": {"top": 1}}, "mine: options of oasst1: there is no top"),
        ({"format": "alpaca", "options": {"a": 1}}, "mine: the format alpaca has no options (found a)"),
        ({"format": "auto", "clean": ["htmll"]}, "mine: unknown cleaning rule: htmll"),
    ],
)
def test_formats(source: Mapping[str, Any], what: str) -> None:
    text = json.dumps({"mine": {"path": "x", **source}})
    assert run("formats", wanted(f"data.sources={text}")) == [("error", what)]


def test_first_records(conversations_file: Path, tmp_path: Path) -> None:
    rows = [{"instruction": "Name one.", "input": "", "output": ""}] * 3
    (tmp_path / "empty_answers.json").write_text(json.dumps(rows))
    (tmp_path / "nothing.jsonl").write_text("")
    (tmp_path / "broken.jsonl").write_text('{"messages": [')
    several = {
        "well": {"format": "messages", "path": str(conversations_file)},
        "told": {"format": "auto", "path": str(conversations_file)},
        "other": {"format": "alpaca", "path": str(conversations_file)},
        "drops": {"format": "alpaca", "path": f"{tmp_path}/empty_answers.json"},
        "nothing": {"format": "messages", "path": f"{tmp_path}/nothing.jsonl"},
        "broken": {"format": "messages", "path": f"{tmp_path}/broken.jsonl"},
        "missing": {"format": "messages", "path": f"{tmp_path}/none.jsonl"},
        "unknown": {"format": "nonsense", "path": str(conversations_file)},
        "hub": {"format": "auto", "path": "owner/name"},
        "made": {"format": "messages", "path": "stage:generate"},
    }
    found = run("records", wanted(f"data.sources={json.dumps(several)}"))
    assert found[:2] == [
        ("fine", "well: the first 24 records are read as messages"),
        ("fine", "told: the first 24 records are read as auto"),
    ]
    assert [(severity, what.partition(":")[0]) for severity, what in found[2:]] == [
        ("error", "other"),
        ("warning", "drops"),
        ("error", "nothing"),
        ("error", "broken"),
    ]
    assert found[3][1].startswith("drops: none of the first 3 records gives a conversation (")
    assert str(tmp_path / "broken.jsonl") in found[5][1]


def test_sources_of_an_unknown_format_are_left_to_the_check_of_formats(tmp_path: Path) -> None:
    text = json.dumps({"mine": {"path": str(tmp_path / "none"), "format": "alpacca"}})
    [(severity, what)] = run("sources", wanted(f"data.sources={text}"))
    assert (severity, what) == ("error", "mine: unknown data format: alpacca")


def test_licences() -> None:
    assert run("licences", wanted()) == [("fine", "licences agree; the result may be used for any use")]
    assert run("licences", wanted(recipe="tulu-7b")) == [
        ("fine", "licences agree; the result may be used for research alone, no commercial use (llama, cc-by-nc-4.0)")
    ]
    [(severity, what)] = run("licences", wanted("release.license=apache-2.0", recipe="alpaca-7b"))
    assert severity == "error"
    assert what.startswith("the licence apache-2.0 of the result allows commercial use, which is forbidden by ")
    assert run("licences", wanted("base.license=mine"))[0] == ("error", "unknown licence: mine")
    assert run("licences", wanted(recipe="default")) == [
        ("fine", "no licence is stated for the result, the base, mine: the card will say none")
    ]


def test_columns(tmp_path: Path) -> None:
    assert run("columns", wanted(recipe="default")) == [("fine", "no columns: nothing is measured")]
    named = f"evaluate.data={tmp_path}"
    assert run("columns", wanted(named)) == [("fine", "will be measured: exact_match")]
    found = run("columns", wanted("evaluate.columns=[gsm:cot,gsm:cott,alpacafarm]"))
    assert found == [
        ("warning", "left out, because there is no such column: gsm:cott"),
        ("warning", "left out, because it needs a judge: alpacafarm"),
        ("warning", "nothing is measured (gsm:cot): no folder with the benchmark files is named"),
    ]
    found = run("columns", wanted("evaluate.columns=[gsm:cott]", named))
    assert found[-1] == ("error", "none of the recipe's columns can be measured")


def test_benchmark_files(tmp_path: Path, conversations_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = "evaluate.columns=[exact_match,gsm:cot,gsm:direct]"
    data = f"evaluate.data={tmp_path}"
    assert run("benchmark_files", wanted(both)) == []
    assert run("benchmark_files", wanted(both, f"{data}/none")) == [("error", f"there is no folder {tmp_path}/none")]
    (tmp_path / "exact_match.jsonl").write_text(conversations_file.read_text())
    found = [
        ("error", f"{tmp_path}/gsm8k/test.jsonl is missing (problems of GSM8K)"),
        ("fine", "items of the columns: exact_match 24"),
    ]
    assert run("benchmark_files", wanted(both, data)) == found
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    home = f"evaluate.data=~/{tmp_path.name}"
    assert run("benchmark_files", wanted(both, home)) == found
    [stage] = [one for one in stages_of(load_recipe("demo", [home]), tmp_path) if one.name == "evaluate"]
    assert stage.inputs["data"] == tmp_path


def test_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ("evaluate.columns=[codex:pass@1]", f"evaluate.data={tmp_path}")
    assert run("programs", wanted("evaluate.columns=[codex:pass@1]")) == []
    assert run("programs", wanted("evaluate.columns=[exact_match]", asked[1])) == []
    monkeypatch.setattr("packtrain.evaluate.outcomes.prepare_outcomes", lambda *given: None)
    assert run("programs", wanted(*asked)) == [("fine", "the programs of codex:pass@1 can be contained")]

    def refuses(*given: object) -> None:
        raise UserError("model-written programs cannot be contained", "install bubblewrap")

    monkeypatch.setattr("packtrain.evaluate.outcomes.prepare_outcomes", refuses)
    assert run("programs", wanted(*asked)) == [("error", "model-written programs cannot be contained")]
    [check] = [one for one in recipe_checks() if one.name == "programs"]
    [finding] = check.check(wanted(*asked))
    assert "packtrain evaluate, which takes --accept-unsandboxed" in finding.mend  # packtrain run does not


def test_teacher(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert run("teacher", wanted(recipe="alpaca-7b")) == []
    assert run("teacher", wanted()) == [("error", "scripted:world is a program that its caller brings")]
    assert run("teacher", wanted(has_teacher=True)) == [("fine", "4,000 instructions by scripted:world")]
    assert run("teacher", wanted("generate.model=openai:x")) == [("error", "no key for the model openai:x")]
    assert run("teacher", wanted("generate.model=opennai:x")) == [("error", "unknown kind of model: opennai")]
    assert run("teacher", wanted(f"generate.model=local:{tiny_base}"))[0][0] == "fine"
    assert run("teacher", wanted("generate.model=local:none")) == [("error", "no model folder at none")]
    [(severity, _)] = run("teacher", wanted("generate.model=local:no-such-owner/no-such-model"))
    assert severity == "warning"
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    assert run("teacher", wanted("generate.model=openai:x")) == [("fine", "4,000 instructions by openai:x")]


def test_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("extras", wanted()) == [("fine", "training needs no extra")]
    lora = wanted("train.adapter=lora", "train.lr=2e-4")
    assert run("extras", lora) == [("fine", "installed: lora")]
    [(severity, _), _] = run("extras", wanted("train.adapter=lora", "train.lr=2e-5"))
    assert severity == "warning"

    def misses(extra: str, what: str) -> None:
        raise UserError(f"{what}: {extra} is not installed", "pip install it")

    monkeypatch.setattr("packtrain.pipeline.doctor.recipe.extras.need", misses)
    engine = Engine(strategy="deepspeed", trackers=("wandb",))
    assert run("extras", replace(wanted("train.adapter=qlora", "train.lr=2e-4"), engine=engine)) == [
        ("error", "engine.trackers=wandb: wandb is not installed"),
        ("error", "train.adapter=qlora: quant is not installed"),
        ("error", "engine.strategy=deepspeed: deepspeed is not installed"),
    ]


def test_prompt_format(tiny_base: Path, tmp_path: Path) -> None:
    ends = ("fine", "prompt format tulu: what is learnt of an answer ends by the end-of-sequence")
    assert run("prompt_format", wanted()) == [ends]
    assert run("prompt_format", wanted("base.path=none")) == [ends]
    assert run("prompt_format", wanted("template=tullu")) == [("error", "unknown template: tullu")]
    for name in ("own", "auto"):
        [(severity, what)] = run("prompt_format", wanted("base.path=none", f"template={name}"))
        assert (severity, what[:37]) == ("fine", "the prompt format is the base's own (")
    stores = f"{tiny_base} stores no prompt format"
    assert run("prompt_format", wanted(f"base.path={tiny_base}", "template=own")) == [("error", stores)]
    missing = f"template={tmp_path}/mine.jinja"
    assert run("prompt_format", wanted("base.path=none", missing))[0][0] == "error"
    assert run("prompt_format", wanted(missing))[0][0] == "error"
    (tmp_path / "mine.jinja").write_text("{% generation %}{% endgeneration %}")
    assert run("prompt_format", wanted("base.path=none", missing))[0][0] == "fine"
    assert run("prompt_format", wanted(missing)) == [("fine", "prompt format mine")]
    assert run("prompt_format", wanted("template=alpaca", recipe="oasst1-13b"))[1] == (
        "warning",
        "alpaca shows one round, and conversations of oasst1 have 1.6 on the average",
    )


def test_room(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = wanted(f"base.path={tiny_base}", work=tmp_path / "not" / "there")
    assert run("room", replace(about, work=None)) == []
    assert run("room", replace(about, base=None)) == []
    assert run("room", about)[0][0] == "fine"

    class Usage:
        free = 0

    monkeypatch.setattr("packtrain.core.disk.shutil.disk_usage", lambda place: Usage)
    weights = sum(info.numel for info in open_store(tiny_base).infos().values())

    def told(*overrides: str) -> Found:
        return run("room", wanted(f"base.path={tiny_base}", "release.dtype=bfloat16", *overrides, work=tmp_path))

    def refused(factor: float) -> Found:
        said = f"tuned, diff, recovered: about {amount(weights * factor)} to be written, the disk has 0.00 MB free"
        return [("error", said)]

    assert told("release.form=diff") == refused(2 + 2 * EXACT_SHARE["bfloat16"] + 2)
    assert told("release.form=float-diff") == refused(2 + FLOAT_BYTES + 2)
    Usage.free = weights * 8
    assert [severity for severity, _ in told("release.form=float-diff")] == ["warning"]
    Usage.free = 0
    partial = tmp_path / "diff.partial"
    partial.mkdir()
    (partial / "weights.bin").write_bytes(bytes(weights * FLOAT_BYTES))
    assert told("release.form=float-diff") == refused(2 + 2)  # a resume goes on with what is there
    (tmp_path / "tuned.partial" / ".checkpoints").mkdir(parents=True)
    (tmp_path / "tuned.partial" / ".checkpoints" / "step").write_bytes(bytes(weights))
    assert told("release.form=float-diff") == refused(2 + 2)  # no part of the model
    Usage.free = weights * (2 + 2 + 24) - weights
    assert [severity for severity, _ in told("release.form=float-diff")] == ["fine"]
    Usage.free -= 1
    assert [severity for severity, _ in told("release.form=float-diff")] == ["warning"]
    for name in ("tuned", "diff", "recovered"):
        (tmp_path / name).mkdir()
    assert [severity for severity, _ in run("room", replace(about, work=tmp_path))] == ["fine"]


def test_only_the_checks_of_the_stages_that_are_to_be_done_are_made() -> None:
    about = wanted("release.license=nonsense", "generate.model=nonsense:x")
    assert {one.check for one in recipe_findings(about, ["card"])} == {"licences"}
    assert {one.check for one in recipe_findings(about, ["generate"])} == {"teacher"}
    assert [one.severity for one in recipe_findings(about)][:2] == ["error", "error"]


@pytest.mark.parametrize(
    ("path", "yes"),
    [
        ("owner/name", True),
        ("owner/name@v1", True),
        ("name", False),
        ("./a/b", False),
        ("/a", False),
        ("~/a", False),
        ("a/b/c", False),
        ("packtrain:a/b", False),
    ],
)
def test_is_hub_id(path: str, yes: bool) -> None:
    assert is_hub_id(path) is yes


def test_at_hand(tiny_base: Path, tmp_path: Path) -> None:
    assert at_hand(str(tiny_base)) == tiny_base
    assert at_hand("none") is None
    assert at_hand("no-such-owner/no-such-model") is None
    with pytest.raises(UserError, match=r"holds no config\.json"):
        at_hand(str(tmp_path))
    assert here(str(tmp_path)) is None


def test_a_base_of_which_a_shard_is_not_fetched_yet_is_not_at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *given, **how: str(tmp_path))
    assert at_hand("owner/name") is None
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model-00001-of-00002.safetensors").touch()
    assert at_hand("owner/name") is None  # and no index
    index = tmp_path / "model.safetensors.index.json"
    shards = {f"layer{number}": f"model-0000{number}-of-00002.safetensors" for number in (1, 2)}
    index.write_text(json.dumps({"weight_map": shards}))
    assert at_hand("owner/name") is None
    (tmp_path / "model-00002-of-00002.safetensors").touch()
    assert at_hand("owner/name") == tmp_path
    index.write_text("damaged")
    assert at_hand("owner/name") == tmp_path  # told by who reads it
    index.unlink()
    (tmp_path / "pytorch_model.bin").touch()
    assert at_hand("owner/name") == tmp_path


def test_the_default_recipe_is_read_without_its_base(tiny_base: Path) -> None:
    assert load_recipe_here("default", []).train.max_length_tokens == 2048
    assert load_recipe_here("default", [f"base.path={tiny_base}"]).train.max_length_tokens == 512


def test_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    columns = "evaluate.columns=[gsm:cot,alpacafarm]"
    assert run("judge", wanted(columns)) == []
    assert run("judge", wanted(columns, judge=Judge("openai:x"))) == [("error", "no key for the model openai:x")]
    assert run("judge", wanted(columns, judge=Judge("longest"))) == [("fine", "alpacafarm: judged by longest")]
    assert run("judge", wanted(columns, judge=Judge("local:none"))) == [("error", "no model folder at none")]
    assert run("judge", wanted("evaluate.columns=[gsm:cot]", judge=Judge("longest"))) == [
        ("warning", "longest has nothing to judge")
    ]
    data, judges = "evaluate.data=d", (Judge(), Judge("longest"))
    without, with_one = (run("columns", wanted(columns, data, judge=judge)) for judge in judges)
    assert without == [
        ("warning", "left out, because it needs a judge: alpacafarm"),
        ("fine", "will be measured: gsm:cot"),
    ]
    assert with_one == [("fine", "will be measured: gsm:cot, alpacafarm")]


def test_what_a_judge_may_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key")

    def told(*judge: Any) -> Found:
        return run("judge", wanted("evaluate.columns=[alpacafarm]", judge=Judge(*judge)))

    well = [("fine", "alpacafarm: judged by openai:mine")]
    assert told("openai:mine", None, None, 5.0) == [("error", "a budget needs a price")]
    assert told("openai:mine", 1.0, None, None) == [("error", "a price has two parts")]
    assert told("openai:mine", 1.0, 2.0, 5.0) == told("openai:mine") == well
    assert told("openai:gpt-4o", None, None, 5.0) == [("fine", "alpacafarm: judged by openai:gpt-4o")]
    assert told("longest", None, None, 5.0) == [("fine", "alpacafarm: judged by longest")]
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert [severity for severity, _ in told("openai:mine", None, None, 5.0)] == ["error", "error"]
