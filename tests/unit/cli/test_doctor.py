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


def asked(*arguments: str, **options: Any) -> list[dict[str, str]]:
    """The findings that the command prints as JSON, asked for within this process."""
    printed = io.StringIO()
    with redirect_stdout(printed), suppress(typer.Exit):
        doctor(list(arguments), as_json=True, **options)
    findings: list[dict[str, str]] = json.loads(printed.getvalue())["findings"]
    return findings


def test_a_sound_base_and_its_data(tiny_base: Path, conversations_file: Path, tmp_path: Path) -> None:
    settings = ("train.max_length_tokens=200", "engine.probes=0", f"base.path={tiny_base}")
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
        ((), {}, "nothing to look at"),
        (("train.lr=1",), {}, "train.lr=1 changes a recipe, and there is none"),
        (("missing-folder",), {}, "no model folder at missing-folder"),
        ((), {"recipe": "no-such-recipe"}, "unknown recipe: no-such-recipe"),
        (("train.lr=0",), {"recipe": "demo"}, "recipe demo: train.lr"),
        (("engine.probes=-1",), {"recipe": "demo"}, "engine settings: probes"),
        (("packtrain:demo_base",), {"data": Path("missing.jsonl")}, "no training data at missing.jsonl"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        doctor(list(arguments), **options)
    assert refused.value.message.startswith(message)
    assert refused.value.hint
