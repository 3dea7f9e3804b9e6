"""`packtrain doctor`: what it prints, how it ends, and what it is given."""

import io
import json
import shutil
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import pytest
import typer

from packtrain.cli.doctor import doctor
from packtrain.core.errors import UserError
from packtrain.core.folder import names
from packtrain.core.recipe_file import load_recipe, recipe_names


def test_faults_are_named_and_the_exit_status_is_one(packtrain: Any, tiny_base: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_base, tmp_path / "model")
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "", "eos_token": "<unk>"}))
    done = packtrain("doctor", folder)
    assert done.returncode == 1
    assert "the end-of-sequence token is <unk>, the token for unknown text" in done.stdout
    assert "bos_token is declared as empty text" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("1 error, 3 warnings, ")
    first = asked(str(folder))[0]
    assert (first["check"], first["severity"]) == ("token_roles", "error")
    assert first["where"] == str(folder / "tokenizer_config.json")
    assert first["mend"]


def diagnosed(*arguments: str, **options: Any) -> dict[str, Any]:
    """What the command prints as JSON, asked for within this process."""
    printed = io.StringIO()
    with redirect_stdout(printed), suppress(typer.Exit):
        doctor(list(arguments), as_json=True, **options)
    found: dict[str, Any] = json.loads(printed.getvalue())
    return found


def asked(*arguments: str, **options: Any) -> list[dict[str, str]]:
    """The findings about the model."""
    return [one for one in diagnosed(*arguments, **options)["findings"] if one["part"] == "model"]


KEYS = ["recipe", "model", "errors", "warnings", "findings"]
FINDING_KEYS = ["part", "severity", "check", "what", "where", "mend"]
SEVERITIES = ["error", "warning", "fine"]


def assert_whole(found: dict[str, Any]) -> None:
    """The form that other programs read: keys, words, order, counts."""
    assert list(found) == KEYS
    for finding in found["findings"]:
        assert list(finding) == FINDING_KEYS
        assert finding["severity"] in SEVERITIES
        assert finding["check"]
        assert finding["what"]
        assert finding["severity"] == "fine" or (finding["where"] and finding["mend"])
    for severity in ("error", "warning"):
        assert found[f"{severity}s"] == sum(one["severity"] == severity for one in found["findings"])
    for part in ("installation", "recipe", "model"):
        own = [SEVERITIES.index(one["severity"]) for one in found["findings"] if one["part"] == part]
        assert own == sorted(own)


def test_nothing_named_is_the_installation(packtrain: Any) -> None:
    found = json.loads(packtrain("doctor", "--json").stdout)
    assert_whole(found)
    assert (found["recipe"], found["model"]) == (None, None)
    assert {one["part"] for one in found["findings"]} == {"installation"}
    assert {one["check"] for one in found["findings"]} == {*names("packtrain.pipeline.doctor.installation", ".py")}
    shown = packtrain("doctor").stdout.splitlines()
    assert shown[0] == "installation"
    assert shown[-1].startswith("0 errors, ")
    assert "nothing is fetched from the Hub" in "".join(shown)  # which the tests forbid themselves


@pytest.mark.parametrize("recipe", recipe_names())
def test_every_shipped_recipe_on_a_machine_that_has_nothing(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All findings at once and no traceback: what is missing, where it comes from, what the licences come to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    found = diagnosed(recipe=recipe)
    assert_whole(found)
    own = [one for one in found["findings"] if one["part"] == "recipe"]
    assert {one["check"] for one in own} >= {"base", "columns", "extras", "formats", "licences", "sources"}
    sources = load_recipe(recipe).data.sources
    if recipe == "demo":
        assert [one["check"] for one in own if one["severity"] == "error"] == ["teacher"]
        return
    lacking = [one for one in own if one["check"] == "sources"]
    assert [one["where"] for one in lacking] == [f"data.sources.{name}.path" for name in sources]
    assert all("get it from https://" in one["mend"] for one in lacking) == (recipe != "default")
    [base] = [one for one in own if one["check"] == "base"]
    fetched = load_recipe(recipe).base.path.startswith("facebook/")
    assert base["severity"] == ("warning" if fetched else "error")
    assert found["model"] is None


def test_the_recipe_is_told_part_by_part(packtrain: Any, tmp_path: Path) -> None:
    shown = packtrain("doctor", "--recipe", "alpaca-7b", cwd=tmp_path)
    assert shown.returncode == 1
    lines = shown.stdout.splitlines()
    assert lines[0] == "installation"
    assert "recipe alpaca-7b" in lines
    begin = lines.index("error   sources        stanford_alpaca: there is nothing at alpaca_data.json")
    assert [line.strip() for line in lines[begin + 1 : begin + 3]] == [
        "where: data.sources.stanford_alpaca.path",
        "mend: get it from https://github.com/tatsu-lab/stanford_alpaca (more: packtrain show alpaca), "
        "then name it: data.sources.stanford_alpaca.path=FILE",
    ]
    assert lines[-1].startswith("2 errors, ")


def test_sources_are_not_asked_for_when_the_data_are_given(conversations_file: Path, tiny_base: Path) -> None:
    found = diagnosed(str(tiny_base), recipe="alpaca-7b", data=conversations_file)
    assert {one["part"] for one in found["findings"]} == {"installation", "recipe", "model"}
    assert "sources" not in {one["check"] for one in found["findings"]}
    assert found["errors"] == 0


def test_a_sound_base_and_its_data(tiny_base: Path, conversations_file: Path, tmp_path: Path) -> None:
    settings = ("train.max_length_tokens=200", "engine.probes=0", f"base.path={tiny_base}")
    assert_whole(diagnosed(*settings, recipe="demo", data=conversations_file, out=tmp_path / "out"))
    findings = asked(*settings, recipe="demo", data=conversations_file, out=tmp_path / "out")
    assert {finding["severity"] for finding in findings} == {"fine"}
    assert {"data_ends", "data_left_out", "disk_space", "weights_fit"} <= {one["check"] for one in findings}


def test_the_model_is_the_base_of_the_recipe(tiny_base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`default` names no base; its length limit and its prompt format are those that fit the one that is given."""
    found = {one["check"]: one["severity"] for one in asked(str(tiny_base), recipe="default")}
    assert (found["context"], found["prompt_seam"], found["answers_end"]) == ("fine", "fine", "fine")
    assert "prompt format: tulu, because the base has no chat template" in capsys.readouterr().err


def test_data_are_looked_at_without_a_recipe(
    tiny_base: Path, conversations_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {one["check"]: one["what"] for one in asked(str(tiny_base), data=conversations_file, template="alpaca")}
    assert found["data_left_out"] == "every conversation can be learnt from"
    shutil.copy(conversations_file, tmp_path / "train.jsonl")
    assert "data_ends" not in {one["check"] for one in asked(str(tiny_base), data=tmp_path)}
    note = "note: the data are not looked at without a prompt format: --template NAME\n"
    assert capsys.readouterr().err == note


def test_an_unknown_template_is_a_finding(tiny_base: Path) -> None:
    [error] = [one for one in asked(str(tiny_base), template="tuluu") if one["severity"] == "error"]
    assert (error["check"], error["what"]) == ("template", "unknown template: tuluu")


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((), {"data": Path("missing.jsonl")}, "nothing to look at"),
        ((), {"template": "tulu"}, "nothing to look at"),
        (("missing-folder",), {"recipe": "demo"}, "no model folder at missing-folder"),
        (("train.lr=1",), {}, "train.lr=1 changes a recipe, and there is none"),
        (("missing-folder",), {}, "no model folder at missing-folder"),
        ((), {"recipe": "no-such-recipe"}, "unknown recipe: no-such-recipe"),
        (("train.lr=0",), {"recipe": "demo"}, "recipe demo: train.lr"),
        (("engine.probes=-1",), {"recipe": "demo"}, "engine settings: engine.probes"),
        (("packtrain:demo_base",), {"data": Path("missing.jsonl")}, "no training data at missing.jsonl"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        doctor(list(arguments), **options)
    assert refused.value.message.startswith(message)
    assert refused.value.hint
