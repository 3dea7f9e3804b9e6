"""A whole recipe from one command: stages in order, skipped when nothing changed, resumed after a kill."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.benchmark_files import write_benchmark_files

from packtrain.core.data_record import KEY
from packtrain.core.errors import UserError
from packtrain.core.manifest import digest
from packtrain.core.recipe_file import recipe_names
from packtrain.core.score import read_scores
from packtrain.evaluate.benchmark import benchmark_of
from packtrain.pipeline.doctor.wanted import load_recipe_here
from packtrain.pipeline.run import run_recipe

STAGES = ["data", "train", "diff", "recover", "evaluate", "card"]


@pytest.fixture
def recipe(toy_recipe: Path) -> Path:
    """The recipe file of these tests."""
    return toy_recipe


def said(finished: subprocess.CompletedProcess[str], stage: str, reason: str) -> bool:
    """Whether the list of what will be done gives this reason for the stage."""
    return re.search(rf"^  {stage} +{re.escape(reason)}", finished.stderr, re.MULTILINE) is not None


def stages(finished: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Stage to `done` or the reason why it was left alone."""
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout)["stages"]
    return {stage["name"]: "done" if stage["done"] else stage["reason"] for stage in found}


def test_run_once_then_only_what_changed(recipe: Path, tmp_path: Path, packtrain: Any) -> None:
    work = tmp_path / "work"
    planned = packtrain("run", recipe, "--work", work, "--dry-run", "--json")
    assert stages(planned) == dict.fromkeys(STAGES, "not made yet")
    assert not work.exists()
    first = packtrain("run", recipe, "--work", work, "--json")
    assert stages(first) == dict.fromkeys(STAGES, "done")
    assert "left out, because it needs a judge: alpacafarm" in first.stderr
    figures = {stage["name"]: stage["figures"] for stage in json.loads(first.stdout)["stages"]}
    assert figures["train"]["held_out_after"] < figures["train"]["held_out_before"]
    assert figures["recover"] == {"share_equal": 1.0, "max_abs_difference": 0.0}
    card = (work / "card" / "README.md").read_text()
    assert "A toy that counts" in card
    assert "100 % of the weights are equal to the last bit" in card
    for folder in ("data", "tuned", "diff", "recovered", "scores"):
        assert (work / folder / "run.json").is_file(), folder

    assert stages(packtrain("run", recipe, "--work", work, "--json")) == dict.fromkeys(STAGES, "unchanged")

    for change, anew, perhaps in (
        ("title=Another", "card", ""),
        ("evaluate.columns=[exact_match]", "card", ""),
        ("release.form=float-diff", "diff card", "recover evaluate"),
        ("release.dtype=bfloat16", "train recover card", "diff evaluate"),
        ("template=alpaca", "train evaluate card", "diff recover"),
        ("train.epochs=5", "train card", "diff recover evaluate"),
        ("data.held_out=3", "data card", "train diff recover evaluate"),
        ("seed=7", "data train card", "diff recover evaluate"),
    ):
        planned = run_recipe(load_recipe_here(str(recipe), [change]), work, dry_run=True).results
        assert {one.name for one in planned if one.action == "run"} == set(anew.split()), change
        assert {one.name for one in planned if one.action == "depends"} == set(perhaps.split()), change

    asked = stages(packtrain("run", recipe, "--work", work, "--dry-run", "--json", "train.lr=2e-3"))
    assert asked == {
        "data": "unchanged",
        "train": "changed: lr 0.001 -> 0.002",
        "diff": "only if train makes something else than before",
        "recover": "only if diff makes something else than before",
        "evaluate": "only if recover makes something else than before",
        "card": "changed: train.lr 0.001 -> 0.002",
    }
    other = packtrain("run", recipe, "--work", work, "--json", "train.lr=2e-3")
    assert stages(other) == {"data": "unchanged", **dict.fromkeys(STAGES[1:], "done")}
    assert said(other, "train", "changed: lr")

    (work / "recovered" / "config.json").write_text("{}")
    mended = packtrain("run", recipe, "--work", work, "--json", "train.lr=2e-3")
    assert stages(mended) == {**dict.fromkeys(STAGES, "unchanged"), "recover": "done"}
    assert said(mended, "recover", "its output was changed: config.json")

    shutil.rmtree(work / "diff")
    again = packtrain("run", recipe, "--work", work, "--json", "train.lr=2e-3")
    assert stages(again) == {**dict.fromkeys(STAGES, "unchanged"), "diff": "done"}
    assert said(again, "diff", "its output is gone")


def test_what_people_do_to_a_work_folder_is_kept(recipe: Path, tmp_path: Path, packtrain: Any) -> None:
    work = tmp_path / "work"
    command = ["run", recipe, "--work", work, "--json"]
    wrong = "data.sources.toy.license=cc-by-nc-4.0"
    assert stages(packtrain(*command, wrong)) == dict.fromkeys(STAGES, "done")
    (work / "scores" / "notes.txt").write_text("mine")
    written = packtrain("card", recipe, "--run", work, "--out", work / "diff" / "README.md", "--overwrite")
    assert written.returncode == 0, written.stderr
    for folder in ("tuned", "diff", "recovered"):
        (work / folder / "LICENSE").write_text("mine")
    card = work / "card" / "README.md"
    card.write_text(card.read_text() + "\nMy own words.\n")
    again = stages(packtrain(*command, wrong))
    assert again == {**dict.fromkeys(STAGES, "unchanged"), "card": "edited by hand, left as it is"}
    assert (work / "scores" / "notes.txt").exists()
    assert card.read_text().endswith("My own words.\n")
    licensed = packtrain(*command, "data.sources.toy.license=mit")
    assert stages(licensed) == {**dict.fromkeys(STAGES, "unchanged"), "data": "done", "card": "done"}
    assert "CC BY-NC" in (work / "card.edited-1" / "README.md").read_text()
    assert "MIT License" in card.read_text()
    assert "CC BY-NC" not in card.read_text()
    other = tmp_path / "other.yaml"
    other.write_text(recipe.read_text().replace('"name": "toy"', '"name": "other"'))
    refused = packtrain("run", other, "--work", work)
    assert refused.returncode == 2
    assert "belongs to the recipe toy" in refused.stderr


def test_a_crash_after_publishing_does_not_train_again(recipe: Path, tmp_path: Path, packtrain: Any) -> None:
    work = tmp_path / "work"
    assert packtrain("run", recipe, "--work", work, "release.form=full").returncode == 0
    record = json.loads((work / "stages" / "train.json").read_text())
    started = {
        "digest": digest({"settings": record["settings"], "inputs": record["inputs"]}),
        "time": "2000-01-01T00:00:00Z",
    }
    (work / "stages" / "train.started").write_text(json.dumps(started))
    (work / "stages" / "train.json").unlink()
    again = packtrain("run", recipe, "--work", work, "release.form=full", "--json")
    assert stages(again)["train"] == "unchanged"
    assert said(again, "train", "finished by the run before")
    adopted = json.loads((work / "stages" / "train.json").read_text())
    adopted["figures"].pop(KEY, None)  # of the data, which the model's own record keeps with its figures
    assert adopted == record


def test_what_the_card_would_refuse_is_refused_before_training(recipe: Path, tmp_path: Path, packtrain: Any) -> None:
    refused = packtrain("run", recipe, "--work", tmp_path / "work", "release.license=nonsense")
    assert refused.returncode == 2
    assert "nonsense" in refused.stderr
    assert not (tmp_path / "work" / "tuned").exists()


def test_a_killed_run_goes_on_to_the_same_model(recipe: Path, tmp_path: Path, packtrain: Any) -> None:
    straight = packtrain("run", recipe, "--work", tmp_path / "straight", "--json", "train.epochs=60")
    assert straight.returncode == 0, straight.stderr
    command = [sys.executable, "-m", "packtrain", "run", str(recipe), "--work", str(tmp_path / "killed")]
    options = ["train.epochs=60", "train.checkpoint_every_steps=5"]
    process = subprocess.Popen(
        [*command, *options], env=packtrain.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    checkpoints = tmp_path / "killed" / "tuned.partial" / ".checkpoints"
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not list(checkpoints.glob("step_*/COMPLETE")):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    resumed = packtrain(*command[3:], *options, "--json")
    assert stages(resumed) == {"data": "unchanged", **dict.fromkeys(STAGES[1:], "done")}
    assert "resuming after step" in resumed.stderr
    for folder in ("tuned", "recovered"):
        model = Path(folder) / "model.safetensors"
        assert (tmp_path / "killed" / model).read_bytes() == (tmp_path / "straight" / model).read_bytes()


def test_a_stage_that_fails_leaves_the_earlier_ones(recipe: Path, tmp_path: Path, packtrain: Any) -> None:
    work = tmp_path / "work"
    foreign = work / "scores.partial" / "notes.txt"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    failed = packtrain("run", recipe, "--work", work)
    assert failed.returncode == 2
    assert failed.stderr.splitlines()[-2] == f"error: {work}/scores.partial was left by something else"
    assert foreign.read_text() == "mine"
    shutil.rmtree(foreign.parent)
    assert (work / "recovered" / "model.safetensors").is_file()
    assert stages(packtrain("run", recipe, "--work", work, "--json"))["recover"] == "unchanged"


def test_nothing_of_others_is_replaced_and_only_one_run_at_a_time(recipe: Path, tmp_path: Path, packtrain: Any) -> None:
    import fcntl

    work = tmp_path / "work"
    (work / "tuned").mkdir(parents=True)
    (work / "tuned" / "precious").write_text("keep")
    refused = packtrain("run", recipe, "--work", work)
    assert refused.returncode == 2
    assert "exists, but no run here made it" in refused.stderr
    assert (work / "tuned" / "precious").read_text() == "keep"
    with open(work / "stages" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another run is at work" in packtrain("run", recipe, "--work", work).stderr


def test_a_base_that_was_fetched_is_looked_at_before_anything_begins(
    recipe: Path, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fetched: list[str] = []

    def snapshot_download(repository: str, local_files_only: bool = False, **how: object) -> str:
        if local_files_only and not fetched:
            raise FileNotFoundError(repository)
        fetched.append(repository)
        return str(tiny_base)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    asked = load_recipe_here(str(recipe), ["base.path=org/tiny", "template=own"])
    with pytest.raises(UserError, match="stores no prompt format"):
        run_recipe(asked, tmp_path / "work")
    assert set(fetched) == {"org/tiny"}
    assert not (tmp_path / "work" / "data").exists()
    told = capsys.readouterr().err
    assert told.count("org/tiny is not on this machine: it is fetched from the Hub first") == 1
    assert told.count("left out, because it needs a judge: alpacafarm") == 1


def test_missing_benchmark_files_are_named_before_training(recipe: Path, tmp_path: Path, packtrain: Any) -> None:
    lacking = [str(tmp_path / "benchmark"), "evaluate.columns=[exact_match,gsm:cot]"]
    refused = packtrain("run", recipe, "--work", tmp_path / "work", f"evaluate.data={lacking[0]}", lacking[1])
    assert refused.returncode == 2
    assert "gsm8k/test.jsonl is missing" in refused.stderr
    assert not (tmp_path / "work" / "tuned").exists()


def test_all_that_is_missing_is_told_at_once_and_nothing_is_begun(recipe: Path, tmp_path: Path, packtrain: Any) -> None:
    """Files of the first stage, a base that cannot be trained with this template, a licence of the last stage."""
    lacking = ["data.sources.toy.path=none.jsonl", "template=own", "release.license=nonsense", "evaluate.data=none"]
    refused = packtrain("run", recipe, "--work", tmp_path / "work", *lacking)
    assert refused.returncode == 2
    told = [line for line in refused.stderr.splitlines() if line.startswith("missing: ")]
    for what in ("unknown licence: nonsense", "toy: there is nothing at none.jsonl", "there is no folder none"):
        assert any(what in line for line in told), what
    assert "stores no prompt format" in refused.stderr
    assert not (tmp_path / "work" / "data").exists()
    asked = packtrain("run", recipe, "--work", tmp_path / "other", "--dry-run", "base.path=none", *lacking)
    assert asked.returncode == 1
    assert not (tmp_path / "other").exists()
    assert "there is nothing at none.jsonl" in asked.stdout
    assert "no model folder at none" in asked.stdout
    assert "to be done: not made yet" in asked.stdout


@pytest.mark.parametrize("name", recipe_names())
def test_a_dry_run_of_every_shipped_recipe_where_nothing_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stages are told all the same, with what is missing; nothing is fetched or written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    report = run_recipe(load_recipe_here(name, []), tmp_path / "work", dry_run=True)
    expected = ["data", "train", *STAGES[2:4], "card"]
    if name in ("default", "galpaca-6.7b"):
        expected = ["data", "train", "card"]
    if name == "demo":
        expected = ["generate", *expected]
    assert [result.name for result in report.results] == expected
    assert {result.reason for result in report.results} == {"not made yet"}
    assert all(result.what for result in report.results)
    assert report.has_errors
    assert list(tmp_path.iterdir()) == []


def test_several_processes_of_a_launch_are_refused(recipe: Path, tmp_path: Path, packtrain: Any) -> None:
    refused = packtrain("run", recipe, "--work", tmp_path / "work", WORLD_SIZE="2")
    assert refused.returncode == 2
    assert "packtrain run works through the stages in one process" in refused.stderr
    assert not (tmp_path / "work").exists()


def test_a_judge_fills_the_columns_that_need_one(recipe: Path, tmp_path: Path, packtrain: Any) -> None:
    write_benchmark_files(tmp_path / "benchmarks")
    settings = ["evaluate.columns=[alpacafarm]", f"evaluate.data={tmp_path / 'benchmarks'}", "release.form=full"]
    settings += ["train.max_steps=1", "engine.probes=0"]
    command = ["run", recipe, "--work", tmp_path / "work", *settings, "--json"]
    first = packtrain(*command, "--judge", "longest")
    assert stages(first) == dict.fromkeys(["data", "train", "evaluate", "card"], "done")
    [score] = read_scores(tmp_path / "work" / "scores" / "scores.json")
    assert (score.column, "judge: the longest answer wins" in score.notes) == ("alpacafarm", True)
    assert stages(packtrain(*command, "--judge", "longest"))["evaluate"] == "unchanged"
    benchmarks = tmp_path / "benchmarks"
    (benchmarks / "sources.lock.json").write_text("{}")
    (benchmarks / "humaneval" / "HumanEval.jsonl.gz").unlink()
    assert stages(packtrain(*command))["evaluate"] == "unchanged"  # what was judged stays, without a judge too
    more = [*command, "evaluate.columns=[alpacafarm,gsm:direct]"]
    forgotten = packtrain(*more)
    assert forgotten.returncode == 2
    assert forgotten.stderr.splitlines()[-2:] == [
        "error: alpacafarm: judged by longest before, and now no judge is named (--judge)",
        "hint: give --judge longest, who is not asked again what is answered, or take it out of evaluate.columns",
    ]
    widened = packtrain(*more, "--judge", "longest")
    assert stages(widened) == {"data": "unchanged", "train": "unchanged", "evaluate": "done", "card": "done"}
    assert "alpacafarm: 1 of 1 answers are there already" in widened.stderr
    assert [one.column for one in read_scores(tmp_path / "work" / "scores" / "scores.json")] == [
        "gsm:direct",
        "alpacafarm",
    ]
    record = json.loads((tmp_path / "work" / "stages" / "evaluate.json").read_text())
    assert record["settings"]["versions"] == {"gsm:direct": benchmark_of("gsm:direct").version, "alpacafarm": 1}
    assert list(record["inputs"]["data"]) == ["alpaca_farm/alpaca_farm_evaluation.json", "gsm8k/test.jsonl"]
    refused = packtrain(*command, "--judge", "openai:x", OPENAI_API_KEY="", OPENAI_BASE_URL="")
    assert (refused.returncode, "no key for the model openai:x" in refused.stderr) == (2, True)
    bounded = [*command, "--dry-run", "--judge", "openai:x", "--budget-usd", "5"]
    unpriced = packtrain(*bounded, OPENAI_API_KEY="key")
    assert (unpriced.returncode, "a budget needs a price" in unpriced.stdout) == (1, True)
    priced = packtrain(*bounded, "--price-in", "1", "--price-out", "2", OPENAI_API_KEY="key")
    assert (priced.returncode, "alpacafarm: judged by openai:x" in priced.stdout) == (0, True)
